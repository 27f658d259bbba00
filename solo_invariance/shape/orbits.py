"""What a transform does to features, in sums of one pass."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric


class OrbitMoments(NamedTuple):
    r"""What features vary by, from image to image and within the orbit of one under a transform; all float64.

    With :math:`f_{ij}` the features of image :math:`i` at step :math:`j` of the transform's grid, whose weights
    :math:`w_j` sum to 1, and :math:`m_i = \sum_j w_j f_{ij}` the mean of its orbit:

    Args:
        mean: (D,), of all.
        between: (D, D), the covariance of orbits' means, :math:`\operatorname{cov}_i(m_i)`.
        within: (D, D), the mean covariance within an orbit, :math:`\operatorname{E}_i \sum_j w_j (f_{ij} - m_i)(f_{ij}
            - m_i)^\top`. Both sum to the covariance of all features.
        steps: (K, D), the mean features of each step.
        weights: (K,), of the steps.
        num_images: How many orbits these are of.
    """

    mean: Tensor
    between: Tensor
    within: Tensor
    steps: Tensor
    weights: Tensor
    num_images: int

    @property
    def total(self) -> Tensor:
        """The covariance (D, D) of all features, whatever their image and step."""
        return self.between + self.within


class OrbitSums(Metric):
    """Sums by which the moments of orbits are known: one pass, float64, memory of O(D² + K D).

    Args:
        num_features: D.
        weights: (K,), positive, of the steps of the grid; they are scaled to sum to 1.
        origin: (D,), subtracted before summing; zeros by default. Every process must use the same.

    Example:
        >>> import torch
        >>> sums = OrbitSums(1, torch.ones(2))
        >>> sums.update(torch.tensor([[[0.0], [2.0]], [[4.0], [6.0]]]))
        >>> moments = sums.compute()
        >>> float(moments.mean), float(moments.between), float(moments.within)
        (3.0, 4.0, 1.0)
    """

    is_differentiable = False
    full_state_update = False
    count: Tensor
    steps: Tensor
    means: Tensor
    within: Tensor
    origin: Tensor
    weights: Tensor

    def __init__(self, num_features: int, weights: Tensor, origin: Tensor | None = None) -> None:
        super().__init__()
        zeros = torch.zeros(num_features, dtype=torch.float64)
        square = torch.zeros(num_features, num_features, dtype=torch.float64)
        self.register_buffer("origin", zeros if origin is None else origin.double(), persistent=False)
        self.register_buffer("weights", weights.double() / weights.double().sum(), persistent=False)
        self.add_state("count", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("steps", torch.zeros(len(weights), num_features, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("means", square, dist_reduce_fx="sum")
        self.add_state("within", square.clone(), dist_reduce_fx="sum")

    def update(self, features: Tensor) -> None:
        """Add the features (N, K, D) of images at every step."""
        shifted = features.double() - self.origin
        means = torch.einsum("k,nkd->nd", self.weights, shifted)
        self.count += len(shifted)
        self.steps += shifted.sum(dim=0)
        self.means += means.T @ means
        apart = (shifted - means[:, None]) * self.weights.sqrt()[:, None]
        self.within += torch.einsum("nkd,nke->de", apart, apart)

    def compute(self) -> OrbitMoments:
        """Return the moments over all processes."""
        steps = self.steps / self.count
        mean = self.weights @ steps
        between = self.means / self.count - torch.outer(mean, mean)
        within = self.within / self.count
        return OrbitMoments(
            mean=mean + self.origin,
            between=(between + between.T) / 2,
            within=(within + within.T) / 2,
            steps=steps + self.origin,
            weights=self.weights,
            num_images=int(self.count),
        )
