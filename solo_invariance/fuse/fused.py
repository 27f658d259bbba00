"""A fused backbone: several backbones that look at the same image."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.errors import UserError
from solo_invariance.fuse.functional import Fusion


class FusedBackbone(nn.Module):
    """Backbones whose features on the same images are combined.

    Args:
        members: Each resizes and normalises for itself, so they may differ in architecture, input size and statistics.
        fusion: Combines their features.
        mode: The fusion's name.

    ``num_features`` is the fused width, the name by which solo-learn asks for it.

    Raises:
        UserError: There are no members, or the fusion does not fit their widths.
    """

    input_mean: Tensor | None
    input_std: Tensor | None

    def __init__(self, members: Sequence[Backbone], fusion: Fusion, mode: str) -> None:
        super().__init__()
        if not members:
            raise UserError("a fusion needs at least one member")
        self.members = nn.ModuleList(members)
        self.fusion = fusion
        self.mode = mode
        self.crop_size = max(member.input_spec.crop_size for member in members)
        self.label = "+".join(member.provenance.label for member in members)
        self.num_features = self._fused_width(members)
        self.register_buffer("input_mean", None, persistent=False)
        self.register_buffer("input_std", None, persistent=False)

    @property
    def backbones(self) -> list[Backbone]:
        """The members."""
        return [member for member in self.members if isinstance(member, Backbone)]

    def with_members(self, members: Sequence[Backbone]) -> "FusedBackbone":
        """Return the same fusion of other members."""
        other = FusedBackbone(members, self.fusion, self.mode)
        other.input_mean, other.input_std = self.input_mean, self.input_std
        return other

    def _fused_width(self, members: Sequence[Backbone]) -> int:
        try:
            return self.fusion([torch.zeros(1, member.num_features) for member in members]).shape[1]
        except ValueError as error:
            widths = ", ".join(f"{member.provenance.label}: {member.num_features}" for member in members)
            raise UserError(f"mode={self.mode} does not fit its members ({widths}): {error}") from error

    def expect_normalized(self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> None:
        """Take images that are normalised already, in place of images in [0, 1].

        Args:
            mean: Channel means that they were normalised with; the first member's by default.
            std: Channel standard deviations, likewise.
        """
        first = self.backbones[0].input_spec
        self.input_mean = torch.tensor(list(first.mean if mean is None else mean))[:, None, None]
        self.input_std = torch.tensor(list(first.std if std is None else std))[:, None, None]

    def forward(self, images: Tensor) -> Tensor:
        """Return the fused features (N, D) of images (N, 3, H, W) in [0, 1], or normalised where that is expected."""
        if self.input_mean is not None and self.input_std is not None:
            images = images * self.input_std + self.input_mean
        return self.fusion([member(images) for member in self.members])
