"""What a guess that has seen no image scores: a score that is not above it says nothing of a backbone."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from solo_invariance.transfer.scores import accuracy, mean_average_precision


def chance_level(metric: str, train: Tensor, test: Tensor, details: Mapping[str, Any]) -> float | None:
    r"""Return the best expected score of a prediction that is the same whatever the image.

    Of an accuracy it is the share of the most frequent training class among the test images, or 1/C of a guess among
    the C classes, whichever is more; of a mean per-class accuracy 1/C of the classes that are tested; of the
    coefficient of determination 0, that of the mean; of mean average precision the share of positives, averaged over
    the labels; of episodes 1/ways.

    Args:
        metric: The score's name in results.
        train: Targets (N,) or (N, T) of the training images.
        test: Targets (M,) or (M, T) of the test images.
        details: Of the fit; of episodes, ``ways``.

    Returns:
        In the metric's unit; None for a metric of which it is not known.

    Example:
        >>> train, test = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1])
        >>> chance_level("accuracy", train, test, {}), chance_level("r2", train, test, {})
        (0.5, 0.0)
    """
    if metric == "r2":
        return 0.0
    if metric == "mean_average_precision":
        return float(mean_average_precision(torch.zeros(test.shape), test))
    if isinstance(ways := details.get("ways"), int) and metric.endswith("_shot_accuracy"):
        return 1 / ways
    if metric not in ("accuracy", "mean_per_class_accuracy"):
        return None
    if metric == "mean_per_class_accuracy":
        return 1 / len(test.unique())
    frequent = torch.full_like(test, int(train.mode().values))
    return max(float(accuracy(frequent, test)), 1 / len(torch.cat([train, test]).unique()))
