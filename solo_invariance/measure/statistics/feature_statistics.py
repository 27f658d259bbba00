"""Streaming mean and covariance of features."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric


class Moments(NamedTuple):
    """Mean (D,) and unbiased covariance (D, D) of features, float64, and the number of images that they are of.

    ``sample`` are the features (R, D) of some of these images, in random order, where these are known.
    """

    mean: Tensor
    covariance: Tensor
    num_images: int
    sample: Tensor | None = None


def feature_statistics(features: Tensor) -> Moments:
    """Return the moments of features (N, D)."""
    features = features.double()
    covariance = torch.cov(features.T).reshape(features.shape[1], features.shape[1])
    return Moments(features.mean(dim=0), covariance, len(features))


class FeatureStatistics(Metric):
    """Mean and covariance of features in one pass, in float64, in memory that does not grow with the images.

    The states are sums about a fixed ``origin``, so that several processes add up to one. An origin near the features
    keeps the digits where the mean is large against the spread.

    Args:
        num_features: D.
        origin: (D,), subtracted before summing; zeros by default. Every process must use the same.

    Example:
        >>> import torch
        >>> statistics = FeatureStatistics(2)
        >>> statistics.update(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
        >>> moments = statistics.compute()
        >>> moments.mean
        tensor([2., 0.], dtype=torch.float64)
        >>> moments.covariance
        tensor([[2., 0.],
                [0., 0.]], dtype=torch.float64)
    """

    is_differentiable = False
    full_state_update = False
    count: Tensor
    total: Tensor
    outer: Tensor
    origin: Tensor

    def __init__(self, num_features: int, origin: Tensor | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zeros = torch.zeros(num_features, dtype=torch.float64)
        self.register_buffer("origin", zeros.clone() if origin is None else origin.double(), persistent=False)
        self.add_state("count", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("total", zeros, dist_reduce_fx="sum")
        self.add_state("outer", torch.zeros(num_features, num_features, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: Tensor) -> None:
        """Add features (N, D)."""
        shifted = features.double() - self.origin
        self.count += len(shifted)
        self.total += shifted.sum(dim=0)
        self.outer += shifted.T @ shifted

    def compute(self) -> Moments:
        """Return the mean and the unbiased covariance over all processes; needs at least two features."""
        shifted_mean = self.total / self.count
        covariance = (self.outer - torch.outer(shifted_mean, self.total)) / (self.count - 1)
        return Moments(shifted_mean + self.origin, (covariance + covariance.T) / 2, int(self.count))
