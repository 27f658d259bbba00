"""From an architecture's name to a network without a classifier."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torchvision.models.resnet import ResNet

from solo_invariance.backbones.input_spec import InputSpec
from solo_invariance.backbones.resnet import SOLO_LEARNS_PADDING, use_small_stem
from solo_invariance.backbones.sources import source_of
from solo_invariance.device import device_of
from solo_invariance.errors import UserError, reason_of


@dataclass(frozen=True)
class Architecture:
    """What is needed to build a network again: plain data, stored with fused checkpoints.

    Args:
        name: A name of solo-learn's (``resnet18``, ``vit_tiny``, ...), ``resnet10``, ``timm:NAME``,
            ``torchvision:NAME``, ``hf:NAME``, ``torch.hub:REPOSITORY:NAME``, ``python:MODULE:CALLABLE``, or a plugin's.
        kwargs: The builder's further arguments.
        small_stem: A ResNet with a stem for CIFAR: solo-learn's, or one of another padding, which ``kwargs`` then have
            as ``stem_padding``.
        method: The self-supervised method; some of solo-learn's builders differ by it.
        trusted: Whether the name may stand for code, or for a folder or a hub that is read. It may where whoever runs
            this wrote it himself, and not where it was read from a file: so it is kept in none.
    """

    name: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    small_stem: bool = False
    method: str | None = None
    trusted: bool = field(default=False, compare=False)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], trusted: bool) -> "Architecture":
        """Return what ``plain`` described.

        Args:
            values: Perhaps a stranger's.
            trusted: As the attribute; what the values say of it does not count.
        """
        return cls(**{key: value for key, value in values.items() if key != "trusted"}, trusted=trusted)

    def plain(self) -> dict[str, Any]:
        """Return the description that files keep."""
        return {key: value for key, value in asdict(self).items() if key != "trusted"}

    def build(self) -> nn.Module:
        """Return the network, randomly initialised unless ``kwargs`` say otherwise; it maps images to (N, D).

        Raises:
            UserError: The name is unknown, is not trusted but stands for code, or the builder refuses the arguments.
        """
        self._require_trusted()
        kwargs = dict(self.kwargs)
        padding = kwargs.pop("stem_padding", SOLO_LEARNS_PADDING) if self.small_stem else SOLO_LEARNS_PADDING
        source, name = source_of(self.name)
        try:
            network = source.builder(name, self.method)(**kwargs)
        except (UserError, OSError):  # a download that fails is for the caller to explain
            raise
        except Exception as error:  # a stranger's arguments can make a builder raise anything
            reason = reason_of(error)
            if unexpected := re.search("unexpected keyword argument ('.*')", reason):
                reason = f"it takes no {unexpected.group(1)}"
            raise UserError(f"backbone {self.name!r} cannot be built with {dict(self.kwargs)}: {reason}") from error
        if self.small_stem:
            if not isinstance(network, ResNet):
                raise UserError(f"backbone {self.name!r} is no ResNet and has no stem for small images")
            if padding not in (1, 2):
                raise UserError(f"backbone.kwargs.stem_padding={padding}: expected 1 or 2")
            use_small_stem(network, padding)
        return network

    def untrained(self) -> nn.Module:
        """Return the network with freshly drawn weights, whatever ``kwargs`` and the name say of weights.

        Raises:
            UserError: As ``build``; or not all of its layers can draw new weights.
        """
        source, _ = source_of(self.name)
        try:
            return source.untrained(self.without_weights().build)
        except UserError as error:
            raise UserError(f"{error}" if self.name in str(error) else f"backbone {self.name!r}: {error}") from error

    def settled(self) -> "Architecture":
        """Return one that builds the same without the folder or the hub that the name may stand for.

        Raises:
            UserError: As ``build``; or there is no such folder, or the hub has no such model or cannot be reached.
        """
        self._require_trusted()
        source, name = source_of(self.name)
        settled, kwargs = source.settled(name, self.kwargs)
        return replace(self, name=self.name.removesuffix(name) + settled, kwargs=dict(kwargs))

    def _require_trusted(self) -> None:
        source, name = source_of(self.name)
        if not self.trusted and (asks := source.asks_for(name, self.kwargs)):
            raise UserError(
                f"backbone {self.name!r} would {asks}, and a file says so, not you; backbone.trust=true allows it"
            )

    def without_weights(self) -> "Architecture":
        """Return the same without the arguments by which a builder would fetch weights: a checkpoint has them."""
        source, name = source_of(self.name)
        return replace(self, kwargs=source.without_weights(name, self.kwargs))

    def as_in_file(self, network: nn.Module, shapes: Mapping[str, tuple[int, ...]], sha256: str) -> "Architecture":
        """Return the one whose weights a file has, which differs from this in what the file alone tells.

        Args:
            network: That was built by this one.
            shapes: Of the file's tensors, by their names in it.
            sha256: Of the file.
        """
        source, name = source_of(self.name)
        return replace(self, kwargs=source.as_in_file(name, self.kwargs, network, shapes, sha256))

    def fixed_size(self, network: nn.Module) -> int | None:
        """Return the side in pixels of the images that a network takes, None where it takes more than one size.

        Args:
            network: That was built by this one.
        """
        source, _ = source_of(self.name)
        fixed = source.size_argument(self.kwargs, network)
        return None if fixed is None else fixed[1]

    def of_size(self, network: nn.Module, size: int) -> "Architecture":
        """Return the one whose images have another size: this one, where a network takes more than one.

        Args:
            network: That was built by this one.
            size: The side of its images, in pixels.
        """
        source, _ = source_of(self.name)
        fixed = source.size_argument(self.kwargs, network)
        return self if fixed is None or fixed[1] == size else replace(self, kwargs={**self.kwargs, fixed[0]: size})

    def interpolated(self, network: nn.Module) -> nn.Module:
        """Return a network of this architecture with the weights of one for images of another size.

        Args:
            network: Whose positions are interpolated, as its own package does it.

        Raises:
            UserError: The package does not know how.
        """
        source, _ = source_of(self.name)
        fresh = self.without_weights().build()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what makes torch slower
                fresh.load_state_dict(source.interpolated(network, fresh))
        except Exception as error:  # a network of a kind that its package resizes not at all, or otherwise
            raise UserError(
                f"backbone.crop_size={self.fixed_size(fresh)}: {self.name} has weights for images of one size, "
                f"which its package does not interpolate ({reason_of(error)}); leave backbone.crop_size out"
            ) from error
        return fresh

    def input_of(self, network: nn.Module, sha256: str | None = None) -> InputSpec:
        """Return the input that a network of this architecture is trained on, as its source has it.

        Args:
            network: That was built by it.
            sha256: Of the file that the weights are from, if any.
        """
        source, name = source_of(self.name)
        return source.input_of(name, self.kwargs, network, sha256)


def num_features_of(network: nn.Module, crop_size: int, label: str) -> int:
    """Return the width of a network's features, by looking at its output for one image.

    Args:
        network: On any device. One that is put together of others that were looked at has ``known_width``.
        crop_size: Side of the image, in pixels.
        label: What messages call the backbone.

    Raises:
        UserError: The network takes no such image, or gives no features (N, D).
    """
    known: int | None = getattr(network, "known_width", None)
    if known is not None:
        return known
    device = device_of(network)
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            features = network(torch.zeros(1, 3, crop_size, crop_size, device=device))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = reason_of(error)
        raise UserError(
            f"{label}: the backbone takes no images of {crop_size} pixels ({reason}); set backbone.crop_size"
        ) from error
    network.train(training)
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        is_tensor = isinstance(features, torch.Tensor)
        found = f"a tensor {tuple(features.shape)}" if is_tensor else f"a {type(features).__name__}"
        hint = "; of its tokens, backbone.pool=mean takes the mean" if getattr(features, "ndim", 0) == 3 else ""
        raise UserError(f"{label}: the backbone returns {found}, expected features (N, D){hint}")
    return int(features.shape[1])
