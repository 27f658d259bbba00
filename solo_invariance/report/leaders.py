"""Which backbones a report shows in full, where there are more than anybody reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, zip_longest

from solo_invariance.report.collect import Results, Row
from solo_invariance.report.grids import Grid, comparable_similarity, invariance_grid, mean_ranks, transfer_grid
from solo_invariance.report.paired import MOST_IN_FULL as MOST_IN_FULL

NUM_LEADERS = 12
"""Of more backbones, so many are."""

MOST_NAMED = 5
"""So many backbones are named in a sentence; of more, the first ones."""


def leaders(results: Results) -> tuple[Row, ...]:
    """Return the backbones that are shown in full, in the order of the rows: all, or those that lead.

    They lead by the mean over a kind of change (by a single one where there is no mean), or by the mean rank over the
    tasks, or by a task's score where nothing is ranked; the best of each first, then the second of each, and so on.
    """
    if len(results.rows) <= MOST_IN_FULL:
        return results.rows
    orders = [
        *_by_means(invariance_grid(results, comparable_similarity(results.rows))),
        *_by_scores(transfer_grid(results)),
    ]
    in_turn = (label for turn in zip_longest(*orders) for label in turn if label is not None)
    chosen = set(islice(dict.fromkeys([*in_turn, *(row.label for row in results.rows)]), NUM_LEADERS))
    return tuple(row for row in results.rows if row.label in chosen)


def enumerated(labels: Sequence[str]) -> str:
    """Return labels with commas between them, the first few of many."""
    if len(labels) <= MOST_NAMED:
        return ", ".join(labels)
    return f"{', '.join(labels[: MOST_NAMED - 2])} and {len(labels) - MOST_NAMED + 2} others"


def _by_means(grid: Grid) -> list[list[str]]:
    columns = [column for column in grid.columns if column.is_mean] or list(grid.columns)
    found = [
        {label: row[column].estimate.mean for label, row in grid.cells.items() if column in row} for column in columns
    ]
    return [_ordered(of_column) for of_column in found]


def _by_scores(grid: Grid) -> list[list[str]]:
    ranks = mean_ranks(grid)
    if ranks:
        return [_ordered({label: -rank for label, rank in ranks.items()})]
    found = [
        {label: row[column].estimate.mean for label, row in grid.cells.items() if column in row}
        for column in grid.columns
    ]
    return [_ordered(of_column) for of_column in found]


def _ordered(values: Mapping[str, float]) -> list[str]:
    return sorted(values, key=lambda label: -values[label])
