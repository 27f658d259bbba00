"""A backbone: a frozen network together with the input that it wants."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from solo_invariance.backbones.architecture import Architecture, num_features_of
from solo_invariance.backbones.chosen import described_pooling, whole
from solo_invariance.backbones.copies import copy_of
from solo_invariance.backbones.input_spec import InputSpec
from solo_invariance.backbones.layers import LayerFeatures
from solo_invariance.backbones.views import Views
from solo_invariance.config.backbone import INTERPOLATIONS
from solo_invariance.errors import UserError
from solo_invariance.known_datasets import IMAGENET

# Beyond [0, 1], as filters that sharpen have it; far less than of images that are bytes or normalised.
_OVERSHOOT = 0.25
_MODES = {mode: InterpolationMode(mode) for mode in INTERPOLATIONS}


def common_interpolation(backbones: "Sequence[Backbone]") -> str:
    """Return how images are resized that several backbones are given: as all of them want it, or else bilinear."""
    wanted = {backbone.input_spec.interpolation for backbone in backbones}
    return wanted.pop() if len(wanted) == 1 else InputSpec.interpolation


@dataclass(frozen=True)
class Provenance:
    """Where a backbone's weights came from.

    Args:
        label: A short name for tables: the family it was trained with, where that is known.
        checkpoint: Path of the file, if any.
        sha256: Hash of the file's content, if any; of weights that somebody's code loads, of these.
        revision: The commit of the hub's that the file is of, if any.
        key: Where in the file the weights are, such as ``teacher.backbone``, if not all of it is weights.
        remarks: Sentences on what was decided about the file that could have been decided otherwise, and how.
        family: Of the augmentations that the weights were trained with, where the run's configuration names it.
        seed: That they were trained by, where that says it.

    Raises:
        UserError: The label is empty: no result could be called by it.
    """

    label: str
    checkpoint: str | None = None
    sha256: str | None = None
    key: str | None = None
    remarks: tuple[str, ...] = ()
    revision: str | None = None
    family: str | None = None
    seed: int | None = None

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Provenance":
        """Return what ``asdict`` made plain; older ones have a label, a checkpoint and its hash alone.

        Raises:
            ValueError: A value is no text, or one that no file or terminal takes, or the seed is no whole number.
        """
        remarks = tuple(values.get("remarks", ()))
        texts = {name: values.get(name) for name in ("checkpoint", "sha256", "key", "revision", "family")}
        for text in (values["label"], *remarks, *filter(None, texts.values())):
            if not isinstance(text, str):
                raise ValueError(f"provenance has {text!r}, expected a text")
            text.encode()
        seed = values.get("seed")
        if seed is not None and type(seed) is not int:
            raise ValueError(f"provenance has the seed {seed!r}, expected a whole number")
        return cls(values["label"], **texts, remarks=remarks, seed=seed)

    def __post_init__(self) -> None:
        if not self.label.strip():
            raise UserError(f"the label of {self.checkpoint or 'a backbone'} is empty: set backbone.label")


def _in_channels_last(network: nn.Module) -> nn.Module:
    """Lay out a network's weights anew; as ``network.to`` does, which refuses kernels over three dimensions."""
    for weights in chain(network.parameters(), network.buffers()):
        if weights.dim() == 4:
            weights.data = weights.data.contiguous(memory_format=torch.channels_last)
    return network


class Backbone(nn.Module):
    """A network in evaluation mode that takes images in [0, 1] and gives features.

    It resizes to its own input size and normalises with its own statistics, so that backbones of different origin can
    be given the same images. Images of another type or range are refused: at each call on the CPU, and at the first
    one on a GPU, where looking costs a wait for the device. What is compiled, traced or exported does not look.

    Plain, layered and fused backbones are all of this type: what they are made of, the properties say. For a module of
    your own, see ``Backbone.of``.

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
        views: Views | None = None,
    ) -> None:
        super().__init__()
        # Channels last is the faster layout for convolutions, on GPUs and CPUs alike.
        self.network = _in_channels_last(network.eval().requires_grad_(False))
        self.architecture = architecture
        self.input_spec = input_spec
        self.provenance = provenance
        self.views = views
        self.num_features = num_features_of(network, input_spec.crop_size, provenance.label)
        # The pass that told the width told the layers' widths, too.
        self._has_looked = False
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
        interpolation: str = "bilinear",
    ) -> "Backbone":
        """Return a module of your own as a backbone; a copy of it, so that the module stays as it is.

        Args:
            module: Maps normalised images (N, 3, S, S) to features (N, D).
            crop_size: S, in pixels.
            mean: Channel means that its images are normalised with, in [0, 1] units; ImageNet's by default.
            std: Channel standard deviations that its images are normalised with; ImageNet's by default.
            label: What tables and results call it; the class's name by default.
            interpolation: How images are resized for it: ``bilinear``, ``bicubic`` or ``nearest``.

        Raises:
            UserError: The module takes no such images, or gives no features (N, D).

        Example:
            >>> import torch
            >>> pooled = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
            >>> Backbone.of(pooled, crop_size=32).num_features
            3
        """
        network = copy_of(module)
        kind = type(network).__name__
        spec = InputSpec(crop_size, tuple(mean), tuple(std), interpolation)
        return cls(network, Architecture(kind), spec, Provenance(label or kind))

    @property
    def members(self) -> "tuple[Backbone, ...]":
        """The backbones that a fused one combines; none, for any other."""
        return tuple(getattr(self.network, "backbones", ()))

    @property
    def width_factor(self) -> float:
        """How many times wider than usual the network is: 3 for the paper's control, 1 for most."""
        return float(getattr(self.whole_network, "width_factor", 1))

    @property
    def fitted_on(self) -> frozenset[str]:
        """Digests of the images that it was fused or shaped by, or that a member was; none, for any other."""
        own = frozenset(getattr(self.whole_network, "fitted_on", ()))
        return own.union(*(member.fitted_on for member in self.members))

    @property
    def scales_features(self) -> bool:
        """Whether the scale of the features means something, as a fitted fusion's does: probes then leave it."""
        return bool(getattr(self.network, "scales_features", False))

    @property
    def open_widths(self) -> list[int] | None:
        """The members' widths, where each task is to choose what each member's features weigh; None elsewhere."""
        return getattr(self.network, "open_widths", None)

    @property
    def _remarks(self) -> list[str]:
        """What is to be said of the checkpoint, or of those of the members."""
        return [remark for one in (self, *self.members) for remark in one.provenance.remarks]

    @property
    def whole_network(self) -> nn.Module:
        """The network, where only some of its layers or tokens are taken, too: it has all weights."""
        return whole(self.network)

    def combine(self, features: Sequence[Tensor]) -> Tensor:
        """Return a fused backbone's features (N, D) of its members' features, one (N, D_i) a member."""
        combined: Tensor = self.network.combine(features)  # type: ignore[operator]
        return combined

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (N, D) of images (N, 3, H, W) in [0, 1].

        Raises:
            UserError: They are no such images, but bytes, say, or normalised.
        """
        if not torch.compiler.is_compiling() and not torch.jit.is_tracing():
            self._require_images(images)
        size = self.input_spec.crop_size
        if images.shape[-2:] != (size, size):
            images = F.resize(images, [size, size], _MODES[self.input_spec.interpolation], antialias=True)
            images = images.clamp(0, 1) if self.input_spec.interpolation == "bicubic" else images  # which overshoots
        if self.views is None:
            return self._features(images)
        # One view of all images after the other: a batch takes as much memory as it does without views.
        features = [self._features(view).float() for view in self.views.of(images)]
        return self.views.average(features)

    def _require_images(self, images: Tensor) -> None:
        if not isinstance(images, Tensor) or images.ndim != 4:
            given = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise UserError(f"images: {given}, expected a tensor (N, 3, H, W)")
        if not images.is_floating_point():
            raise UserError(
                f"images of {images.dtype}: expected floating point in [0, 1]; images.float() / 255, perhaps"
            )
        if images.numel() and not images.is_meta and (images.device.type == "cpu" or not self._has_looked):
            least, most = map(float, images.detach().aminmax())
            if least < -_OVERSHOOT or most > 1 + _OVERSHOOT:
                raise UserError(
                    f"images with values from {least:.3g} to {most:.3g}: expected [0, 1], neither bytes nor normalised"
                )
            self._has_looked = True

    def averaged_over(self, views: Views) -> "Backbone":
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
            "revision": self.provenance.revision,
            "key": self.provenance.key,
            "family": self.provenance.family,
            "seed": self.provenance.seed,
            "remarks": self._remarks,
            "num_features": self.num_features,
            **described_pooling(self.network),
            "input": asdict(self.input_spec),
            "views": next((one.views.describe() for one in (self, *self.members) if one.views is not None), None),
        }
