"""How often 95 % intervals hold what they are to hold, by simulation: ``python -m benchmarks.coverage``."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import _adaptive
from solo_invariance.bootstrap import bootstrap_interval
from solo_invariance.transfer.intervals import (
    accuracy_interval,
    mean_per_class_interval,
    paired_accuracy_interval,
)
from solo_invariance.transfer.scores import accuracy, mean_average_precision, r2

_REPETITIONS = 2000


def share(interval: Callable[[int], tuple[float, float]], truth: float, repetitions: int = _REPETITIONS) -> float:
    """Return how often the interval of a seed holds the truth."""
    found = (interval(seed) for seed in range(repetitions))
    return sum(low <= truth <= high for low, high in found) / repetitions


def answers(seed: int, accuracies: Tensor) -> tuple[Tensor, Tensor]:
    """Return predictions and targets of images that are right with these probabilities; a class each half."""
    right = torch.rand(len(accuracies), generator=torch.Generator().manual_seed(seed)) < accuracies
    targets = torch.arange(len(accuracies)) % 2
    return torch.where(right, targets, -1), targets


def accuracies() -> None:
    for count in (30, 100, 1000):
        for level in (0.5, 0.9, 0.98):
            print(of_accuracy(torch.full((count,), level), level))


def of_accuracy(chances: Tensor, level: float) -> str:
    one = share(lambda seed: accuracy_interval(*answers(seed, chances)), level)
    each = share(lambda seed: mean_per_class_interval(*answers(seed, chances)), level)
    old = share(lambda seed: bootstrap_interval(accuracy, *answers(seed, chances), 400, seed=seed), level, 400)

    def paired(seed: int) -> tuple[float, float]:
        ours, targets = answers(seed, chances)
        return paired_accuracy_interval(ours, answers(seed + _REPETITIONS, chances)[0], targets)

    return (
        f"n {len(chances):4} p {level:.2f}: accuracy {one:.3f} (bootstrap {old:.3f}), mean per class {each:.3f}, "
        f"paired difference {share(paired, 0.0):.3f}"
    )


def of_many_targets(repetitions: int = 200) -> None:
    """Of R^2 and average precision, averaged over one target or many: the score that as many images have on average."""
    for count, targets in ((15, 1), (15, 200), (50, 1), (50, 200), (200, 20)):
        for metric, draw in ((r2, _numbers), (mean_average_precision, _labels)):
            drawn = [draw(seed, count, targets) for seed in range(repetitions)]
            scores = torch.stack([metric(*one, None) for one in drawn])
            found = [bootstrap_interval(metric, *one, 200, seed=seed) for seed, one in enumerate(drawn)]
            held = sum(low <= float(scores.mean()) <= high for low, high in found) / repetitions
            inside = sum(low <= float(score) <= high for score, (low, high) in zip(scores, found, strict=True))
            print(
                f"n {count:4} targets {targets:3}: {metric.__name__} {held:.3f}, "
                f"the score in its interval {inside / repetitions:.3f}"
            )


def _numbers(seed: int, count: int, targets: int) -> tuple[Tensor, Tensor]:
    """Return predictions that explain half of the variance of independent targets."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(count, targets, generator=generator, dtype=torch.float64)
    return found, found + torch.randn(count, targets, generator=generator, dtype=torch.float64)


def _labels(seed: int, count: int, targets: int) -> tuple[Tensor, Tensor]:
    """Return scores of independent labels that a fifth of the images have."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(count, targets, generator=generator) < 0.2
    truth[0] = True
    return truth + torch.randn(count, targets, generator=generator, dtype=torch.float64), truth


def adaptive(pool: int = 300, parameters: int = 64, repetitions: int = 400) -> None:
    """Of the adaptive budget: the value of the pool that it draws from, and that of the population of the pool."""
    pools = populations = 0
    for seed in range(repetitions):
        rng = np.random.default_rng(seed)
        curve = np.cos(np.linspace(0, 3, parameters)) / 4
        scores = 0.5 + curve + 0.1 * rng.normal(size=(pool, 1)) + 0.1 * rng.normal(size=(pool, parameters))
        values = torch.from_numpy(scores)
        half = values[: pool // 2].mean(dim=1)
        _, (low, high) = _adaptive(values, None, float(half.std() / len(half) ** 0.5), seed)
        pools += low <= float(values.mean()) <= high
        populations += low <= 0.5 + curve.mean() <= high
    print(
        f"adaptive budget: of the pool's value {pools / repetitions:.3f}, of the population's "
        f"{populations / repetitions:.3f}"
    )


if __name__ == "__main__":
    accuracies()
    of_many_targets()
    adaptive()
