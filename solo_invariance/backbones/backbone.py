"""A backbone: a frozen network together with the input that it wants."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import functional as F

from solo_invariance.backbones.architecture import Architecture, num_features_of
from solo_invariance.backbones.layers import LayerFeatures
from solo_invariance.backbones.views import DrawnViews
from solo_invariance.errors import UserError
from solo_invariance.known_datasets import IMAGENET


@dataclass(frozen=True)
class InputSpec:
    """The input that a network was trained on.

    Args:
        crop_size: Side of its images, in pixels.
        mean: Channel means that they are normalised with, in [0, 1] units.
        std: Channel standard deviations that they are normalised with, in [0, 1] units.
    """

    crop_size: int = 224
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "InputSpec":
        """Return the specification that ``asdict`` made plain.

        Raises:
            ValueError: A value is not what it should be.
        """
        crop_size, mean, std = values["crop_size"], values["mean"], values["std"]
        if not isinstance(crop_size, int) or crop_size < 1:
            raise ValueError(f"crop_size is {crop_size!r}, expected a positive whole number")
        for name, statistic in (("mean", mean), ("std", std)):
            numbers = list(statistic) if isinstance(statistic, list | tuple) else []
            if len(numbers) != 3 or not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
                raise ValueError(f"{name} is {statistic!r}, expected three numbers")
        if min(std) <= 0:
            raise ValueError(f"std is {std!r}, expected positive numbers")
        return cls(crop_size, tuple(mean), tuple(std))


@dataclass(frozen=True)
class Provenance:
    """Where a backbone's weights came from.

    Args:
        label: A short name for tables: the family it was trained with, where that is known.
        checkpoint: Path of the file, if any.
        sha256: Hash of the file's content, if any.

    Raises:
        UserError: The label is empty: no result could be called by it.
    """

    label: str
    checkpoint: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if not self.label.strip():
            raise UserError(f"the label of {self.checkpoint or 'a backbone'} is empty: set backbone.label")


class Backbone(nn.Module):
    """A network in evaluation mode that takes images in [0, 1] and gives features.

    It resizes to its own input size and normalises with its own statistics, so that backbones of different origin can
    be given the same images. Plain, layered and fused backbones are all of this type: what they are made of, the
    properties say. For a module of your own, see ``Backbone.of``.

    Args:
        network: Maps normalised images (N, 3, S, S) to features (N, D).
        architecture: How to build the network again.
        input_spec: Size and normalisation of its input.
        provenance: Where the weights came from.
        views: Over which the features of each image are averaged, if any; see ``mean_embedding``.

    Attributes:
        num_features: D, the width of the features.
        layers: What the columns of the features are: the layers' names and widths, in order, where the network is a
            ``LayerFeatures`` of a list, and otherwise one entry without a name. The widths add up to ``num_features``:
            ``features.split(list(backbone.layers.values()), dim=1)`` gives each layer's.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        architecture: Architecture,
        input_spec: InputSpec,
        provenance: Provenance,
        views: DrawnViews | None = None,
    ) -> None:
        super().__init__()
        # Channels last is the faster layout for convolutions, on GPUs and CPUs alike.
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.architecture = architecture
        self.input_spec = input_spec
        self.provenance = provenance
        self.views = views
        self.num_features = num_features_of(network, input_spec.crop_size)
        # The pass that told the width told the layers' widths, too.
        self.layers = dict(network.widths) if isinstance(network, LayerFeatures) else {"": self.num_features}
        self.register_buffer("mean", torch.tensor(input_spec.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(input_spec.std)[:, None, None], persistent=False)
        self.eval()

    @classmethod
    def of(
        cls,
        module: nn.Module,
        crop_size: int = 224,
        mean: Sequence[float] = IMAGENET[0],
        std: Sequence[float] = IMAGENET[1],
        label: str | None = None,
    ) -> "Backbone":
        """Return a module of your own as a backbone; a copy of it, so that the module stays as it is.

        Args:
            module: Maps normalised images (N, 3, S, S) to features (N, D).
            crop_size: S, in pixels.
            mean: Channel means that its images are normalised with, in [0, 1] units; ImageNet's by default.
            std: Channel standard deviations that its images are normalised with; ImageNet's by default.
            label: What tables and results call it; the class's name by default.

        Raises:
            UserError: The module takes no such images, or gives no features (N, D).

        Example:
            >>> import torch
            >>> pooled = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
            >>> Backbone.of(pooled, crop_size=32).num_features
            3
        """
        name = label or type(module).__name__
        spec = InputSpec(crop_size, tuple(mean), tuple(std))
        return cls(copy.deepcopy(module), Architecture(type(module).__name__), spec, Provenance(name))

    @property
    def members(self) -> "tuple[Backbone, ...]":
        """The backbones that a fused one combines; none, for any other."""
        return tuple(getattr(self.network, "backbones", ()))

    @property
    def width_factor(self) -> float:
        """How many times wider than usual the network is: 3 for the paper's control, 1 for most."""
        return float(getattr(self._whole_network, "width_factor", 1))

    @property
    def fitted_on(self) -> frozenset[str]:
        """Digests of the images that a fusion was fitted to, or its members chosen by; none, for any other."""
        return frozenset(getattr(self._whole_network, "fitted_on", ()))

    @property
    def scales_features(self) -> bool:
        """Whether the scale of the features means something, as a fitted fusion's does: probes then leave it."""
        return bool(getattr(self.network, "scales_features", False))

    @property
    def open_widths(self) -> list[int] | None:
        """The members' widths, where each task is to choose what each member's features weigh; None elsewhere."""
        return getattr(self.network, "open_widths", None)

    @property
    def _whole_network(self) -> nn.Module:
        return self.network.network if isinstance(self.network, LayerFeatures) else self.network

    def combine(self, features: Sequence[Tensor]) -> Tensor:
        """Return a fused backbone's features (N, D) of its members' features, one (N, D_i) a member."""
        combined: Tensor = self.network.combine(features)  # type: ignore[operator]
        return combined

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (N, D) of images (N, 3, H, W) in [0, 1]."""
        size = self.input_spec.crop_size
        if images.shape[-2:] != (size, size):
            images = F.resize(images, [size, size], antialias=True)
        if self.views is None:
            return self._features(images)
        # One view of all images after the other: a batch takes as much memory as it does without views.
        features = [self._features(view).float() for view in self.views.of(images)]
        return torch.stack(features).mean(0)

    def averaged_over(self, views: DrawnViews) -> "Backbone":
        """Return a backbone of the same network whose features are averaged over views of each image."""
        return Backbone(self.network, self.architecture, self.input_spec, self.provenance, views)

    def _features(self, images: Tensor) -> Tensor:
        """Return the features (N, D) of images (N, 3, S, S) in [0, 1], of the network's size."""
        normalized = (images - self.mean) / self.std
        return self.network(normalized.contiguous(memory_format=torch.channels_last))

    def train(self, mode: bool = True) -> "Backbone":
        """Stay in evaluation mode: a backbone is frozen."""
        return super().train(False)

    def describe(self) -> dict[str, Any]:
        """Return what results say about a backbone, as plain data."""
        return {
            "name": self.architecture.name,
            "checkpoint": self.provenance.checkpoint,
            "sha256": self.provenance.sha256,
            "num_features": self.num_features,
            "input": asdict(self.input_spec),
            "views": next((one.views.describe() for one in (self, *self.members) if one.views is not None), None),
        }
