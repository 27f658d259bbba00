"""Who is the best of a column, who cannot be told from it, and how many comparisons that takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from scipy.special import ndtr, stdtr

from solo_invariance.results import Estimate

Mark = Literal["", "best", "tied", "unsure", "overlap", "chance"]

SYMBOLS: dict[Mark, str] = {"best": "●", "tied": "○", "unsure": "◐", "overlap": "◌", "chance": "∅", "": " "}
WORDS: dict[Mark, str] = {
    "best": "best",
    "tied": "not distinguishable from the best: the paired interval of the difference has 0 in it",
    "unsure": "differs from the best by its paired interval, but not once all comparisons of the table are counted",
    "overlap": "interval overlaps the best's; nothing to pair them by",
    "chance": "not above chance, or not above random weights: not compared",
}
LEVEL = 0.05


class Difference(Estimate):
    """A paired difference of two backbones, ours minus theirs.

    Args:
        num_images: On how many images, or episodes, it is paired.
    """

    num_images: int


Differences = Callable[[str, str], Difference | None]
"""Gives the paired difference of two backbones by their labels; None where there is none."""


class Verdict(NamedTuple):
    """How a backbone does against the best of those that were measured on the same images.

    Attributes:
        mark: What a table shows.
        best: The best one's label.
        difference: Ours minus the best, paired; None where they cannot be paired, and for the best itself.
    """

    mark: Mark
    best: str
    difference: Difference | None


@dataclass(frozen=True)
class Comparisons:
    """How many comparisons a table makes, and what is left of those that find something.

    Args:
        count: Pairs of backbones of the same images, of all columns. The best of a column is chosen by the numbers that
            it is then compared by, so any pair could have been compared.
        paired: How many differences from the best are paired.
        found: How many of these have an interval without 0.
        kept: How many of those are left when all comparisons are counted.
    """

    count: int = 0
    paired: int = 0
    found: int = 0
    kept: int = 0


def verdicts(
    estimates: Mapping[str, Estimate],
    sets: Mapping[str, Hashable],
    competitors: Collection[str],
    difference: Differences,
    *,
    larger_is_better: bool,
) -> dict[str, Verdict]:
    """Compare the backbones of one column with the best of those on the same images.

    Args:
        estimates: By label.
        sets: On which images each was measured.
        competitors: The labels of those that are compared; the others get no verdict, nor does one that is alone.
        difference: Gives paired differences.
        larger_is_better: Whether the largest is the best.
    """
    found: dict[str, Verdict] = {}
    for of_set in groups(sets, [label for label in estimates if label in competitors]):
        if len(of_set) < 2:
            continue
        best = (max if larger_is_better else min)(of_set, key=lambda label: estimates[label].mean)
        for label in of_set:
            found[label] = _verdict(label, best, estimates, difference)
    return found


def groups(sets: Mapping[str, Hashable], labels: Sequence[str]) -> list[list[str]]:
    """Return labels of backbones that were measured on the same images together."""
    found: dict[Hashable, list[str]] = {}
    for label in labels:
        found.setdefault(sets.get(label, 0), []).append(label)
    return list(found.values())


def counted(table: Sequence[Mapping[str, Verdict]], count: int) -> tuple[list[dict[str, Verdict]], Comparisons]:
    """Return the verdicts of a table's columns where the differences that many comparisons bring about are marked.

    Args:
        table: Verdicts by label, of each column.
        count: How many comparisons the table makes.
    """
    places = [
        (column, label)
        for column, of_column in enumerate(table)
        for label, verdict in of_column.items()
        if verdict.difference is not None
    ]
    differences = [table[column][label].difference for column, label in places]
    adjusted = holm([p_value(one) for one in differences if one is not None], count)
    found = [dict(of_column) for of_column in table]
    kept = 0
    for (column, label), p in zip(places, adjusted, strict=True):
        verdict = table[column][label]
        if verdict.mark == "":
            kept += p < LEVEL
            found[column][label] = verdict._replace(mark="" if p < LEVEL else "unsure")
    marked = sum(table[column][label].mark == "" for column, label in places)
    return found, Comparisons(count, len(places), marked, kept)


def p_value(difference: Difference) -> float:
    """Return the two-sided p-value of a difference, by Student's distribution with its standard errors.

    Of few images the normal one has too thin tails, which is where many comparisons look. The degrees of freedom are
    those of the images, n - 1, and more where the reference's error, which is known better, is a part of the whole
    (Satterthwaite 1946, "An Approximate Distribution of Estimates of Variance Components").
    """
    freedom = difference.num_images - 1
    if freedom < 1:
        return 1.0
    # The bootstrap's is of the images' variance over n, not n - 1.
    images = (difference.standard_error or 0.0) ** 2 * (freedom + 1) / freedom
    error = images + (difference.reference_error or 0.0) ** 2
    if error == 0:
        return float(difference.mean == 0)
    if images > 0:
        return float(2 * stdtr(freedom * (error / images) ** 2, -abs(difference.mean) / math.sqrt(error)))
    return float(2 * ndtr(-abs(difference.mean) / math.sqrt(error)))


def holm(p_values: Sequence[float], count: int) -> list[float]:
    r"""Return p-values that are adjusted for so many comparisons, by Holm's step-down procedure.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\bigl(1, (m - j + 1)\, p_{(j)}\bigr)

    Source: Holm (1979), "A Simple Sequentially Rejective Multiple Test Procedure".

    Args:
        p_values: Those that are known.
        count: m, of all comparisons, at least as many; what is not known counts as larger than what is.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03], count=3)]
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (count - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def holds_zero(difference: Estimate) -> bool:
    """Return whether the interval of a difference has 0 in it."""
    return difference.low <= 0 <= difference.high


def _verdict(label: str, best: str, estimates: Mapping[str, Estimate], difference: Differences) -> Verdict:
    if estimates[label].mean == estimates[best].mean:
        return Verdict("best", best, None)
    paired = difference(label, best)
    if paired is None:
        return Verdict("overlap" if estimates[label].overlaps(estimates[best]) else "", best, None)
    return Verdict("tied" if holds_zero(paired) else "", best, paired)
