"""Streaming mean and covariance of features."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

# Of the standard deviation: pictures that differ are further apart, and batches of other images round by less.
_REPEATS = 1e-3


class Moments(NamedTuple):
    """Mean (D,) and unbiased covariance (D, D) of features, float64, and the number of images that they are of.

    ``sample`` are the features (R, D) of some of these images, in random order, where these are known.
    """

    mean: Tensor
    covariance: Tensor
    num_images: int
    sample: Tensor | None = None


def num_different(features: Tensor) -> int:
    """Return how many of features (N, D) are no repetitions of earlier ones, up to rounding.

    Pictures that are there under several names, or saved anew, are told so, whatever their files' bytes.
    """
    spread, mean = torch.std_mean(features.double(), dim=0)
    # Of one that hardly varies against its size, rounding may be most of what varies.
    tells = spread > _REPEATS * mean.abs()
    if not tells.any():
        return len(features)
    standardised = features.double()[:, tells] / spread[tells]
    near = torch.cdist(standardised, standardised) < _REPEATS * standardised.shape[1] ** 0.5
    return int((~near.tril(-1).any(dim=1)).sum())


def repetitions(moments: Moments) -> int | None:
    """Return how few pictures the images repeat, by the features of some; None where most differ, or nothing says it.

    Of images that are many more than the sample, the pictures that these are of are all met in it where they are few.
    """
    if moments.sample is None or len(moments.sample) < 2:
        return None
    found = num_different(moments.sample)
    whole = len(moments.sample) == moments.num_images
    return found if found < len(moments.sample) * (1 if whole else 0.5) else None


def feature_statistics(features: Tensor) -> Moments:
    """Return the moments of features (N, D)."""
    features = features.double()
    covariance = torch.cov(features.T).reshape(features.shape[1], features.shape[1])
    return Moments(features.mean(dim=0), covariance, len(features))


class FeatureSums(Metric):
    """Sums of features and of their products, by which their moments are known: one pass, float64, O(D²) memory.

    The states are sums about a fixed ``origin``, so that several processes add up to one. An origin near the features
    keeps the digits where the mean is large against the spread.

    Args:
        num_features: D.
        origin: (D,), subtracted before summing; zeros by default. Every process must use the same.
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

    def moments(self) -> Moments:
        """Return the mean and the unbiased covariance of what the states are of; needs at least two features."""
        shifted_mean = self.total / self.count
        covariance = (self.outer - torch.outer(shifted_mean, self.total)) / (self.count - 1)
        return Moments(shifted_mean + self.origin, (covariance + covariance.T) / 2, int(self.count))


class FeatureStatistics(FeatureSums):
    """Mean and covariance of features in one pass, in float64, in memory that does not grow with the images.

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

    def compute(self) -> Moments:
        """Return the mean and the unbiased covariance over all processes; needs at least two features."""
        return self.moments()
