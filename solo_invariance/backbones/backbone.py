"""A backbone: a frozen network together with the input that it wants."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import functional as F

from solo_invariance.backbones.architecture import Architecture, num_features_of
from solo_invariance.data.normalization import IMAGENET
from solo_invariance.errors import UserError


@dataclass(frozen=True)
class InputSpec:
    """The input that a network was trained on.

    Args:
        crop_size: Side of its images, in pixels.
        mean: Channel means that they are normalised with, in [0, 1] units.
        std: Channel standard deviations, likewise.
    """

    crop_size: int = 224
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "InputSpec":
        """Return the specification that ``asdict`` made plain."""
        return cls(int(values["crop_size"]), tuple(values["mean"]), tuple(values["std"]))


@dataclass(frozen=True)
class Provenance:
    """Where a backbone's weights came from.

    Args:
        label: A short name for tables: the family it was trained with, where that is known.
        checkpoint: Path of the file, if any.
        sha256: Hash of the file's content, if any.
    """

    label: str
    checkpoint: str | None = None
    sha256: str | None = None


class Backbone(nn.Module):
    """A network in evaluation mode that takes images in [0, 1] and gives features.

    It resizes to its own input size and normalises with its own statistics, so that backbones of different origin can
    be given the same images.

    Args:
        network: Maps normalised images (N, 3, S, S) to features (N, D).
        architecture: How to build the network again.
        input_spec: Size and normalisation of its input.
        provenance: Where the weights came from.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, architecture: Architecture, input_spec: InputSpec, provenance: Provenance
    ) -> None:
        super().__init__()
        # Channels last is the faster layout for convolutions, on GPUs and CPUs alike.
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.architecture = architecture
        self.input_spec = input_spec
        self.provenance = provenance
        self.num_features = num_features_of(network, input_spec.crop_size)
        self.register_buffer("mean", torch.tensor(input_spec.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(input_spec.std)[:, None, None], persistent=False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (N, D) of images (N, 3, H, W) in [0, 1]."""
        size = self.input_spec.crop_size
        if images.shape[-2:] != (size, size):
            images = F.resize(images, [size, size], antialias=True)
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
        }


@dataclass
class _Tap:
    features: list[Tensor] = field(default_factory=list)

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.features.append(output)


class LayerFeatures(nn.Module):
    """A network that returns one of its layers, averaged over positions, in place of its output.

    Args:
        network: Any network.
        layer: The layer's name as in ``network.named_modules()``; its output is (N, C, H, W), (N, T, C) or (N, C).

    Raises:
        UserError: There is no such layer; the message lists the first level.
    """

    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network = network
        self._tap = _Tap()
        try:
            module = network.get_submodule(layer)
        except AttributeError:
            names = ", ".join(name for name, _ in network.named_children())
            raise UserError(f"backbone.layer={layer}: no such layer; the network's first level is {names}") from None
        module.register_forward_hook(self._tap)

    def forward(self, images: Tensor) -> Tensor:
        """Return the layer's features (N, C)."""
        self._tap.features.clear()
        self.network(images)
        features = self._tap.features.pop()
        if features.ndim == 4:
            return features.mean(dim=(2, 3))
        return features.mean(dim=1) if features.ndim == 3 else features
