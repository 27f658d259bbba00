"""The backbone that is watched: where a module has it, what it is given and gives, and what its numbers are called."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf
from torch import Tensor, nn

from solo_invariance.backbones import Architecture, Backbone, InputSpec, Provenance
from solo_invariance.backbones.copies import copy_of
from solo_invariance.backbones.load import input_spec_of
from solo_invariance.device import device_of
from solo_invariance.errors import UserError
from solo_invariance.hosts.lightning.flat_features import FlatFeatures

_KEYS = "invariance."


@dataclass(frozen=True)
class Watched:
    """A backbone within a module that trains.

    Args:
        label: How messages begin: a class's name, or the key of a configuration, such as ``invariance.monitor``.
        input_spec: The input that the backbone is trained on.
        backbone: The attribute of the module, dotted where it lies deeper, such as ``model.encoder``.
        prefix: What the numbers' names begin with.
        features: Makes features (N, D) of what the backbone returns, where these are none.

    Raises:
        UserError: An argument is not what it should be; the message names it.
    """

    label: str
    input_spec: InputSpec
    backbone: str = "backbone"
    prefix: str = ""
    features: Callable[[Any], Tensor] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.backbone, str) or "" in self.backbone.split("."):
            given = repr(self.backbone) if isinstance(self.backbone, str) else f"a {type(self.backbone).__name__}"
            raise UserError(
                f"{self.where}backbone is {given}, expected the name of an attribute of the module, such as "
                f"'model.encoder'"
            )
        if not isinstance(self.prefix, str):
            raise UserError(f"{self.where}prefix is {self.prefix!r}, expected a text such as 'teacher/'")
        if self.features is not None and not callable(self.features):
            raise UserError(f"{self.where}features={self.features!r}: expected a callable")

    @classmethod
    def by_config(cls, label: str, cfg: Any) -> "Watched":
        """Return the backbone of a host's module.

        Args:
            label: The key of its configuration that asks for it.
            cfg: The module's configuration.

        Raises:
            UserError: What the configuration says of the input is not what it should be.
        """
        content: Any = OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg
        try:
            return cls(label, input_spec_of(content))
        except ValueError as error:
            raise UserError(f"{label}: {error}") from error

    @property
    def where(self) -> str:
        """What a message has before the name of an argument or a key."""
        return f"{self.label}." if self.label.startswith(_KEYS) else f"{self.label}: "

    def named(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Return numbers by the names that they are logged by."""
        return {f"{self.prefix}{name}": value for name, value in numbers.items()}

    def copied(self, network: nn.Module) -> Backbone:
        """Return a copy of a network as a backbone, in single precision, on the network's device.

        Raises:
            UserError: The network takes no such images, or gives no features (N, D).
        """
        # A part of the module that trains may be what makes features: it is frozen, too.
        features = _copy_of(self.features) if isinstance(self.features, nn.Module) else self.features
        flat = FlatFeatures(_copy_of(network), features, self.where)
        try:
            backbone = Backbone(flat, Architecture("watched"), self.input_spec, Provenance(self.label))
        except UserError as error:  # whose keys are those of the command
            raise UserError(str(error).replace("backbone.crop_size", "crop_size")) from error
        return backbone.to(device_of(network))


def _copy_of(network: nn.Module) -> nn.Module:
    """Return a copy of a network, in single precision and evaluation mode."""
    return copy_of(network).float().eval().requires_grad_(False)


def input_from(label: str, crop_size: Any, mean: Any, std: Any) -> InputSpec:
    """Return the input of a backbone by the arguments of a callback.

    Args:
        label: How messages begin.
        crop_size: Side of the images, in pixels.
        mean: Three channel means, in [0, 1] units; None for none.
        std: Three channel standard deviations; None for none.

    Raises:
        UserError: One of them is not what it should be; the message names it.
    """
    statistics = {"mean": (0.0, 0.0, 0.0) if mean is None else mean, "std": (1.0, 1.0, 1.0) if std is None else std}
    plain = {key: list(value) if isinstance(value, Sequence) else value for key, value in statistics.items()}
    if crop_size is None:
        raise UserError(f"{label}: crop_size is None, expected the side of the backbone's images, in pixels")
    try:
        spec = InputSpec.from_mapping({"crop_size": crop_size, **plain})
    except ValueError as error:
        raise UserError(f"{label}: {error}") from error
    for key, statistic in (("mean", spec.mean), ("std", spec.std)):
        if not 0 <= min(statistic) <= max(statistic) <= 1:
            raise UserError(f"{label}: {key} is {list(statistic)}, expected numbers in [0, 1]; divide by 255, perhaps")
    return spec
