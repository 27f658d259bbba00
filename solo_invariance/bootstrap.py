"""Confidence intervals: all of the package's, by the bootstrap over images or by the normal approximation.

There are two forms of the bootstrap, which draw alike. What is a function of means over images is resampled by
averaging the drawn rows (``estimate``, ``estimate_difference``); what needs all predictions at once, such as average
precision, is told how often each image was drawn (``bootstrap_interval``, ``paired_interval``).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from scipy.special import ndtr, stdtrit
from torch import Tensor

LEVEL = 0.95
"""The share of resamples that an interval holds."""

Statistic = Callable[[Tensor], Tensor]
"""Makes one number, (...), of terms (..., T) that were averaged over images."""

WeightedScore = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Scores predictions against targets, with each image counted as often as its weight (..., N) says; (...)."""

NORMAL_QUANTILE = 1.959964
"""Standard errors to either side of a normal number that hold 95 %."""

_WEIGHTS_AT_ONCE = 10_000_000


class Interval(NamedTuple):
    """Ends of a confidence interval."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A number with its standard error over images and the two ends of its 95 % interval.

    ``reference_error`` is the standard error that it has from the images of mean and covariance, where it is known; the
    interval is of both errors then.
    """

    mean: float
    standard_error: float
    low: float
    high: float
    reference_error: float | None = None

    def with_reference_error(self, error: float) -> "Estimate":
        """Return the same number with an interval that has an independent, normal error of its reference, too."""
        low, high = (math.hypot(self.mean - end, NORMAL_QUANTILE * error) for end in (self.low, self.high))
        return Estimate(self.mean, self.standard_error, self.mean - low, self.mean + high, error)

    def as_dict(self) -> dict[str, Any]:
        """Return the estimate as results hold it."""
        found = {"mean": self.mean, "ci95": [self.low, self.high], "standard_error": self.standard_error}
        return found if self.reference_error is None else {**found, "reference_error": self.reference_error}


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
    terms = terms.double().cpu()
    return torch.cat([weights @ terms for weights in _resampled_weights(len(terms), resamples, seed)]) / len(terms)


def estimate(
    terms: Tensor,
    statistic: Statistic = first_term,
    seed: int = 0,
    resamples: int = 2000,
    images: Tensor | None = None,
) -> Estimate:
    r"""Return a statistic of the mean over images, with an expanded percentile interval by the bootstrap over images.

    Samples of few images vary too little, by (n - 1) / n, and their percentiles are those of the normal distribution,
    not of Student's; so the interval goes from and to quantiles that are further out, as far as makes up for both:
    :math:`\Phi(\mp\sqrt{n / (n - 1)}\,t_{0.975, n - 1})`. Of twelve groups that is 1 % on either side.

    Source: Efron & Tibshirani (1993), "An Introduction to the Bootstrap", section 13.3; Hesterberg (2015), "What
    Teachers Should Know About the Bootstrap", section 5.2.

    Args:
        terms: (N, T), one row an image (or group).
        statistic: Of the mean (..., T).
        seed: Of the resampling; images of the same number are then drawn alike.
        resamples: How many bootstrap samples.
        images: Of which image each row is, (N,), where some have several, which are drawn together then.
    """
    terms, statistic = _one_row_an_image(terms, statistic, images)
    samples = statistic(resampled_means(terms, seed, resamples))
    return _estimate(statistic(terms.double().cpu().mean(dim=0)), samples, len(terms))


def estimates(terms: Tensor, seed: int = 0, resamples: int = 2000, images: Tensor | None = None) -> list[Estimate]:
    """Return the mean over images of each column as ``estimate`` does, with the images drawn once for all columns.

    Args:
        terms: (N, R), one row an image, one column a backbone, or a difference between two.
        seed: Of the resampling.
        resamples: How many bootstrap samples.
        images: Of which image each row is, (N,), where some have several, which are drawn together then.

    Returns:
        R estimates.
    """
    values, samples, count = resampled_columns(terms, seed, resamples, images)
    return [_estimate(value, of_column, count) for value, of_column in zip(values, samples.T, strict=True)]


def resampled_columns(
    terms: Tensor, seed: int = 0, resamples: int = 2000, images: Tensor | None = None
) -> tuple[Tensor, Tensor, int]:
    """Return the mean over images of each column, and the means of bootstrap samples, of the same images for all.

    Args:
        terms: (N, R), one row an image, one column a backbone, or a difference between two.
        seed: Of the resampling.
        resamples: B.
        images: Of which image each row is, (N,), where some have several, which are drawn together then.

    Returns:
        The means (R,), those of the samples (B, R), and the number of images.
    """
    terms, statistic = _one_row_an_image(terms, lambda means: means, images)
    samples = statistic(resampled_means(terms, seed, resamples))
    return statistic(terms.double().cpu().mean(dim=0)), samples, len(terms)


def estimate_difference(
    ours: Tensor, theirs: Tensor, statistic: Statistic = first_term, seed: int = 0, images: Tensor | None = None
) -> Estimate:
    """Return the difference of a statistic between two measurements of the same images, with a paired interval.

    Args:
        ours: (N, T), one row an image.
        theirs: (N, T), of the same images in the same order.
        statistic: Of the mean (..., T).
        seed: Of the resampling; images of the same number are then drawn alike.
        images: Of which image each row is, (N,), where some have several, which are drawn together then.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"expected terms of the same images, got {tuple(ours.shape)} and {tuple(theirs.shape)}")
    width = ours.shape[1]

    def difference(means: Tensor) -> Tensor:
        return statistic(means[..., :width]) - statistic(means[..., width:])

    return estimate(torch.cat([ours, theirs], dim=1), difference, seed, images=images)


def bootstrap_interval(
    score: WeightedScore,
    predictions: Tensor,
    targets: Tensor,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the 95 % interval of a score over test images, by the bootstrap of ``estimate``: expanded percentiles.

    Images are drawn with replacement, as often as there are images. The same seed gives the same interval on every
    device. Resamples of scores that are no means are biased: a resample's targets vary less than those of the images,
    and it has images twice. The bias is the same for all targets and labels that a score is averaged over, while the
    spread averages out: of R^2 of 200 targets on 15 images, hardly a resample is as high as the score. The interval is
    of what images of this number score on average, so the percentiles are moved until their median is the score, which
    so lies between them (coverage: ``benchmarks/coverage.py``).

    Args:
        score: A function of predictions, targets and weights.
        predictions: (N,) or (N, T).
        targets: (N,) or (N, T).
        resamples: How many.
        seed: Of the resamples.

    Raises:
        ValueError: The shapes do not fit the score.
    """
    return resampled_scores(score, predictions, targets, resamples, seed).interval()


def paired_interval(
    score: WeightedScore,
    predictions_a: Tensor,
    predictions_b: Tensor,
    targets: Tensor,
    resamples: int = 1000,
    seed: int = 0,
    targets_b: Tensor | None = None,
) -> Interval:
    """Return the 95 % interval, as of ``bootstrap_interval``, of how much higher one backbone scores: a less b.

    Each resample of the test images scores both, so what makes an image easy or hard for both cancels. An interval
    without 0 says that the two differ.

    Args:
        score: A function of predictions, targets and weights.
        predictions_a: (N,) or (N, T).
        predictions_b: (N,) or (N, T), for the same images.
        targets: (N,) or (N, T).
        resamples: How many.
        seed: Of the resamples.
        targets_b: What b predicts, where that is measured in other units, as landmarks in pixels of another input are.

    Raises:
        ValueError: The shapes do not fit the score.
    """

    ours = resampled_scores(score, predictions_a, targets, resamples, seed)
    theirs = resampled_scores(score, predictions_b, targets if targets_b is None else targets_b, resamples, seed)
    return ours.minus(theirs)


class ResampledScores(NamedTuple):
    """A score on N images, and on as many bootstrap samples of them, (B,), as the seed draws for every backbone."""

    score: Tensor
    samples: Tensor
    num_images: int

    def interval(self) -> Interval:
        """Return the 95 % interval of the score."""
        return interval_about(self.score, self.samples, self.num_images)

    def minus(self, other: "ResampledScores") -> Interval:
        """Return the paired 95 % interval of how much higher the score is than another on the same images."""
        return interval_about(self.score - other.score, self.samples - other.samples, self.num_images)


def resampled_scores(
    score: WeightedScore, predictions: Tensor, targets: Tensor, resamples: int = 1000, seed: int = 0
) -> ResampledScores:
    """Return a score with those of bootstrap samples of the images: of two, on the same images, pairs are differences.

    Args:
        score: A function of predictions, targets and weights.
        predictions: (N,) or (N, T).
        targets: (N,) or (N, T).
        resamples: How many.
        seed: Of the resamples.
    """
    draws = _resampled_weights(len(targets), resamples, seed)
    samples = torch.cat([score(predictions, targets, weights.to(targets.device)) for weights in draws])
    return ResampledScores(score(predictions, targets, None), samples, len(targets))


def interval_about(value: Tensor | float, samples: Tensor, num_images: int) -> Interval:
    """Return the 95 % interval of a number by those of bootstrap samples, moved until their median is the number.

    Args:
        value: On all images.
        samples: (B,), on as many bootstrap samples of them.
        num_images: N; of few, the interval is of quantiles that are further out.
    """
    moved = samples - samples.quantile(0.5)  # below 0 or above, so that rounding does not leave the score outside
    low, high = _central(moved, *_expanded_tails(num_images))
    return Interval(float(value) + low, float(value) + high)


def _estimate(value: Tensor, samples: Tensor, count: int) -> Estimate:
    samples = samples[samples.isfinite()]
    if len(samples) < 2:
        return Estimate(float(value), math.nan, math.nan, math.nan)
    return Estimate(float(value), float(samples.std()), *_central(samples, *_expanded_tails(count)))


def _central(samples: Tensor, lower: float, upper: float) -> Interval:
    """Return the interval between two quantiles of samples (B,)."""
    low, high = samples.quantile(torch.tensor([lower, upper], dtype=samples.dtype, device=samples.device)).tolist()
    return Interval(low, high)


def _one_row_an_image(terms: Tensor, statistic: Statistic, images: Tensor | None) -> tuple[Tensor, Statistic]:
    """Return the totals of each image's rows with their number, and the statistic of the mean over rows by these."""
    if images is None or len(images.unique()) == len(images):
        return terms, statistic
    found, owner = images.unique(return_inverse=True)
    counted = torch.cat([terms.double().cpu(), torch.ones(len(terms), 1, dtype=torch.float64)], dim=1)
    totals = torch.zeros(len(found), counted.shape[1], dtype=torch.float64).index_add_(0, owner, counted)
    return totals, lambda means: statistic(means[..., :-1] / means[..., -1:])


def _expanded_tails(count: int) -> tuple[float, float]:
    """Return the quantiles between which samples of few images are to lie: further out than those of many."""
    upper = (1 + LEVEL) / 2
    if count < 2:
        return 1 - upper, upper
    quantile = stdtrit(count - 1, upper) * math.sqrt(count / (count - 1))
    return float(ndtr(-quantile)), float(ndtr(quantile))


def _resampled_weights(count: int, resamples: int, seed: int) -> Iterator[Tensor]:
    """Yield how often each image is drawn, (at most ``resamples``, N) at once, float64 on the CPU."""
    for rows in _draws(count, resamples, seed, at_once=_WEIGHTS_AT_ONCE // count):
        weights = torch.zeros(rows.shape, dtype=torch.float64)
        yield weights.scatter_add_(1, rows, torch.ones_like(weights))


def _draws(count: int, resamples: int, seed: int, at_once: int) -> Iterator[Tensor]:
    """Yield the images that samples draw with replacement, (at most ``at_once``, N), int64 on the CPU.

    They come in pieces, so that the draws of many images do not fill the memory, and do not depend on the pieces.
    """
    generator = torch.Generator().manual_seed(seed)
    for piece in torch.arange(resamples).split(max(1, at_once)):
        yield torch.randint(count, (len(piece), count), generator=generator)
