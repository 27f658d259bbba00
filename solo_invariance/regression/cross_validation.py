"""Choosing the penalty of a probe: the grid, the folds, and what their scores say."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from solo_invariance.protocols import ProtocolName, protocol_named


def penalty_grid(num_members: int = 1, protocol: ProtocolName = "clean") -> Tensor:
    """Return the penalties to choose from, ascending, float64 (45,).

    They are logarithmically spaced from 1e-6 to 1e5; both exponents rise by 2 for each further member of a fusion
    (Ericsson et al. 2022, official code). Both protocols search the same grid, but that ``paper`` rounds it to single
    precision, as the official code does: where many penalties score the same to the last digit, that can matter.

    Args:
        num_members: Of a fused backbone, or how many times wider than usual a single one is; 1 for most.
        protocol: ``clean`` or ``paper``.

    Raises:
        ValueError: There are fewer members than one, or there is no such protocol.

    Example:
        >>> penalty_grid()[[0, -1]].log10()
        tensor([-6.,  5.], dtype=torch.float64)
        >>> penalty_grid(num_members=3)[[0, -1]].log10()
        tensor([-2.,  9.], dtype=torch.float64)
    """
    precision = torch.float32 if protocol_named(protocol).rounds_penalties else torch.float64
    if num_members < 1:
        raise ValueError(f"num_members={num_members}, expected at least 1")
    shift = 2 * (num_members - 1)
    return torch.logspace(-6 + shift, 5 + shift, 45, dtype=precision).double()


def assign_folds(count: int, folds: int, seed: int, labels: Tensor | None = None, at_least: int = 1) -> Tensor:
    """Return the fold, 0 to ``folds - 1``, in which each of N images is held out; int64 (N,) on the CPU.

    Images are shuffled with the seed and dealt to the folds in turn, so fold sizes differ by one at most. With labels
    they are dealt class by class, and so does the number of images of each class (stratified folds).

    Args:
        count: N.
        folds: How many, two at least.
        seed: Of the shuffle.
        labels: Classes (N,), to stratify by.
        at_least: How many images each fold needs.

    Raises:
        ValueError: There are too few images for so many folds, or fewer folds than two.
    """
    _check_folds(count, folds, at_least)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    if labels is not None:
        order = order[labels.cpu()[order].argsort(stable=True)]
    return torch.empty(count, dtype=torch.int64).scatter_(0, order, torch.arange(count) % folds)


def redrawn_folds(count: int, folds: int, seed: int, at_least: int = 1) -> Iterator[Tensor]:
    """Yield, again and again, the fold in which each of N images is held out, as ``assign_folds``; new ones each time.

    They are those of scikit-learn's ``KFold(folds, shuffle=True)``, split once for each that is asked for, where
    NumPy's global generator has the seed; that is left alone.

    Args:
        count: N.
        folds: How many, two at least.
        seed: Of the shuffles.
        at_least: How many images each fold needs.

    Raises:
        ValueError: There are too few images for so many folds, or fewer folds than two.
    """
    _check_folds(count, folds, at_least)
    generator, sizes = np.random.RandomState(seed), np.bincount(np.arange(count) % folds)
    while True:
        fold_of = torch.empty(count, dtype=torch.int64)
        fold_of[torch.from_numpy(generator.permutation(count))] = torch.from_numpy(np.repeat(np.arange(folds), sizes))
        yield fold_of


def _check_folds(count: int, folds: int, at_least: int) -> None:
    if not 2 <= folds <= count // at_least:
        raise ValueError(
            f"folds={folds} for {count} images, expected at least 2 folds, each of at least {at_least} images"
        )


def choose_penalty(penalties: Tensor, scores: Tensor, protocol: ProtocolName) -> int:
    """Return the index of the penalty whose score is best.

    Where several are best, which is common for accuracies, ``clean`` takes the largest of them, the simplest model;
    ``paper`` takes the smallest, as the official code does, which keeps the first that it meets.

    Args:
        penalties: (P,), in any order.
        scores: (P,), higher is better.
        protocol: ``clean`` or ``paper``.
    """
    best = (scores == scores.max()).nonzero()[:, 0]
    order = penalties[best].argsort(descending=not protocol_named(protocol).takes_smallest_penalty)
    return int(best[order[0]])


def check_penalties(penalties: Tensor) -> Tensor:
    """Return penalties (P,) in float64.

    Raises:
        ValueError: They are not a vector of finite, positive numbers.
    """
    if penalties.ndim != 1 or not len(penalties):
        raise ValueError(f"penalties of shape {tuple(penalties.shape)}, expected (P,)")
    allowed = penalties.isfinite() & (penalties > 0)
    if not allowed.all():
        raise ValueError(f"penalty {float(penalties[~allowed][0])}, expected finite and positive")
    return penalties.double()
