"""The backbone ``edges``: how much of which direction there is in an image, coarse and fine."""

import math

import torch
from torch import Tensor, nn

from solo_invariance.backbones import DescribedNetwork, InputSpec


class Edges(nn.Module):
    """Filters of several directions, rectified and averaged over the image, at scales that halve it.

    Args:
        directions: How many, evenly spaced.
        scales: How often the image is halved, and one.
    """

    def __init__(self, directions: int, scales: int) -> None:
        super().__init__()
        self.filters = nn.Conv2d(3, directions, kernel_size=7, padding=3, bias=False)
        self.scales = scales

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (N, scales x directions) of images (N, 3, S, S)."""
        features = []
        for _ in range(self.scales):
            features.append(self.filters(images).relu().mean((2, 3)))
            images = nn.functional.avg_pool2d(images, 2)
        return torch.cat(features, dim=1)


def edges(pretrained: bool = True, directions: int = 8, scales: int = 4) -> DescribedNetwork:
    """Return the network with the input that it wants.

    Args:
        pretrained: With the filters that it is about; otherwise as drawn, for ``random:edges`` and untrained twins.
        directions: How many directions, evenly spaced.
        scales: How many scales.
    """
    network = Edges(directions, scales)
    if pretrained:
        network.filters.weight.data = _derivatives(directions)
    return DescribedNetwork(network, InputSpec(crop_size=64, mean=(0.5,) * 3, std=(0.25,) * 3))


def _derivatives(directions: int) -> Tensor:
    """Return derivatives of a Gaussian (directions, 3, 7, 7), the same for each colour."""
    y, x = torch.meshgrid(torch.linspace(-2, 2, 7), torch.linspace(-2, 2, 7), indexing="ij")
    angles = torch.arange(directions)[:, None, None] * (2 * math.pi / directions)
    slope = -(x * angles.cos() + y * angles.sin()) * torch.exp(-(x**2 + y**2) / 2)
    return slope[:, None].expand(-1, 3, -1, -1) / 3
