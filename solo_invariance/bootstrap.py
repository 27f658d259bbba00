"""Intervals by the bootstrap over images."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

Statistic = Callable[[Tensor], Tensor]
"""Makes one number, (...), of terms (..., T) that were averaged over images."""

_LARGEST_PIECE = 4_000_000


class Estimate(NamedTuple):
    """A number with its standard error and the two ends of its 95 % interval."""

    mean: float
    standard_error: float
    low: float
    high: float

    def as_dict(self) -> dict[str, Any]:
        """Return the estimate as results hold it."""
        return {"mean": self.mean, "ci95": [self.low, self.high], "standard_error": self.standard_error}


def first_term(terms: Tensor) -> Tensor:
    """Return the mean itself: the statistic of metrics with one term."""
    return terms[..., 0]


def resampled_means(terms: Tensor, seed: int = 0, resamples: int = 2000) -> Tensor:
    """Return the means over images of bootstrap samples of them.

    The images that a sample draws depend on their number and the seed alone: two backbones measured on the same images
    are resampled alike, so that differences are paired.

    Args:
        terms: (N, T), one row an image.
        seed: Of the resampling; the global random state stays as it was.
        resamples: B.

    Returns:
        (B, T), float64 on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    terms = terms.double().cpu()
    means = torch.empty(resamples, terms.shape[1], dtype=torch.float64)
    # In pieces, so that the draws of many images do not fill the memory.
    for piece in torch.arange(resamples).split(max(1, _LARGEST_PIECE // terms.numel())):
        rows = torch.randint(len(terms), (len(piece), len(terms)), generator=generator)
        means[piece] = terms[rows].mean(dim=1)
    return means


def estimate(terms: Tensor, statistic: Statistic = first_term, seed: int = 0, resamples: int = 2000) -> Estimate:
    """Return a statistic of the mean over images, with a percentile interval by the bootstrap over images.

    Source: Efron & Tibshirani (1993), "An Introduction to the Bootstrap", section 13.3.

    Args:
        terms: (N, T), one row an image (or group).
        statistic: Of the mean (..., T).
        seed: See ``resampled_means``.
        resamples: Likewise.
    """
    samples = statistic(resampled_means(terms, seed, resamples))
    return _estimate(statistic(terms.double().cpu().mean(dim=0)), samples)


def estimate_difference(ours: Tensor, theirs: Tensor, statistic: Statistic = first_term, seed: int = 0) -> Estimate:
    """Return the difference of a statistic between two measurements of the same images, with a paired interval.

    Args:
        ours: (N, T), one row an image.
        theirs: (N, T), of the same images in the same order.
        statistic: Of the mean (..., T).
        seed: See ``resampled_means``.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"expected terms of the same images, got {tuple(ours.shape)} and {tuple(theirs.shape)}")
    both = torch.cat([ours, theirs], dim=1).double().cpu()
    means = resampled_means(both, seed)
    mean, width = both.mean(dim=0), ours.shape[1]
    samples = statistic(means[:, :width]) - statistic(means[:, width:])
    return _estimate(statistic(mean[:width]) - statistic(mean[width:]), samples)


def _estimate(value: Tensor, samples: Tensor) -> Estimate:
    samples = samples[samples.isfinite()]
    if len(samples) < 2:
        return Estimate(float(value), math.nan, math.nan, math.nan)
    low, high = torch.quantile(samples, torch.tensor([0.025, 0.975], dtype=samples.dtype)).tolist()
    return Estimate(float(value), float(samples.std()), low, high)
