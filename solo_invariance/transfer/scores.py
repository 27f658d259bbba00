"""Scores of predictions on test images, and how sure they are."""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from solo_invariance.bootstrap import Interval, WeightedScore, bootstrap_interval, paired_interval
from solo_invariance.transfer.intervals import (
    accuracy_interval,
    mean_per_class_interval,
    paired_accuracy_interval,
    paired_mean_per_class_interval,
)

MetricName = Literal["accuracy", "mean_per_class_accuracy", "r2", "mean_average_precision"]
Metric = WeightedScore

CLASS_METRICS: tuple[MetricName, ...] = ("accuracy", "mean_per_class_accuracy")
"""Those of predicted classes."""


def accuracy(predictions: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the share of images whose class is predicted, in [0, 1].

    Args:
        predictions: Classes, (..., N); leading axes are kept.
        targets: Classes, (N,).
        weights: How often each image counts, (..., N); once where left out.

    Raises:
        ValueError: The numbers of images differ, or are zero.
    """
    _check_lengths(predictions.shape[-1], targets)
    weights = torch.ones_like(targets, dtype=torch.float64) if weights is None else weights
    return ((predictions == targets) * weights).sum(-1) / weights.sum(-1)


def mean_per_class_accuracy(predictions: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the accuracy within each class, averaged over the classes, in [0, 1].

    A class counts where it has targets: in a resample of the images, one that was not drawn is left out.

    Args:
        predictions: Classes, (..., N); leading axes are kept.
        targets: Classes, (N,).
        weights: How often each image counts, (..., N); once where left out.

    Raises:
        ValueError: The numbers of images differ, or are zero.
    """
    _check_lengths(predictions.shape[-1], targets)
    weights = torch.ones_like(targets, dtype=torch.float64) if weights is None else weights
    membership = torch.nn.functional.one_hot(targets.unique(return_inverse=True)[1]).to(weights)
    counts = weights @ membership
    recalls = (((predictions == targets) * weights) @ membership) / torch.where(counts > 0, counts, 1)
    return recalls.sum(-1) / (counts > 0).sum(-1)


def r2(predictions: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return ``r2_of_targets``, averaged over the targets: at most 1, and 0 for the mean.

    Args:
        predictions: (..., N, T), or (N,) for one target; leading axes are kept.
        targets: (N, T), or (N,).
        weights: How often each image counts, (..., N), where predictions have no leading axes.

    Raises:
        ValueError: The shapes differ, or there are fewer than two images.
    """
    return r2_of_targets(predictions, targets, weights).mean(-1)


def r2_of_targets(predictions: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Return the coefficient of determination of each target, (..., T): at most 1, and 0 for the mean.

    .. math:: R_t^2 = 1 - \frac{\sum_n (y_{nt} - \hat y_{nt})^2}{\sum_n (y_{nt} - \bar y_t)^2}

    A target that is constant over the images, up to rounding, scores 1 where every prediction of it is exact and 0
    elsewhere, as in scikit-learn. Sums are of numbers about the targets' mean, so that no large offset takes their
    digits.

    Args:
        predictions: (..., N, T), or (N,) for one target; leading axes are kept.
        targets: (N, T), or (N,).
        weights: How often each image counts, (..., N), where predictions have no leading axes.

    Raises:
        ValueError: The shapes differ, or there are fewer than two images.
    """
    if targets.ndim == 1:
        predictions, targets = predictions[..., None], targets[:, None]
    _check_lengths(predictions.shape[-2], targets, at_least=2)
    _check_columns(predictions, targets, "targets")
    targets = targets.double()
    centred = targets - targets.mean(0)
    weights = torch.ones_like(centred[:, 0]) if weights is None else weights
    residual = _weighted_sum((targets - predictions) ** 2, weights)
    power = _weighted_sum(centred**2, weights)
    total = power - _weighted_sum(centred, weights) ** 2 / weights.sum(-1, keepdim=True)
    resolution = len(targets) * torch.finfo(torch.float64).eps
    rounding = len(targets) * (resolution * targets.abs().amax(0)) ** 2
    constant = total <= rounding + resolution * power
    return torch.where(constant, (residual <= rounding).double(), 1 - residual / torch.where(constant, 1, total))


def mean_average_precision(predictions: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Return the average precision of each label, averaged over the labels that have positives, in [0, 1].

    .. math:: AP = \sum_k (R_k - R_{k-1}) P_k

    over the distinct scores :math:`k` from the highest, with precision :math:`P_k` and recall :math:`R_k` of the images
    that score at least as much; nothing is interpolated, and images of equal score count together, as in scikit-learn.

    Args:
        predictions: Scores, (N, C); higher where a label is more likely.
        targets: Whether an image has a label, (N, C), bool.
        weights: How often each image counts, (..., N); once where left out.

    Raises:
        ValueError: The shapes differ, or no label has positives.
    """
    _check_lengths(predictions.shape[-2], targets)
    _check_columns(predictions, targets, "labels")
    targets = targets.bool()
    if not targets.any():
        raise ValueError("no image has any of the labels, so there is no average precision")
    weights = predictions.new_ones(len(predictions), dtype=torch.float64) if weights is None else weights
    present = targets.any(0)
    columns = zip(predictions.T[present], targets.T[present], strict=True)
    precisions, positives = zip(*(_average_precision(*column, weights) for column in columns), strict=True)
    drawn = torch.stack(positives) > 0
    return torch.where(drawn, torch.stack(precisions), 0).sum(0) / drawn.sum(0).clamp_min(1)


def _average_precision(scores: Tensor, positive: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the average precision (...) of one label, and how many positives count, with weights (..., N)."""
    order = scores.argsort(descending=True, stable=True)
    _, group, sizes = scores[order].unique_consecutive(return_inverse=True, return_counts=True)
    last_of_group = (sizes.cumsum(0) - 1)[group]
    ranks = positive[order].nonzero()[:, 0]
    ends = last_of_group[ranks]
    gains = weights[..., order[ranks]]
    retrieved = weights[..., order].cumsum(-1)[..., ends]
    # The last positive of a group of equal scores knows how many positives the group ends with.
    last_positive = torch.searchsorted(ends, ends, right=True) - 1
    found, total = gains.cumsum(-1)[..., last_positive], gains.sum(-1)
    precision = found / torch.where(retrieved > 0, retrieved, 1)
    return (gains * precision).sum(-1) / torch.where(total > 0, total, 1), total


METRICS: dict[MetricName, Metric] = {
    "accuracy": accuracy,
    "mean_per_class_accuracy": mean_per_class_accuracy,
    "r2": r2,
    "mean_average_precision": mean_average_precision,
}


def metric_named(name: str) -> Metric:
    """Return a metric by its name.

    Raises:
        ValueError: There is none of that name.
    """
    for known in get_args(MetricName):
        if name == known:
            return METRICS[known]
    raise ValueError(f"metric={name!r}, expected one of {', '.join(METRICS)}")


def class_metric_named(name: str) -> Metric:
    """Return a metric of predicted classes by its name.

    Raises:
        ValueError: There is none of that name, or it scores something else.
    """
    metric = metric_named(name)
    if name not in CLASS_METRICS:
        other = "RidgeProbe" if metric is r2 else "MultiLabelProbe"
        raise ValueError(f"metric={name!r} is for {other}, expected {' or '.join(CLASS_METRICS)}")
    return metric


def score_interval(
    predictions: Tensor, targets: Tensor, metric: str, resamples: int = 1000, seed: int = 0
) -> tuple[float, Interval]:
    """Return a score by its metric's name, with its 95 % interval over test images.

    Of accuracies it is a closed form that is sound near 1, ``intervals.accuracy_interval`` and
    ``intervals.mean_per_class_interval``; of other scores the bootstrap's, cut to the values that the score can have.
    The score is in its interval.

    Args:
        predictions: (N,) or (N, T).
        targets: (N,) or (N, T).
        metric: ``accuracy``, ``mean_per_class_accuracy``, ``r2`` or ``mean_average_precision``.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        ValueError: There is no such metric, or the shapes do not fit it.
    """
    function = metric_named(metric)
    score = float(function(predictions, targets, None))
    if metric in _INTERVALS:
        return score, _INTERVALS[metric](predictions, targets)
    low, high = bootstrap_interval(function, predictions, targets, resamples, seed=seed)
    return score, Interval(max(low, _LEAST[metric]), min(high, 1.0))


def difference_interval(
    ours: Tensor, theirs: Tensor, targets: Tensor, metric: str, seed: int = 0, their_targets: Tensor | None = None
) -> Interval:
    """Return the paired 95 % interval of the difference of two scores on the same images, ours minus theirs.

    Of accuracies it is a closed form that is sound near 1, ``intervals.paired_accuracy_interval`` and
    ``intervals.paired_mean_per_class_interval``; of other scores the bootstrap's.

    Args:
        ours: Predictions, (N,) or (N, T).
        theirs: Predictions, (N,) or (N, T).
        targets: (N,) or (N, T).
        metric: ``accuracy``, ``mean_per_class_accuracy``, ``r2`` or ``mean_average_precision``.
        seed: Of the bootstrap.
        their_targets: What theirs predicts, where that is measured in other units.

    Raises:
        ValueError: There is no such metric, or the shapes do not fit it.
    """
    function = metric_named(metric)
    if metric in _DIFFERENCES:
        return _DIFFERENCES[metric](ours, theirs, targets)
    return paired_interval(function, ours, theirs, targets, seed=seed, targets_b=their_targets)


_LEAST: dict[str, float] = {"r2": -math.inf, "mean_average_precision": 0.0}
_INTERVALS: dict[str, Callable[[Tensor, Tensor], Interval]] = {
    "accuracy": accuracy_interval,
    "mean_per_class_accuracy": mean_per_class_interval,
}
_DIFFERENCES: dict[str, Callable[[Tensor, Tensor, Tensor], Interval]] = {
    "accuracy": paired_accuracy_interval,
    "mean_per_class_accuracy": paired_mean_per_class_interval,
}


def _weighted_sum(values: Tensor, weights: Tensor) -> Tensor:
    """Sum (..., N, T) over the images, with weights (N,), or (N, T) with weights (B, N)."""
    return torch.einsum("...n,...nt->...t", weights, values) if weights.ndim == 1 else weights @ values


def _check_lengths(predicted: int, targets: Tensor, at_least: int = 1) -> None:
    if predicted != len(targets):
        raise ValueError(f"{predicted} images were predicted, but {len(targets)} have targets")
    if len(targets) < at_least:
        raise ValueError(f"a score needs at least {at_least} images, there are {len(targets)}")


def _check_columns(predictions: Tensor, targets: Tensor, name: str) -> None:
    if predictions.shape[-1] != targets.shape[-1]:
        raise ValueError(f"{predictions.shape[-1]} {name} were predicted, but there are {targets.shape[-1]}")
