"""The tables of a report as data: which backbone has which number, which is best, and which cannot be told from it.

The page and the terminal print the same grids.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, NamedTuple, TypeVar

from solo_invariance.report.collect import Results, Row
from solo_invariance.results import Estimate, TransferResult

Mark = Literal["", "best", "tied"]
Quantity = Literal["similarity", "width_matched_similarity", "distance"]
KINDS = ("spatial", "appearance")
METRICS = {"r2": "R²"}
# The others are the usual ones for their tasks, or their metric says it.
PROBES = {"knn": "kNN", "kernel_ridge": "kernel ridge"}
_WIDEST = 16
T = TypeVar("T")


@dataclass(frozen=True)
class Column:
    """One column: a transform, a view set or a task, in a group that shares a heading; ``note`` is its small print."""

    name: str
    group: str
    note: str = ""
    is_mean: bool = False

    @property
    def title(self) -> str:
        """The name as people read it."""
        return readable(self.name)


@dataclass(frozen=True)
class Cell:
    """One number; ``tied`` means that its interval overlaps the interval of the column's best."""

    estimate: Estimate
    mark: Mark


Measured = Mapping[Column, Estimate]


@dataclass(frozen=True)
class Grid:
    """One table. ``cells[label][column]`` is missing where a backbone was not measured."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    cells: Mapping[str, Mapping[Column, Cell]]
    decimals: int

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


def invariance_grid(results: Results, quantity: Quantity) -> Grid:
    """Similarity or distance of every backbone on every transform and view set, and its mean over each kind.

    The most invariant backbone of a column has the column's largest similarity or smallest distance.
    """
    rows = [row for row in results.rows if row.invariance]
    kinds = kinds_of(rows)
    measured = [dict(measurements(row, quantity)) for row in rows]
    for kind in kinds:
        means = shared_means([of_group(row, kind) for row in measured])
        if means.num_columns > 1:
            for row, mean in zip(measured, means.estimates, strict=True):
                row.update({Column("mean", kind, is_mean=True): mean} if mean else {})
    order = [*kinds, *map(view_group, kinds)]
    columns = sorted(_columns(measured), key=lambda column: (order.index(column.group), column.is_mean))
    return _grid(rows, columns, measured, larger_is_better=quantity != "distance", decimals=_decimals(measured))


def transfer_grid(results: Results) -> Grid:
    """Score of every backbone on every task; the largest is the best."""
    rows = [row for row in results.rows if row.transfer]
    measured = [{task_column(result): result.score for result in row.transfer} for row in rows]
    return _grid(rows, _columns(measured), measured, larger_is_better=True, decimals=3)


def mean_ranks(grid: Grid) -> dict[str, float]:
    """Mean rank of each row over the columns that every row has: 1 is the best, equal numbers share their ranks.

    Nothing is ranked where there is only one row, or where the rows share no column.
    """
    if len(grid.rows) < 2:
        return {}
    columns = [[grid.estimate(row, column).mean for row in grid.rows] for column in grid.shared]
    ranks = zip(*map(_ranks, columns), strict=True)
    return {row.label: sum(of_row) / len(of_row) for row, of_row in zip(grid.rows, ranks, strict=False)}


def shared_means(measured: Sequence[Measured]) -> Means:
    """Average each row over the columns that every row has; rows without any column are left out of that.

    The interval is a cautious one, the mean of the bounds: the standard deviation of a mean is at most the mean of the
    standard deviations, however the columns, which come from the same images, are correlated.
    """
    present = [row for row in measured if row]
    shared = [column for column in _columns(present) if all(column in row for row in present)]
    if not shared:
        return Means([None] * len(measured), 0)
    return Means([_mean([row[column] for column in shared]) if row else None for row in measured], len(shared))


def measurements(row: Row, quantity: Quantity) -> Measured:
    """Everything that was measured of a row's invariance: its transforms under their kind, then its view sets."""
    transforms = {Column(name, result.kind): result for name, result in row.transforms.items()}
    views = {Column(name, view_group(result.kind)): result for name, result in row.views.items()}
    found = {column: getattr(result, quantity) for column, result in {**transforms, **views}.items()}
    return {column: estimate for column, estimate in found.items() if estimate is not None}


def comparable_similarity(rows: Iterable[Row]) -> Quantity:
    """The similarity by which rows can be compared: the width-matched one where their widths differ and all have it.

    Where widths differ and not all have it, in one number of dimensions, there is none but the plain one, which a
    caveat has to go with.
    """
    files = [file for row in rows for file in row.invariance]
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


def view_group(kind: str) -> str:
    """The heading over the view sets of a kind."""
    return f"{kind} views"


def kinds_of(rows: Iterable[Row]) -> list[str]:
    """The kinds of change that were measured: spatial, appearance, then any others."""
    found = _unique(kind for row in rows for kind in row.kinds)
    return [kind for kind in KINDS if kind in found] + [kind for kind in found if kind not in KINDS]


def readable(name: str) -> str:
    """A key of a result file as people read it."""
    return name.replace("_", " ")


def number(value: float, decimals: int) -> str:
    """A number as it is printed everywhere: fixed decimals, a true minus sign, and no negative zero."""
    text = f"{value:.{decimals}f}"
    return text.replace("-", "" if float(text) == 0 else "\N{MINUS SIGN}")


def interval(estimate: Estimate, decimals: int) -> str:
    """A 95 % interval as it is printed everywhere."""
    return f"[{number(estimate.low, decimals)}, {number(estimate.high, decimals)}]"


def task_column(result: TransferResult) -> Column:
    """The column of a score: of its task and metric, and of its probe where that is not the usual one."""
    metric = METRICS.get(result.metric, readable(result.metric))
    return Column(result.task, "tasks", f"{metric}, {PROBES[result.probe]}" if result.probe in PROBES else metric)


def _grid(
    rows: Sequence[Row],
    columns: Sequence[Column],
    measured: Sequence[Measured],
    *,
    larger_is_better: bool,
    decimals: int,
) -> Grid:
    best = {column: _best([row[column] for row in measured if column in row], larger_is_better) for column in columns}
    cells = [
        {column: Cell(row[column], _mark(row[column], best[column])) for column in columns if column in row}
        for row in measured
    ]
    by_label = {row.label: of_row for row, of_row in zip(rows, cells, strict=True)}
    return Grid(tuple(rows), tuple(columns), by_label, decimals)


def _best(estimates: Sequence[Estimate], larger_is_better: bool) -> Estimate | None:
    """The best of a column; none where there is nothing to compare."""
    if len(estimates) < 2:
        return None
    return (max if larger_is_better else min)(estimates, key=lambda estimate: estimate.mean)


def _mark(estimate: Estimate, best: Estimate | None) -> Mark:
    if best is None:
        return ""
    if estimate.mean == best.mean:
        return "best"
    return "tied" if estimate.overlaps(best) else ""


def _mean(estimates: Sequence[Estimate]) -> Estimate:
    means, lows, highs = zip(*((one.mean, one.low, one.high) for one in estimates), strict=True)
    mean, low, high = (sum(values) / len(values) for values in (means, lows, highs))
    return Estimate(mean=mean, ci95=(low, high))


def _ranks(scores: Sequence[float]) -> list[float]:
    ordered = sorted(scores)
    ends = ((bisect_left(ordered, score), bisect_right(ordered, score)) for score in scores)
    return [len(scores) - (first + last - 1) / 2 for first, last in ends]


def _decimals(measured: Iterable[Measured]) -> int:
    """Three significant digits for the largest number, and never more than two decimals."""
    largest = max((abs(estimate.mean) for row in measured for estimate in row.values()), default=0.0)
    return 2 if largest < 10 else 1 if largest < 100 else 0


def _columns(measured: Iterable[Measured]) -> list[Column]:
    return _unique(column for row in measured for column in row)


def _unique(items: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(items))
