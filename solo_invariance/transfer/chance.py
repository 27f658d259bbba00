"""What a probe that sees nothing would score, and what it scores on each of several numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from solo_invariance.transfer.probes.settings import ProbeSettings
from solo_invariance.transfer.scores import r2_of_targets


def chance_level(train: Tensor, test: Tensor, settings: ProbeSettings) -> float:
    """Return the score on the test images of a probe that knows the training targets and no image.

    Accuracy: of always saying the training images' most frequent class, or of any class at random, whichever is more.
    Mean accuracy per class, which the first does not raise: 1 / classes of the test. R^2: 0, of the mean. Mean average
    precision: the share of images that have a label, averaged over the labels that some have. Few-shot episodes:
    1 / ways.

    Args:
        train: Targets (N,) or (N, T).
        test: Targets (M,) or (M, T).
        settings: How the task is probed.
    """
    if settings.probe == "few_shot":
        return 1 / settings.few_shot.ways
    if settings.metric == "r2":
        return 0.0
    if settings.metric == "mean_per_class_accuracy":
        return 1 / len(test.unique())
    if settings.metric == "mean_average_precision":
        shares = test.bool().double().mean(dim=0)
        return float(shares[shares > 0].mean())
    classes, counts = train.unique(return_counts=True)
    # Of classes that are equally frequent, what always saying one of them scores on average.
    likely = classes[counts == counts.max()]
    return max(float((test[:, None] == likely).double().mean(dim=1).mean()), 1 / len(torch.cat([train, test]).unique()))


def scores_of_outputs(predictions: Tensor, targets: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Return R^2 of each of several numbers that a task asks for, by its name; nothing where it asks for one.

    Args:
        predictions: (M, T).
        targets: (M, T).
        names: Of the T numbers; as many names as are missing are numbers, from 1.
    """
    if targets.ndim < 2 or targets.shape[1] < 2:
        return {}
    named = [names[index] if index < len(names) else str(index + 1) for index in range(targets.shape[1])]
    scores = r2_of_targets(predictions.cpu().to(torch.float64), targets.cpu()).tolist()
    return dict(zip(named, scores, strict=True))
