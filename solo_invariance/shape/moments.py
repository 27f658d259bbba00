"""What features vary by and what a factor makes of it, in sums of one pass: float64, memory of O(D² + K D)."""

import torch
from torch import Tensor
from torchmetrics import Metric

from solo_invariance.backbones.shaping import FactorMoments


class _Sums(Metric):
    """What both kinds of factors sum.

    Args:
        num_features: D.
        coordinates: (K, C), what tells the levels apart.
    """

    is_differentiable = False
    full_state_update = False
    count: Tensor
    levels: Tensor
    squares: Tensor
    coordinates: Tensor

    def __init__(self, num_features: int, coordinates: Tensor) -> None:
        super().__init__()
        by_level = _zeros(len(coordinates), num_features)
        self.register_buffer("coordinates", coordinates.double(), persistent=False)
        self.add_state("levels", by_level, dist_reduce_fx="sum")
        self.add_state("squares", by_level.clone(), dist_reduce_fx="sum")

    def _moments(self, counts: Tensor, weights: Tensor, total: Tensor, changed: Tensor, images: int) -> FactorMoments:
        """Return the moments whose sums there are; ``counts`` (K, 1) are features of each level."""
        levels = self.levels / counts
        return FactorMoments(
            mean=weights @ levels,
            total=(total + total.T) / 2,
            changed=(changed + changed.T) / 2,
            levels=levels,
            deviations=(self.squares / counts - levels**2).clamp(min=0).sqrt(),
            weights=weights,
            coordinates=self.coordinates,
            num_images=images,
        )


class TransformSums(_Sums):
    r"""Sums of images' features over the steps of a transform.

    With :math:`f_{ij}` the features of image :math:`i` at step :math:`j`, whose weights :math:`w_j` sum to 1, and
    :math:`m_i = \sum_j w_j f_{ij}`, the covariance is that of the :math:`m_i`, and
    :math:`\operatorname{E}_i \sum_j w_j (f_{ij} - m_i)(f_{ij} - m_i)^\top`, which the transform makes.

    Args:
        num_features: D.
        coordinates: (K, C), what tells the steps apart.
        weights: (K,), of the steps; they are scaled to sum to 1.

    Example:
        >>> sums = TransformSums(1, torch.tensor([[0.0], [1.0]]), torch.ones(2))
        >>> sums.update(torch.tensor([[[0.0], [2.0]], [[4.0], [6.0]]]))
        >>> moments = sums.compute()
        >>> tuple(round(float(each), 6) for each in (moments.mean, moments.total, moments.changed))
        (3.0, 5.0, 1.0)
    """

    means: Tensor
    within: Tensor
    weights: Tensor

    def __init__(self, num_features: int, coordinates: Tensor, weights: Tensor) -> None:
        super().__init__(num_features, coordinates)
        self.register_buffer("weights", weights.double() / weights.double().sum(), persistent=False)
        self.add_state("count", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("means", _zeros(num_features, num_features), dist_reduce_fx="sum")
        self.add_state("within", _zeros(num_features, num_features), dist_reduce_fx="sum")

    def update(self, features: Tensor) -> None:
        """Add the features (N, K, D) of images at every step."""
        added = features.double()
        means = torch.einsum("k,nkd->nd", self.weights, added)
        self.count += len(added)
        self.levels += added.sum(dim=0)
        self.squares += added.square().sum(dim=0)
        self.means += means.T @ means
        apart = ((added - means[:, None]) * self.weights.sqrt()[:, None]).flatten(0, 1)
        self.within += apart.T @ apart

    def compute(self) -> FactorMoments:
        """Return the moments over all processes."""
        mean = self.weights @ self.levels / self.count
        changed = self.within / self.count
        total = self.means / self.count - torch.outer(mean, mean) + changed
        counts = self.count.expand(len(self.levels), 1)
        return self._moments(counts, self.weights, total, changed, int(self.count))


class ColumnSums(_Sums):
    """Sums of images' features by the value that a column of a table has for each.

    The part of their covariance that the column makes is that of the means of its values.

    Args:
        num_features: D.
        num_levels: K, the number of values.

    Example:
        >>> sums = ColumnSums(1, 2)
        >>> sums.update(torch.tensor([[0.0], [2.0], [4.0], [6.0]]), torch.tensor([0, 0, 1, 1]))
        >>> moments = sums.compute()
        >>> tuple(round(float(each), 6) for each in (moments.mean, moments.total, moments.changed))
        (3.0, 5.0, 4.0)
    """

    scatter: Tensor

    def __init__(self, num_features: int, num_levels: int) -> None:
        super().__init__(num_features, torch.eye(num_levels))
        self.add_state("count", torch.zeros(num_levels, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("scatter", _zeros(num_features, num_features), dist_reduce_fx="sum")

    def update(self, features: Tensor, values: Tensor) -> None:
        """Add the features (N, D) of images, and the numbers (N,) of their values."""
        added = features.double()
        self.count += values.bincount(minlength=len(self.count))
        self.levels.index_add_(0, values, added)
        self.squares.index_add_(0, values, added.square())
        self.scatter += added.T @ added

    def compute(self) -> FactorMoments:
        """Return the moments over all processes.

        Raises:
            ValueError: A value has no image.
        """
        if not bool(self.count.all()):
            raise ValueError(f"value {int((self.count == 0).nonzero()[0])} has no image")
        counts, images = self.count[:, None].double(), self.count.sum()
        weights = self.count.double() / images
        levels = self.levels / counts
        mean = weights @ levels
        apart = (levels - mean) * weights.sqrt()[:, None]
        total = self.scatter / images - torch.outer(mean, mean)
        return self._moments(counts, weights, total, apart.T @ apart, int(images))


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64)
