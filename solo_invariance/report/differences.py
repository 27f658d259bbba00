"""Paired differences as tables: from the best of each column or from a baseline, and what ``against=`` found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from solo_invariance.report.collect import Comparison, Results, Row
from solo_invariance.report.columns import Column, Quantity, readable
from solo_invariance.report.grids import Grid, comparable_similarity, invariance_grid, transfer_grid
from solo_invariance.report.leaders import leaders
from solo_invariance.report.marks import holds_zero
from solo_invariance.report.paired import compared
from solo_invariance.report.scores import scored_tasks
from solo_invariance.results import Estimate, InvarianceComparison

_MOST_FILES = 24
_METRICS = ("similarity", "width_matched_similarity", "distance")


class DifferenceCell(NamedTuple):
    """How far a backbone is from the best of its column, or from the baseline.

    Attributes:
        difference: Its own number minus the other's, paired; None for what it is compared with.
        said: What stands in place of a number: that it is the best, or why there is no difference.
    """

    difference: Estimate | None
    said: str = ""

    @property
    def is_sure(self) -> bool:
        """Whether the interval has no 0 in it."""
        return self.difference is not None and not holds_zero(self.difference)


@dataclass(frozen=True)
class DifferenceTable:
    """Differences of one quantity, by the backbones' labels and the columns.

    Args:
        title: What is compared, and with what.
        columns: Changes or tasks.
        rows: A cell for each column, by label; None where the backbone was not measured.
        decimals: Of the numbers.
    """

    title: str
    columns: tuple[Column, ...]
    rows: Mapping[str, tuple[DifferenceCell | None, ...]]
    decimals: int

    def summary(self) -> DifferenceTable:
        """Return the table with the means alone, where there are any."""
        kept = [index for index, column in enumerate(self.columns) if column.is_mean]
        if not kept:
            return self
        rows = {label: tuple(cells[index] for index in kept) for label, cells in self.rows.items()}
        return DifferenceTable(self.title, tuple(self.columns[index] for index in kept), rows, self.decimals)


@dataclass(frozen=True)
class KnownComparison:
    """What one ``comparison.json`` says.

    Args:
        title: Who is compared with whom.
        metrics: The columns.
        rows: For each transform, view set or task, a difference by metric; None where there is none.
    """

    title: str
    metrics: tuple[str, ...]
    rows: Mapping[str, tuple[Estimate | None, ...]]


def difference_tables(results: Results) -> list[DifferenceTable]:
    """Return the differences of invariance and of scores, of the backbones that are shown in full.

    They are from the best of each column, or from the report's baseline. Only tables with a paired difference in them
    are returned.
    """
    quantity = comparable_similarity(results.rows)
    name = readable(quantity).capitalize().replace("Width matched", "Width-matched")
    grids = {name: invariance_grid(results, quantity), "Score": transfer_grid(results)}
    shown = [row for row in leaders(results) if row.role == "backbone" or results.baseline is not None]
    other = "the best of each column" if results.baseline is None else results.baseline
    tables = []
    for what, grid in grids.items():
        rows = {
            row.label: tuple(_cell(results, quantity, grid, row, column) for column in grid.columns)
            for row in shown
            if row.label in grid.cells
        }
        if any(cell and cell.difference for cells in rows.values() for cell in cells):
            tables.append(
                DifferenceTable(f"{what} minus that of {other}", grid.columns, rows, min(grid.decimals + 1, 3))
            )
    return tables


def known_comparisons(results: Results) -> list[KnownComparison]:
    """Return what ``against=`` wrote beside the results, the first ones of very many."""
    return [_known(comparison) for comparison in results.comparisons[:_MOST_FILES]]


def _cell(results: Results, quantity: Quantity, grid: Grid, row: Row, column: Column) -> DifferenceCell | None:
    cell = grid.cells[row.label].get(column)
    if cell is None:
        return None
    if results.baseline is None:
        found: Estimate | None = cell.difference
        said = {"best": "best", "chance": "at chance"}.get(cell.mark, "not paired")
    elif row.label == results.baseline:
        found, said = None, "baseline"
    else:
        found, said = _from_baseline(results, quantity, row.label, results.baseline, column), "not paired"
    return DifferenceCell(found, "" if found else said)


def _from_baseline(results: Results, quantity: Quantity, label: str, baseline: str, column: Column) -> Estimate | None:
    task = scored_tasks(results).get(column)
    if task is None:
        return compared(results).of(quantity, column).pairs.get((label, baseline))
    return task.difference(label, baseline) if baseline in task.results else None


def _known(comparison: Comparison) -> KnownComparison:
    ours, theirs = comparison.label, comparison.against.label
    title = f"{ours} minus {theirs if theirs != ours else f'{theirs} ({comparison.against.out})'}"
    if not isinstance(comparison, InvarianceComparison):
        return KnownComparison(title, (comparison.metric,), {comparison.task: (comparison.difference,)})
    changes = {**comparison.transforms, **comparison.views}
    metrics = tuple(metric for metric in _METRICS if any(metric in change.metrics for change in changes.values()))
    rows = {name: tuple(change.metrics.get(metric) for metric in metrics) for name, change in changes.items()}
    if comparison.health:
        metrics = (*metrics, "features")
        rows = {name: (*found, None) for name, found in rows.items()}
        rows |= {name: (*[None] * (len(metrics) - 1), one) for name, one in comparison.health.items()}
    return KnownComparison(title, metrics, rows)
