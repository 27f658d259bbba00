"""Several backbones that look at the same images in one pass."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from solo_invariance.backbones.backbone import Backbone


class SideBySide(nn.Module):
    """Backbones whose features lie side by side, each in blocks of its own.

    Args:
        members: By the name that goes before the names of their blocks; an empty one leaves these as they are.

    Attributes:
        blocks: Names and widths of the blocks, in order.
        num_features: Of all blocks.
    """

    def __init__(self, members: Mapping[str, Backbone]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members.values())
        self.blocks = {
            "/".join(filter(None, (name, block))): width
            for name, member in members.items()
            for block, width in member.blocks.items()
        }
        self.num_features = sum(self.blocks.values())

    @property
    def backbones(self) -> list[Backbone]:
        """The members."""
        return [member for member in self.members if isinstance(member, Backbone)]

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (N, D) of images (N, 3, H, W) in [0, 1]."""
        return torch.cat([member(images).float() for member in self.members], dim=1)
