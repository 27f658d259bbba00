"""Which invariance goes with which score: rank correlations over backbones, with permutation tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit
from scipy.stats import rankdata

from solo_invariance.bootstrap import NORMAL_QUANTILE, Interval
from solo_invariance.report.collect import Results
from solo_invariance.report.grids import Column, Grid, comparable_similarity, invariance_grid, transfer_grid, view_group
from solo_invariance.report.groups import folded
from solo_invariance.report.marks import LEVEL, holm

Array = NDArray[np.float64]

FEWEST = 6
"""Of fewer backbones, no rank correlation could differ from none: of five, 2 in 120 orders are perfect ones."""

FEWEST_FAMILIES = 3
"""Of fewer families with several seeds each, nothing is known of others."""

MOST_PERMUTED = 50
_PERMUTATIONS = 9999
_SEED = 0


class Correlation(NamedTuple):
    """Spearman's rank correlation of some pairs.

    Attributes:
        rho: It.
        p: That there is none, two-sided.
        num_pairs: Of how many pairs.
        is_sure: Whether it holds at 5 % after Holm's correction for all that are in the same table.
        interval: The 95 % interval of rho among other families, or, where each is of one backbone, among other
            backbones; None of fewer than ``FEWEST_FAMILIES``.
        num_families: Of how many families the backbones are, each of which may have several seeds.
    """

    rho: float
    p: float
    num_pairs: int
    is_sure: bool = False
    interval: Interval | None = None
    num_families: int = 0


@dataclass(frozen=True)
class Cloud:
    """Two numbers of each of some backbones, and how their ranks go together.

    Args:
        title: What it is of.
        x_label: What the horizontal axis has.
        y_label: What the vertical one has.
        labels: Of the backbones.
        groups: What each is a seed of, its label where it is none.
        x: A number of each backbone.
        y: The other one.
        correlation: Of both.
    """

    title: str
    x_label: str
    y_label: str
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    correlation: Correlation


@dataclass(frozen=True)
class Associations:
    """Rank correlations of each invariance with each score: ``entries[task][change]``, None where too few have both."""

    tasks: tuple[Column, ...]
    changes: tuple[Column, ...]
    entries: Mapping[Column, Mapping[Column, Correlation | None]]


def spearman(x: Sequence[float], y: Sequence[float], families: Sequence[str] | None = None) -> Correlation | None:
    r"""Return Spearman's rank correlation, None of fewer than ``FEWEST`` pairs, or where one side is constant.

    Of independent pairs, the p is the share of random orders, this one included, that correlate as much in either
    direction: (1 + b) / (1 + m) with b of m permutations, by a fixed seed. Of more than ``MOST_PERMUTED`` pairs, it is
    that of Student's t, which is as good there. The interval is

    .. math:: \tanh\Bigl(\operatorname{artanh}\rho \pm 1.96 \sqrt{\tfrac{1 + \rho^2 / 2}{n - 3}}\Bigr)

    Seeds of a family are alike, so that n backbones of few families say much less than n families would. Where a family
    has several, both are by Student's t with families - 1 degrees of freedom, and the standard error of artanh rho is
    that of the jackknife which leaves out whole families, or that of independent pairs if it is larger.

    Source: Phipson and Smyth (2010), "Permutation p-values should never be zero", equation 2; Kendall and Stuart
    (1973), "The Advanced Theory of Statistics", equation 31.19; Bonett and Wright (2000), "Sample Size Requirements for
    Estimating Pearson, Kendall and Spearman Correlations"; Efron and Tibshirani (1993), "An Introduction to the
    Bootstrap", section 11.5.

    Args:
        x: n numbers.
        y: n numbers, of the same backbones.
        families: Of which family each backbone is; each of its own by default.
    """
    if len(x) < FEWEST:
        return None
    first, second = standardised_ranks(x), standardised_ranks(y)
    if not first.any() or not second.any():
        return None
    rho = _rho(first, second)
    of = np.unique(np.arange(len(x)).astype(str) if families is None else list(families), return_inverse=True)[1]
    error = math.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    count = int(of.max()) + 1
    if count == len(x):
        interval = _about(rho, len(x), NORMAL_QUANTILE * error)
        return Correlation(rho, _p_of(rho, first, second), len(x), False, interval, count)
    if count < FEWEST_FAMILIES:
        return Correlation(rho, 1.0, len(x), False, None, count)
    error = max(error, _error_by_families(np.asarray(x), np.asarray(y), of))
    p = float(2 * stdtr(count - 1, -abs(_z(rho, len(x))) / error))
    return Correlation(rho, p, len(x), False, _about(rho, len(x), float(stdtrit(count - 1, 0.975)) * error), count)


def _error_by_families(x: Array, y: Array, of: NDArray[np.intp]) -> float:
    """Return the standard error of artanh rho by the jackknife which leaves out one family at a time."""
    kept = [of != family for family in np.unique(of)]
    parts = np.array([_z(_rho(standardised_ranks(x[some]), standardised_ranks(y[some])), some.sum()) for some in kept])
    return math.sqrt((len(kept) - 1) * float(parts.var()))


def _rho(first: Array, second: Array) -> float:
    return min(max(float(first @ second), -1.0), 1.0)


def _z(rho: float, count: int) -> float:
    """Return artanh rho, of rhos of 1 that of half a step from it: two neighbours that change places are one."""
    most = 1 - 6 / (count * (count**2 - 1))
    return math.atanh(min(max(rho, -most), most))


def _about(rho: float, count: int, half_width: float) -> Interval:
    z = _z(rho, count)
    low, high = math.tanh(z - half_width), math.tanh(z + half_width)
    return Interval(min(low, rho), max(high, rho))


def _p_of(rho: float, first: Array, second: Array) -> float:
    count = len(first)
    if count > MOST_PERMUTED:
        t = abs(rho) * math.sqrt((count - 2) / max(1 - rho**2, 1e-300))
        return float(2 * stdtr(count - 2, -t))
    reached = int((np.abs(second[orders(count)] @ first) >= abs(rho) - 1e-12).sum())
    return (1 + reached) / (1 + _PERMUTATIONS)


def standardised_ranks(values: ArrayLike, axis: int = -1) -> Array:
    """Return ranks about their mean, of length 1 along an axis: products of two sum to Spearman's rank correlation.

    Those of numbers that are all the same are 0.
    """
    ranks = rankdata(values, axis=axis)
    centred = ranks - ranks.mean(axis=axis, keepdims=True)
    length = np.linalg.norm(centred, axis=axis, keepdims=True)
    found: Array = centred / np.where(length > 0, length, 1)
    return found


@lru_cache(maxsize=8)
def orders(count: int) -> NDArray[np.int64]:
    """Return random orders of so many things, (9999, count): always the same ones."""
    return np.random.default_rng(_SEED).permuted(np.tile(np.arange(count), (_PERMUTATIONS, 1)), axis=1)


def associations(results: Results) -> Associations | None:
    """Return how each invariance goes with each score; None where fewer than ``FEWEST`` backbones have both."""
    invariance, scores = invariance_grid(results, comparable_similarity(results.rows)), transfer_grid(results)
    entries = {
        task: {change: _between(results, (invariance, change), (scores, task)) for change in invariance.columns}
        for task in scores.columns
    }
    if not any(one for of_task in entries.values() for one in of_task.values()):
        return None
    return Associations(scores.columns, invariance.columns, _corrected(entries))


def clouds(results: Results) -> list[Cloud]:
    """Return, for each task and kind of change, the mean invariance of each backbone beside its score."""
    invariance, scores = invariance_grid(results, comparable_similarity(results.rows)), transfer_grid(results)
    found = [
        _cloud(
            results,
            f"{task.title}, {kind}",
            (invariance, change, f"invariance to {kind} changes"),
            (scores, task, task.note),
        )
        for task in scores.columns
        for kind, change in _summaries(invariance).items()
    ]
    return [cloud for cloud in found if cloud]


def clouds_of_views(results: Results) -> list[Cloud]:
    """Return, for each kind, the mean invariance to synthetic changes of each backbone beside that to real views."""
    grid = invariance_grid(results, comparable_similarity(results.rows))
    summaries = _summaries(grid)
    found = [
        _cloud(results, f"{kind}: {view.title}", (grid, change, "synthetic changes"), (grid, view, "real views"))
        for kind, change in summaries.items()
        for view in grid.columns
        if view.group == view_group(kind)
    ]
    return [cloud for cloud in found if cloud]


def _summaries(grid: Grid) -> dict[str, Column]:
    """The mean of each kind of change, or the only change of it."""
    kinds = dict.fromkeys(column.group for column in grid.columns if not column.group.endswith(" views"))
    columns = {kind: [column for column in grid.columns if column.group == kind] for kind in kinds}
    return {kind: of_kind[-1] for kind, of_kind in columns.items() if of_kind[-1].is_mean or len(of_kind) == 1}


_Side = tuple[Grid, Column, str]
"""A table, one of its columns, and what that is called beside an axis."""


def _cloud(results: Results, title: str, across: _Side, up: _Side) -> Cloud | None:
    labels, x, y = _pairs(results, *across[:2], *up[:2])
    correlation = spearman(x, y, _families(results, labels))
    if correlation is None:
        return None
    groups = _groups(results)
    return Cloud(
        title,
        across[2],
        up[2],
        tuple(labels),
        tuple(groups[label] for label in labels),
        tuple(x),
        tuple(y),
        correlation,
    )


def _between(results: Results, across: tuple[Grid, Column], up: tuple[Grid, Column]) -> Correlation | None:
    labels, x, y = _pairs(results, *across, *up)
    return spearman(x, y, _families(results, labels))


def _groups(results: Results) -> dict[str, str]:
    """What each backbone is a seed of, by its label; the label itself, where it is none."""
    return {row.label: group.label for group in folded(results.rows) for row in group.rows}


def _families(results: Results, labels: Sequence[str]) -> list[str]:
    """Return what some backbones are seeds or layers of: these are alike."""
    groups = _groups(results)
    layers = {row.label: f" {row.backbone.layer}" for row in results.rows if row.role == "layer"}
    return [groups[label].removesuffix(layers.get(label, "")) for label in labels]


def _pairs(
    results: Results, grid: Grid, x: Column, other: Grid, y: Column
) -> tuple[list[str], list[float], list[float]]:
    labels = [
        row.label
        for row in results.correlated
        if x in grid.cells.get(row.label, {}) and y in other.cells.get(row.label, {})
    ]
    first = [grid.cells[label][x].estimate.mean for label in labels]
    return labels, first, [other.cells[label][y].estimate.mean for label in labels]


def _corrected(
    entries: Mapping[Column, Mapping[Column, Correlation | None]],
) -> dict[Column, dict[Column, Correlation | None]]:
    """Say which hold at 5 % after Holm's correction for all of the table."""
    known = [(task, change, one) for task, of_task in entries.items() for change, one in of_task.items() if one]
    adjusted = holm([one.p for *_, one in known], len(known))
    found: dict[Column, dict[Column, Correlation | None]] = {task: dict(of_task) for task, of_task in entries.items()}
    for (task, change, one), p in zip(known, adjusted, strict=True):
        found[task][change] = one._replace(is_sure=p <= LEVEL)
    return found
