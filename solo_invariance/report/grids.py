"""The tables of a report as data: which backbone has which number, which is best, and which cannot be told from it.

The page and the terminal print the same grids.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple, TypeVar

from solo_invariance.config.measure import KINDS as KINDS
from solo_invariance.report.collect import Results, Row
from solo_invariance.report.columns import Column as Column
from solo_invariance.report.columns import Quantity as Quantity
from solo_invariance.report.columns import mean_column, task_column, view_group
from solo_invariance.report.columns import readable as readable
from solo_invariance.report.marks import (
    SYMBOLS,
    WORDS,
    Comparisons,
    Difference,
    Mark,
    Verdict,
    counted,
    groups,
    holds_zero,
    verdicts,
)
from solo_invariance.report.paired import MOST_IN_FULL, compared, competing, estimate_of
from solo_invariance.report.scores import ScoredTask, scored_tasks
from solo_invariance.results import Estimate, TransformResult, ViewResult

_WIDEST = 16
T = TypeVar("T")


@dataclass(frozen=True)
class Cell:
    """One number, and how it does against the best of the column that was measured on the same images.

    Args:
        estimate: The number with its interval.
        mark: What a table shows beside it.
        difference: From the column's best, paired; None where there is nothing to pair, and for the best itself.
    """

    estimate: Estimate
    mark: Mark
    difference: Difference | None = None

    @property
    def symbol(self) -> str:
        """The mark as a character; a blank where there is none."""
        return SYMBOLS[self.mark]

    @property
    def said(self) -> str:
        """The mark in words; empty where there is none."""
        return WORDS.get(self.mark, "")


Measured = Mapping[Column, Estimate]
_Judged = tuple[Mapping[str, Verdict], int]
"""The verdicts of a column, by label, and the number of its comparisons."""


@dataclass(frozen=True)
class Grid:
    """One table. ``cells[label][column]`` is missing where a backbone was not measured.

    Args:
        rows: The backbones; those that do not compete come last.
        columns: Changes or tasks.
        cells: By label and column.
        decimals: Of the numbers.
        comparisons: How many there are.
        ranked: The tasks that mean ranks are over.
        ranks: Mean rank by label, where backbones are ranked.
    """

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    cells: Mapping[str, Mapping[Column, Cell]]
    decimals: int
    comparisons: Comparisons = field(default_factory=Comparisons)
    ranked: tuple[Column, ...] = ()
    ranks: Mapping[str, float] = field(default_factory=dict)

    @property
    def marks(self) -> list[Mark]:
        """The marks that the table has, for its legend."""
        present = {cell.mark for row in self.cells.values() for cell in row.values()}
        return [mark for mark in SYMBOLS if mark and mark in present]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The headings over the columns, and the number of columns that each of them spans."""
        return [(name, len(list(columns))) for name, columns in groupby(self.columns, key=lambda column: column.group)]

    @property
    def bands(self) -> list[Grid]:
        """The table cut between groups into tables that fit on a page, one below the other."""
        bands: list[list[Column]] = [[]]
        for _, group in groupby(self.columns, key=lambda column: column.group):
            columns = list(group)
            if bands[-1] and len(bands[-1]) + len(columns) > _WIDEST:
                bands.append([])
            bands[-1] += columns
        return [replace(self, columns=tuple(band)) for band in bands]

    @property
    def shared(self) -> list[Column]:
        """The columns that every row has."""
        return [column for column in self.columns if all(column in row for row in self.cells.values())]

    @property
    def estimates(self) -> list[Estimate]:
        """Every number in the table."""
        return [cell.estimate for row in self.cells.values() for cell in row.values()]

    def estimate(self, row: Row, column: Column) -> Estimate:
        """The number of one row in one column, which must be there."""
        return self.cells[row.label][column].estimate


class Means(NamedTuple):
    """Averages of some rows over the columns that they share; ``None`` for a row that has nothing to average."""

    estimates: list[Estimate | None]
    num_columns: int


@lru_cache(maxsize=8)
def invariance_grid(results: Results, quantity: Quantity) -> Grid:
    """Similarity or distance of every backbone on every transform and view set, and its mean over each kind.

    The most invariant backbone of a column has the column's largest similarity or smallest distance. Only backbones of
    the same images are compared; by the plain distance, only those of one width.
    """
    rows = [row for row in results.rows if row.invariance]
    measured = [dict(measurements(row, quantity)) for row in rows]
    for kind in kinds_of(rows):
        means = means_of_group(results, quantity, kind)
        if means.num_columns > 1:
            for row, mean in zip(measured, means.estimates, strict=True):
                row.update({mean_column(kind): mean} if mean else {})
    order = [*kinds_of(rows), *map(view_group, kinds_of(rows))]
    columns = sorted(_columns(measured), key=lambda column: (order.index(column.group), column.is_mean))
    found = [_invariance_verdicts(results, quantity, column, rows, measured) for column in columns]
    return _grid(rows, columns, measured, found, decimals=_decimals(measured))


def means_of_group(results: Results, quantity: Quantity, group: str) -> Means:
    """Average each row over the changes of a group that all competitors have, with the interval over images.

    Where a row's arrays are not there, or its changes were measured on different images, the interval is the cautious
    one of ``shared_means``.
    """
    rows = [row for row in results.rows if row.invariance]
    measured = [of_group(measurements(row, quantity), group) for row in rows]
    deciding = [one for row, one in zip(rows, measured, strict=True) if row.role == "backbone"]
    means = shared_means(measured, deciding if any(deciding) else None)
    if means.num_columns < 2:
        return means
    own = compared(results).of(quantity, mean_column(group)).own
    sharper = [
        None if mean is None else own.get(row.label, mean) for row, mean in zip(rows, means.estimates, strict=True)
    ]
    return Means(sharper, means.num_columns)


def _invariance_verdicts(
    results: Results, quantity: Quantity, column: Column, rows: Sequence[Row], measured: Sequence[Measured]
) -> _Judged:
    found = compared(results).of(quantity, column)
    estimates = {row.label: one[column] for row, one in zip(rows, measured, strict=True) if column in one}
    widths = {row.label: row.backbone.num_features if quantity == "distance" else 0 for row in rows}
    sets = {label: (found.sets.get(label, 0), widths[label]) for label in estimates}
    labels = [row.label for row in rows if row.role == "backbone" and row.label in estimates]
    judged = verdicts(
        estimates,
        sets,
        labels,
        lambda ours, theirs: found.pairs.get((ours, theirs)),
        larger_is_better=not quantity.endswith("distance"),
    )
    return judged, _num_pairs(groups(sets, labels))


@lru_cache(maxsize=2)
def transfer_grid(results: Results) -> Grid:
    """Score of every backbone on every task; the largest is the best of those that are above chance."""
    rows = [row for row in results.rows if row.transfer]
    measured = [{task_column(result): result.score for result in row.transfer} for row in rows]
    tasks, columns = scored_tasks(results), _columns(measured)
    found = []
    for column in columns:
        task = tasks[column]
        scores = {label: result.score for label, result in task.results.items()}
        competitors = task.competitors
        judged = verdicts(scores, task.sets, competitors, task.difference, larger_is_better=True)
        judged |= {label: Verdict("chance", "", None) for label in task.at_chance_labels}
        found.append((judged, _num_pairs(groups(task.sets, competitors))))
    grid = _grid(rows, columns, measured, found, decimals=3)
    ranked = _ranked(grid, tasks)
    return replace(grid, ranked=tuple(ranked), ranks=_mean_ranks(grid, [tasks[column] for column in ranked]))


def mean_ranks(grid: Grid) -> dict[str, float]:
    """Mean rank of each competitor over the tasks that all of them have: 1 is the best.

    Equal scores share their ranks, and so do two whose paired difference has 0 in its interval, and all that are not
    above chance, which come last. Of more than 24 backbones, only equal scores share ranks. Tasks on which nobody is
    above chance, or whose test images are not the same for all, do not count. Nothing is ranked where there is only
    one backbone, or no such task.
    """
    return dict(grid.ranks)


def _ranked(grid: Grid, tasks: Mapping[Column, ScoredTask]) -> list[Column]:
    labels = {row.label for row in grid.rows if row.role == "backbone"}
    if len(labels) < 2:
        return []
    return [
        column
        for column in grid.columns
        if labels <= tasks[column].results.keys()
        and tasks[column].competitors
        and len({tasks[column].sets[label] for label in labels}) == 1
    ]


def _mean_ranks(grid: Grid, tasks: Sequence[ScoredTask]) -> dict[str, float]:
    labels = [row.label for row in grid.rows if row.role == "backbone"]
    if not tasks:
        return {}
    ranks = [_ranks(task, labels) for task in tasks]
    return {label: sum(of_task[label] for of_task in ranks) / len(ranks) for label in labels}


def _ranks(task: ScoredTask, labels: Sequence[str]) -> dict[str, float]:
    """Rank by how many are better; whom a backbone cannot be told from counts half."""
    if len(labels) > MOST_IN_FULL:
        above = set(task.competitors)
        scores = {label: task.results[label].score.mean if label in above else -math.inf for label in labels}
        ordered = sorted(scores.values())
        ends = {label: (bisect_left(ordered, one), bisect_right(ordered, one)) for label, one in scores.items()}
        return {label: len(scores) - (first + last - 1) / 2 for label, (first, last) in ends.items()}
    return {label: 1 + sum(_ahead(task, other, label) for other in labels if other != label) for label in labels}


def _ahead(task: ScoredTask, one: str, other: str) -> float:
    """Return 1 where a backbone is ahead of another, 0 where it is behind, and 1/2 where that cannot be told."""
    chance = task.at_chance(one), task.at_chance(other)
    if any(chance):
        return 0.5 if all(chance) else float(chance[1])
    first, second = (task.results[label].score.mean for label in (one, other))
    difference = task.difference(*sorted((one, other)))
    if first == second or (difference is not None and holds_zero(difference)):
        return 0.5
    return float(first > second)


def shared_means(measured: Sequence[Measured], deciding: Sequence[Measured] | None = None) -> Means:
    """Average each row over the columns that every row has; rows without any column are left out of that.

    The interval is a cautious one, the mean of the bounds: the standard deviation of a mean is at most the mean of the
    standard deviations, however the columns, which come from the same images, are correlated.

    Args:
        measured: Of each row.
        deciding: Those that must have a column, all by default; others that lack one have no mean.
    """
    present = [row for row in (measured if deciding is None else deciding) if row]
    shared = [column for column in _columns(present) if all(column in row for row in present)]
    if not shared:
        return Means([None] * len(measured), 0)
    complete = [row if row.keys() >= {*shared} else None for row in measured]
    means = [None if row is None else _mean([row[column] for column in shared]) for row in complete]
    return Means(means, len(shared))


def measurements(row: Row, quantity: Quantity) -> Measured:
    """Everything that was measured of a row's invariance: its transforms under their kind, then its view sets."""
    transforms = {Column(name, result.kind): result for name, result in row.transforms.items()}
    views = {Column(name, view_group(result.kind)): result for name, result in row.views.items()}
    measured: dict[Column, TransformResult | ViewResult] = {**transforms, **views}
    found = {column: estimate_of(row, result, quantity) for column, result in measured.items()}
    return {column: estimate for column, estimate in found.items() if estimate is not None}


def comparable_similarity(rows: Iterable[Row]) -> Quantity:
    """The similarity by which rows can be compared: the width-matched one where their widths differ and all have it.

    Where widths differ and not all have it, in one number of dimensions, there is none but the plain one, which a
    caveat has to go with. Layers and untrained twins beside backbones that compete have no say in it.
    """
    files = [file for row in competing(rows) for file in row.invariance]
    matched = {file.matched_width for file in files}
    differ = len({file.backbone.num_features for file in files}) > 1
    return "width_matched_similarity" if differ and len(matched) == 1 and None not in matched else "similarity"


def matched_width(results: Results) -> int | None:
    """The number of dimensions of the width-matched similarities, where all files have them in the same."""
    found = {file.matched_width for row in results.rows for file in row.invariance}
    return found.pop() if len(found) == 1 else None


def further_metrics(rows: Sequence[Row]) -> dict[str, dict[str, Measured]]:
    """What else was measured: by metric and row, in the order in which the metrics are found."""
    found = {row.label: _further(row) for row in rows}
    names = dict.fromkeys(name for of_row in found.values() for further in of_row.values() for name in further)
    return {
        name: {
            label: {column: further[name] for column, further in of_row.items() if name in further}
            for label, of_row in found.items()
        }
        for name in names
    }


def _further(row: Row) -> dict[Column, Mapping[str, Estimate]]:
    transforms = {Column(name, result.kind): result.further for name, result in row.transforms.items()}
    views = {Column(name, view_group(result.kind)): result.further for name, result in row.views.items()}
    return {**transforms, **views}


def without_identity(row: Row) -> Measured:
    """Similarities to the row's transforms that leave out the parameter that changes nothing."""
    return {
        Column(name, result.kind): result.similarity_without_identity
        for name, result in row.transforms.items()
        if result.similarity_without_identity is not None
    }


def of_group(measured: Measured, group: str) -> Measured:
    """The columns under one heading."""
    return {column: estimate for column, estimate in measured.items() if column.group == group}


def kinds_of(rows: Iterable[Row]) -> list[str]:
    """The kinds of change that were measured: spatial, appearance, then any others."""
    found = _unique(kind for row in rows for kind in row.kinds)
    return [kind for kind in KINDS if kind in found] + [kind for kind in found if kind not in KINDS]


def number(value: float, decimals: int) -> str:
    """A number as it is printed everywhere: fixed decimals, a true minus sign, and no negative zero."""
    text = f"{value:.{decimals}f}"
    return text.replace("-", "" if float(text) == 0 else "\N{MINUS SIGN}")


def interval(estimate: Estimate, decimals: int) -> str:
    """A 95 % interval as it is printed everywhere."""
    return f"[{number(estimate.low, decimals)}, {number(estimate.high, decimals)}]"


def _grid(
    rows: Sequence[Row],
    columns: Sequence[Column],
    measured: Sequence[Measured],
    judged: Sequence[_Judged],
    *,
    decimals: int,
) -> Grid:
    found, comparisons = counted([of_column for of_column, _ in judged], sum(number for _, number in judged))
    by_column = dict(zip(columns, found, strict=True))
    cells = {
        row.label: {
            column: _cell(of_row[column], by_column[column].get(row.label)) for column in columns if column in of_row
        }
        for row, of_row in zip(rows, measured, strict=True)
    }
    return Grid(tuple(rows), tuple(columns), cells, decimals, comparisons)


def _cell(estimate: Estimate, verdict: Verdict | None) -> Cell:
    return Cell(estimate, "") if verdict is None else Cell(estimate, verdict.mark, verdict.difference)


def _num_pairs(sets: Sequence[Sequence[str]]) -> int:
    return sum(len(of_set) * (len(of_set) - 1) // 2 for of_set in sets)


def _mean(estimates: Sequence[Estimate]) -> Estimate:
    means, lows, highs = zip(*((one.mean, one.low, one.high) for one in estimates), strict=True)
    mean, low, high = (sum(values) / len(values) for values in (means, lows, highs))
    return Estimate(mean=mean, ci95=(low, high))


def _decimals(measured: Iterable[Measured]) -> int:
    """Three significant digits for the largest number, and never more than two decimals."""
    largest = max((abs(estimate.mean) for row in measured for estimate in row.values()), default=0.0)
    return 2 if largest < 10 else 1 if largest < 100 else 0


def _columns(measured: Iterable[Measured]) -> list[Column]:
    return _unique(column for row in measured for column in row)


def _unique(items: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(items))
