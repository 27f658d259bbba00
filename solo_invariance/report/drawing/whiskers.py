"""Intervals of one column side by side: a line from low to high and a dot at the mean, laid out for SVG."""

from __future__ import annotations

from typing import NamedTuple

from solo_invariance.report.drawing.axis import Axis
from solo_invariance.report.grids import Column, Grid

WIDTH, HEIGHT, MARGIN = 80, 9, 4


class Whisker(NamedTuple):
    """A 95 % interval and its mean as positions on a line of ``WIDTH``."""

    low: float
    mean: float
    high: float


def whiskers(grid: Grid) -> dict[Column, dict[str, Whisker]]:
    """The intervals of each column on one scale that spans them all."""
    return {column: _whiskers_of_column(grid, column) for column in grid.columns}


def _whiskers_of_column(grid: Grid, column: Column) -> dict[str, Whisker]:
    estimates = {label: row[column].estimate for label, row in grid.cells.items() if column in row}
    low, high = min(one.low for one in estimates.values()), max(one.high for one in estimates.values())
    axis = Axis(low, high if high > low else low + 1, MARGIN, WIDTH - MARGIN)
    ends = {label: (one.low, one.mean, one.high) for label, one in estimates.items()}
    return {label: Whisker(*map(axis.position, of_label)) for label, of_label in ends.items()}
