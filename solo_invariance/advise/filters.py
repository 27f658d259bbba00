"""Features that were never trained and are invariant to nothing in particular."""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from solo_invariance.backbones import Backbone

_LARGE = 48  # pixels, from which on every other response says as much
_MEAN, _STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class RandomFilters(nn.Module):
    r"""How strongly random filters respond in the parts of an image: colour, orientation, size and place are all there.

    Filters of normally distributed weights are applied at several scales, each half as fine as the one before. Positive
    and negative responses are averaged apart over the cells of a grid, and the square root is taken of each average, so
    that few strong responses do not drown the others. One layer of random filters with pooling is a strong untrained
    baseline: Saxe et al. (2011), "On Random Weights and Unsupervised Feature Learning".

    Args:
        num_filters: At each scale.
        side: Of a filter, in pixels.
        cells: Of the grid, down and across.
        scales: How many.
        seed: Of the weights.
    """

    filters: Tensor

    def __init__(self, num_filters: int = 32, side: int = 7, cells: int = 3, scales: int = 3, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        filters = torch.randn(num_filters, 3, side, side, generator=generator)
        self.register_buffer("filters", filters / filters.flatten(1).norm(dim=1)[:, None, None, None])
        self.cells = cells
        self.scales = scales

    def forward(self, images: Tensor) -> Tensor:
        """Return features (N, scales * 2 * num_filters * cells^2) of images (N, 3, S, S)."""
        found = []
        for scale in range(self.scales):
            images = avg_pool2d(images, 2) if scale else images
            responses = nn.functional.conv2d(images, self.filters, stride=2 if images.shape[-1] >= _LARGE else 1)
            both = torch.cat([responses.relu(), (-responses).relu()], dim=1)
            found.append(adaptive_avg_pool2d(both, self.cells).flatten(1))
        return torch.cat(found, dim=1).sqrt()


def untrained_filters(crop_size: int, seed: int = 0) -> Backbone:
    """Return ``RandomFilters`` as a backbone for images of some pixels.

    Example:
        >>> untrained_filters(32).num_features
        1728
    """
    return Backbone.of(RandomFilters(seed=seed), crop_size, _MEAN, _STD, label="untrained filters")
