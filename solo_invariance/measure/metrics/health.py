"""Label-free health of features, streamed: one number of a backbone, of no change to its images."""

from typing import Any

import torch
from torch import Tensor

from solo_invariance.measure.functional.health import ALPHA_RANGE, alpha_of_spectrum, rankme_of_spectrum
from solo_invariance.measure.statistics.feature_statistics import FeatureSums, Moments


class FeatureMetric(FeatureSums):
    """A number of the features of images as they are, by their mean and covariance.

    The states are sums, so that several processes add up to one, in memory that does not grow with the images.
    Subclasses implement ``value``. A measurement asks for that of moments which it has anyway.

    Args:
        num_features: D.
        origin: (D,), subtracted before summing; zeros by default. Every process must use the same.
    """

    def value(self, moments: Moments) -> Tensor:
        """Return the metric, a number, of mean, covariance and the number of images.

        Raises:
            ValueError: The features are too few, or do not vary enough.
        """
        raise NotImplementedError

    def compute(self) -> Tensor:
        """Return the metric over all processes; needs at least two features.

        Raises:
            ValueError: The features are too few, or do not vary enough.
        """
        return self.value(self.moments())


class RankMe(FeatureMetric):
    """Effective rank: the exponential of the entropy of the normalised singular values of the features.

    The functional twin is ``functional.rankme``, with the formula. Singular values are here the square roots of the
    eigenvalues of the second moments: those below 1e-8 of the largest are rounding.

    Args:
        num_features: D.
        origin: (D,), subtracted before summing; zeros by default. Every process must use the same.

    Example:
        >>> import torch
        >>> metric = RankMe(num_features=8)
        >>> metric.update(torch.eye(8))
        >>> round(metric.compute().item(), 3)
        8.0
    """

    higher_is_better = True

    def value(self, moments: Moments) -> Tensor:
        """Return the effective rank, between 1 and min(N, D)."""
        mean, covariance, count = moments[:3]
        second = covariance * ((count - 1) / count) + torch.outer(mean, mean)
        # There are no more than images, and of the rest, which is rounding, each would count a little.
        return rankme_of_spectrum(_eigenvalues(second)[:count].sqrt())


class AlphaReQ(FeatureMetric):
    """Exponent of the power law by which the eigenvalues of the features' covariance decay.

    The functional twin is ``functional.alpha_req``, with the formula.

    Args:
        num_features: D.
        first: The first eigenvalue that the line goes through, counted from 1, largest first.
        last: The last one.
        origin: (D,), subtracted before summing; zeros by default. Every process must use the same.

    Example:
        >>> import torch
        >>> metric = AlphaReQ(num_features=64)
        >>> metric.update(torch.randn(500, 64) * torch.arange(1.0, 65.0) ** -0.5)
        >>> 0.8 < metric.compute() < 2
        tensor(True)
    """

    higher_is_better = None  # near 1 is

    def __init__(
        self,
        num_features: int,
        first: int = ALPHA_RANGE[0],
        last: int = ALPHA_RANGE[1],
        origin: Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_features, origin, **kwargs)
        self.first = first
        self.last = last

    def value(self, moments: Moments) -> Tensor:
        """Return the exponent; 1 is an eigenvalue that halves as its index doubles."""
        mean, covariance, count = moments[:3]
        size = max(count, len(covariance))
        return alpha_of_spectrum(_eigenvalues(covariance), mean.cpu().double(), size, self.first, self.last)


def _eigenvalues(matrix: Tensor) -> Tensor:
    """Return the eigenvalues of a positive matrix (D, D), largest first."""
    # On the CPU, so that every device gives the same digits.
    return torch.linalg.eigvalsh(matrix.cpu().double()).flip(0).clamp(min=0)
