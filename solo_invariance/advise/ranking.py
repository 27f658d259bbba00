"""Families in order, in each resample of the test images, and how often each is first."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from solo_invariance.advise.reading import Bench, Effect
from solo_invariance.advise.settings import AdviseSettings
from solo_invariance.advise.trained import Trained, drawn_means

Array = NDArray[np.float64]

SURE = 0.95
"""The share of resamples in which a family that is recommended comes first, or one of several does."""


class Ranked(NamedTuple):
    """A family's place.

    Attributes:
        name: Its.
        first: The share of resamples in which it is first.
        place: Its mean place, from 1.
        safe: The share in which it costs nothing; None where that was not looked at.
        evidence: ``data`` or ``backbones``: what its place is from.
    """

    name: str
    first: float
    place: float
    safe: float | None
    evidence: str


def ranking(
    bench: Bench | None,
    effects: Mapping[str, Effect],
    chance: float,
    trained: Mapping[str, Trained],
    settings: AdviseSettings,
) -> list[Ranked]:
    """Return families in the order in which they are recommended.

    Of the data, families that cost nothing come first, those of more augmentation before others: a family is safe where
    what can be read of features that keep what views share is nearly what can be read without it, and so it is of views
    alone; where the former is clearly more, the latter is no objection, but the untrained reader's trouble with views.
    The others follow, the least costly before others. The places that the data give to families of which several
    backbones were trained are dealt out among these by their mean scores.

    Args:
        bench: The task; None where the data were not looked at.
        effects: Of the families, by name; where there is no bench, families of several trained backbones are ranked.
        chance: The score of a reader that sees nothing.
        trained: Scores of families' trained backbones, by name.
        settings: What counts as no cost.
    """
    names = [*effects] if bench is not None else [name for name, one in trained.items() if one.counts]
    keys, safe = _of_data(bench, effects, chance, settings) if bench is not None else (None, None)
    several = [name for name in names if name in trained and trained[name].counts]
    several = several if len(several) > 1 else []
    means = drawn_means([trained[name] for name in several], settings.seed)
    count = means.shape[0] if keys is None else keys.shape[0]
    order = np.zeros((count, len(names)), dtype=np.int64)
    for draw in range(count):
        row = list(range(len(names))) if keys is None else [*np.lexsort(keys[draw].T[::-1])]
        order[draw] = _dealt(row, [names.index(name) for name in several], means[draw % len(means)] if several else ())
    places = order.argsort(axis=1) + 1
    found = [
        Ranked(
            name,
            float((places[:, index] == 1).mean()),
            float(places[:, index].mean()),
            None if safe is None else float(safe[:, index].mean()),
            "backbones" if name in several else "data",
        )
        for index, name in enumerate(names)
    ]
    return sorted(found, key=lambda one: (-one.first, one.place))


def recommended(ranked: Sequence[Ranked]) -> list[str]:
    """Return the family that is recommended; several, of which one is first in 95 % of resamples, where it is open.

    Example:
        >>> open_ = [Ranked("a", 0.6, 1.4, 1.0, "data"), Ranked("b", 0.4, 1.6, 1.0, "data")]
        >>> recommended(open_), recommended([Ranked("a", 0.97, 1.0, 1.0, "data"), *open_])
        (['a', 'b'], ['a'])
    """
    named, share = [], 0.0
    for one in ranked:
        if share >= SURE - 1e-9:
            break
        named.append(one.name)
        share += one.first
    return named


def _of_data(
    bench: Bench, effects: Mapping[str, Effect], chance: float, settings: AdviseSettings
) -> tuple[Array, NDArray[np.bool_]]:
    """Return what families are ordered by in each resample, (B, F, 2), and whether each is safe, (B, F)."""
    whole = _array(bench.score.samples)
    readable = np.maximum(whole - chance, 1e-9)[:, None]
    seen = np.stack([_array(one.seen.samples) for one in effects.values()], axis=1)
    kept = np.stack([_array(one.kept.samples) for one in effects.values()], axis=1)
    cost = (whole[:, None] - seen) / readable
    loss = (_array(bench.kept.samples)[:, None] - kept) / readable
    safe = (loss <= settings.smallest) & ((cost <= settings.tolerance) | (-loss >= settings.smallest))
    strength = np.array([one.strength for one in effects.values()])
    return np.stack([~safe, np.where(safe, -strength, cost + loss)], axis=2).astype(float), safe


def _dealt(order: list[int], several: Sequence[int], means: Sequence[float] | Array) -> list[int]:
    """Return an order in which the places of some are dealt out among them by their means, the highest first."""
    best = iter(sorted(range(len(several)), key=lambda index: -means[index]))
    return [several[next(best)] if one in several else one for one in order]


def _array(samples: Tensor) -> Array:
    found: Array = samples.double().cpu().numpy()
    return found
