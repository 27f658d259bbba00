"""A fused backbone: several backbones that look at the same image."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.backbone import Backbone, Provenance, common_interpolation
from solo_invariance.backbones.fusion import Head
from solo_invariance.backbones.input_spec import InputSpec
from solo_invariance.device import device_of
from solo_invariance.errors import UserError


class FusedNetwork(nn.Module):
    """Backbones whose features on the same images are combined: the network of a fused ``Backbone``.

    Args:
        members: Each resizes and normalises for itself, so they may differ in architecture, input size and statistics.
        fusion: Combines their features; made for members of their widths.
        mode: The fusion's name.
        fitted_on: Digests of the images that the fusion was fitted on, or its members were chosen by: none of them may
            be an image that it is scored on.

    All of it lies on the first member's device. ``num_features`` is the fused width, the name by which solo-learn asks
    for it.

    Raises:
        UserError: There are no members.
    """

    input_mean: Tensor | None
    input_std: Tensor | None

    def __init__(
        self, members: Sequence[Backbone], fusion: Head, mode: str, fitted_on: frozenset[str] = frozenset()
    ) -> None:
        super().__init__()
        if not members:
            raise UserError("a fusion needs at least one member")
        self.members = nn.ModuleList(members)
        self.fusion = fusion
        self.mode = mode
        self.fitted_on = fitted_on
        self.crop_size = max(member.input_spec.crop_size for member in members)
        self.label = "+".join(member.provenance.label for member in members)
        self.num_features = fusion.num_features
        self.register_buffer("input_mean", None, persistent=False)
        self.register_buffer("input_std", None, persistent=False)
        self.to(device_of(self.members[0]))  # the fusion was fitted on the CPU, wherever its members are
        self.eval().requires_grad_(False)

    @property
    def backbones(self) -> list[Backbone]:
        """The members."""
        return [member for member in self.members if isinstance(member, Backbone)]

    @property
    def scales_features(self) -> bool:
        """Whether the scale of the fused features means something, so that a probe should leave it as it is."""
        return self.fusion.scales_features

    @property
    def open_widths(self) -> list[int] | None:
        """The members' widths, where each task chooses what each member's features weigh."""
        return self.fusion.open_widths

    def with_members(self, members: Sequence[Backbone]) -> "FusedNetwork":
        """Return the same fusion of other members."""
        other = FusedNetwork(members, self.fusion, self.mode, self.fitted_on)
        other.input_mean, other.input_std = self.input_mean, self.input_std
        return other

    def expect_normalized(self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> None:
        """Take images that are normalised already, in place of images in [0, 1].

        Args:
            mean: Channel means that they were normalised with; the first member's by default.
            std: Channel standard deviations that they were normalised with; the first member's by default.
        """
        first = self.backbones[0].input_spec
        self.input_mean = torch.tensor(list(first.mean if mean is None else mean))[:, None, None]
        self.input_std = torch.tensor(list(first.std if std is None else std))[:, None, None]

    def forward(self, images: Tensor) -> Tensor:
        """Return the fused features (N, D) of images (N, 3, H, W) in [0, 1], or normalised where that is expected."""
        if self.input_mean is not None and self.input_std is not None:
            images = images * self.input_std + self.input_mean
        return self.combine(self._member_features(images))

    def combine(self, features: Sequence[Tensor]) -> Tensor:
        """Return the fused features (N, D) of the members' features, one (N, D_i) a member."""
        return self.fusion(features)

    def _member_features(self, images: Tensor) -> list[Tensor]:
        if not images.is_cuda or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return [member(images) for member in self.members]
        return _on_streams_of_their_own(list(self.members), images)

    def train(self, mode: bool = True) -> "FusedNetwork":
        """Stay in evaluation mode: a fused backbone is frozen."""
        return super().train(False)


def _on_streams_of_their_own(members: Sequence[nn.Module], images: Tensor) -> list[Tensor]:
    """Return the members' features, computed side by side on the GPU: a small network alone does not fill one."""
    here = torch.cuda.current_stream(images.device)
    streams = _streams(images.device, len(members))
    features = []
    for member, stream in zip(members, streams, strict=True):
        stream.wait_stream(here)
        with torch.cuda.stream(stream):
            features.append(member(images))
        # Memory must not be given to others before every stream that uses it is through.
        images.record_stream(stream)
        features[-1].record_stream(here)
    for stream in streams:
        here.wait_stream(stream)
    return features


@lru_cache(maxsize=16)  # memory that one stream has freed is not there for another: there must not be ever new ones
def _streams(device: torch.device, count: int) -> list[torch.cuda.Stream]:
    return [torch.cuda.Stream(device) for _ in range(count)]


def widths_of(members: Sequence[Backbone]) -> str:
    """Return the members' names and widths, for messages."""
    return ", ".join(f"{member.provenance.label}: {member.num_features}" for member in members)


def as_backbone(fused: FusedNetwork, provenance: Provenance | None = None) -> Backbone:
    """Return a fused network as a backbone, for images in [0, 1]: each member normalises for itself.

    Args:
        fused: The network.
        provenance: Where it came from; by default, it was made of its members.
    """
    spec = InputSpec(fused.crop_size, (0.0,) * 3, (1.0,) * 3, common_interpolation(fused.backbones))
    return Backbone(fused, Architecture("fusion"), spec, provenance or Provenance(fused.label))


def network_of(backbone: Backbone) -> FusedNetwork:
    """Return the network of a fused backbone.

    Raises:
        UserError: It is no fused one.
    """
    if not isinstance(backbone.network, FusedNetwork):
        raise UserError(f"{backbone.provenance.label}: is no fused backbone; `fuse` makes them")
    return backbone.network
