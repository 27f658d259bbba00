"""Scores with their intervals side by side, on one scale for each metric, laid out and drawn as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple
from xml.etree import ElementTree as ET

from solo_invariance.report.collect import Row
from solo_invariance.report.drawing import svg
from solo_invariance.report.drawing.axis import Axis
from solo_invariance.report.grids import Column, Grid, interval, number, task_column
from solo_invariance.results import Estimate

WIDTH, HEIGHT, AXIS_HEIGHT, MARGIN = 112, 9, 24, 7
_ROW, _LABELS, _PLOT = 18, 190, 300
_LARGEST_LABEL = 32
_LOWEST = -1.0


class Whiskers(NamedTuple):
    """One column: the axis that it shares with the others of its metric, and chance, where that is known."""

    axis: Axis
    chance: float | None

    def position(self, value: float) -> float:
        """Where a number lies, at an end of the axis where it is beyond that."""
        return self.axis.within(value)


def whiskers(grid: Grid) -> dict[Column, Whiskers]:
    """The axis and the chance level of each column.

    All columns of a metric have one axis, from 0 to 1 or as far beyond as their intervals reach; an R² of less than -1
    is drawn at the end.
    """
    return {column: Whiskers(_axis(grid, column.note), chance_of(grid.rows, column)) for column in grid.columns}


def chance_of(rows: tuple[Row, ...], column: Column) -> float | None:
    """What guessing scores on a task, where that is known, and the same for all backbones."""
    found = {result.chance_level for row in rows for result in row.transfer if task_column(result) == column}
    return found.pop() if len(found) == 1 else None


def draw(of: Whiskers, estimate: Estimate) -> ET.Element:
    """One interval for a cell: a line from low to high and a dot at the mean, with lines at 0 and at chance."""
    root = ET.Element("svg", {"class": "whisker", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "aria-hidden": "true"})
    _references(root, of, 0, HEIGHT)
    _whisker(root, of, estimate, HEIGHT / 2)
    return root


def draw_axis(of: Whiskers) -> ET.Element:
    """The axis over a column, with its numbers and its lines at 0 and at chance."""
    root = ET.Element("svg", {"class": "whisker", "viewBox": f"0 0 {WIDTH} {AXIS_HEIGHT}", "aria-hidden": "true"})
    svg.line(root, (of.axis.start, AXIS_HEIGHT - 8), (of.axis.end, AXIS_HEIGHT - 8), "axis")
    for tick in of.axis.ticks(2):
        svg.line(root, (tick.position, AXIS_HEIGHT - 8), (tick.position, AXIS_HEIGHT - 5), "axis")
        svg.text(root, tick.text, (tick.position, AXIS_HEIGHT - 12))
    _references(root, of, AXIS_HEIGHT - 8, AXIS_HEIGHT)
    return root


def draw_forest(grid: Grid, column: Column, ident: str) -> ET.Element:
    """A figure of one task: each backbone's interval on a line of its own, with its label and its numbers."""
    found = [
        (row.label, grid.cells[row.label][column].estimate) for row in grid.rows if column in grid.cells[row.label]
    ]
    of = whiskers(grid)[column]
    of = Whiskers(of.axis._replace(start=_LABELS, end=_LABELS + _PLOT), of.chance)
    said = "; ".join(f"{label}: {number(one.mean, 3)} {interval(one, 3)}" for label, one in found)
    bottom = (len(found) + 0.5) * _ROW
    root = svg.picture(_LABELS + _PLOT + 150, bottom + 40, ident, f"{column.title}, {column.note}", said)
    _references(root, of, 0, bottom)
    for index, (label, estimate) in enumerate(found):
        y = (index + 0.75) * _ROW
        shown = label if len(label) <= _LARGEST_LABEL else f"{label[: _LARGEST_LABEL - 1]}…"
        svg.text(root, shown, (_LABELS - 14, y + 3.5), "end", "ink")
        _whisker(root, of, estimate, y)
        svg.text(root, f"{number(estimate.mean, 3)} {interval(estimate, 3)}", (_LABELS + _PLOT + 14, y + 3.5), "start")
    svg.line(root, (of.axis.start, bottom), (of.axis.end, bottom), "axis")
    for tick in of.axis.ticks(5):
        svg.line(root, (tick.position, bottom), (tick.position, bottom + 4), "axis")
        svg.text(root, tick.text, (tick.position, bottom + 16))
    svg.text(root, f"{column.title}, {column.note}", (_LABELS + _PLOT / 2, bottom + 32))
    return root


def _references(root: ET.Element, of: Whiskers, top: float, bottom: float) -> None:
    references: Mapping[str, float | None] = {"zero": 0.0, "chance": of.chance}
    for style, value in references.items():
        if value is not None and of.axis.low <= value <= of.axis.high:
            svg.line(root, (of.position(value), top), (of.position(value), bottom), style)


def _whisker(root: ET.Element, of: Whiskers, estimate: Estimate, y: float) -> None:
    svg.line(root, (of.position(estimate.low), y), (of.position(estimate.high), y), "span")
    ET.SubElement(root, "circle", {"cx": svg.shown(of.position(estimate.mean)), "cy": svg.shown(y), "r": "3"})


def _axis(grid: Grid, metric: str) -> Axis:
    """The axis of a metric, of all columns with that name; the probe, which the name may have, makes no difference."""
    name = metric.split(",")[0]
    columns = [column for column in grid.columns if column.note.split(",")[0] == name]
    found = [row[column].estimate for row in grid.cells.values() for column in columns if column in row]
    low = max(min([0.0, *(math.floor(one.low * 4) / 4 for one in found)]), _LOWEST)
    high = max([1.0, *(math.ceil(one.high * 4 - 1e-9) / 4 for one in found)])
    return Axis(low, high, MARGIN, WIDTH - MARGIN)
