"""Several backbones that look at the same images in one pass."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.input_spec import InputSpec


class SideBySide(nn.Module):
    """Backbones whose features lie side by side, each member's layers after the other's.

    Args:
        members: By the name that goes before the names of their layers; an empty one leaves these as they are.

    Attributes:
        layers: Names and widths of all layers, in order.
        num_features: Of all layers.
    """

    def __init__(self, members: Mapping[str, Backbone]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members.values())
        self.layers = {
            "/".join(filter(None, (name, layer))): width
            for name, member in members.items()
            for layer, width in member.layers.items()
        }
        self.num_features = sum(self.layers.values())

    @property
    def backbones(self) -> list[Backbone]:
        """The members."""
        return [member for member in self.members if isinstance(member, Backbone)]

    @property
    def input_spec(self) -> InputSpec:
        """The first member's input, whose size images are made for; each member resizes and normalises for itself."""
        return self.backbones[0].input_spec

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (N, D) of images (N, 3, H, W) in [0, 1]."""
        return torch.cat([member(images).float() for member in self.members], dim=1)
