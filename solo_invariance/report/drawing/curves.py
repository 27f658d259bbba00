"""Curves of similarity over the parameters of a transform, laid out for SVG; the template only draws them.

Lengths are in the figure's own units (``WIDTH`` x ``HEIGHT``), with the origin at the top left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from solo_invariance.report.collect import Results
from solo_invariance.report.drawing.abscissa import Array, abscissa
from solo_invariance.report.drawing.axis import Axis, Tick, tick_text
from solo_invariance.report.drawing.colours import LIGHT
from solo_invariance.report.grids import Quantity, comparable_similarity, kinds_of, number, readable
from solo_invariance.results import TransformResult

WIDTH, HEIGHT = 320, 200
LEFT, RIGHT, TOP, BOTTOM = 34, 310, 10, 164
MAX_BINS = 32
NUM_DASHES = 4


class Curve(NamedTuple):
    """Similarity over one number per parameter, ``(P,)`` each, in rising order of ``x``."""

    x: Array
    y: Array


class Line(NamedTuple):
    """One backbone's curve: a polyline, and a sentence that says what it shows."""

    label: str
    style: str
    points: str
    summary: str


@dataclass(frozen=True)
class Figure:
    """The curves of all backbones for one transform."""

    title: str
    kind: str
    x_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    identity: float | None


def has_curve(name: str, transform: TransformResult) -> bool:
    """Whether there is more to show than off and on."""
    return len(np.unique(abscissa(name, transform).values.round(6))) > 2


def curve_figures(results: Results) -> list[Figure]:
    """One figure for each transform with a curve, in the order of the tables; all have the same vertical axis.

    They are of the similarity by which the backbones can be compared, as the tables are.
    """
    quantity = comparable_similarity(results.rows)
    styles = {row.label: line_style(index) for index, row in enumerate(results.rows)}
    measured = {
        name: {row.label: _by(row.transforms[name], quantity) for row in results.rows if name in row.transforms}
        for name in _names_in_order(results)
    }
    y_axis = Axis(*_similarity_domain(chain(*(of_name.values() for of_name in measured.values()))), BOTTOM, TOP)
    return [_figure(name, of_name, y_axis, styles) for name, of_name in measured.items()]


def line_style(index: int) -> str:
    """The CSS classes of a row's line; the dash changes with the colour, and again when the colours repeat."""
    turn, colour = divmod(index, len(LIGHT.lines))
    return f"colour-{colour} dash-{(colour + turn) % NUM_DASHES}"


def curve(name: str, transform: TransformResult) -> Curve:
    """Similarity over a transform's parameters; equal values on the horizontal axis are averaged.

    If these sum up several numbers and are more than ``MAX_BINS``, they are averaged in as many bins.
    """
    positions = abscissa(name, transform)
    distinct, groups = np.unique(positions.values.round(6), return_inverse=True)
    if positions.is_combined and len(distinct) > MAX_BINS:
        groups = np.digitize(positions.values, np.linspace(distinct[0], distinct[-1], MAX_BINS + 1)[1:-1])
    counts = np.bincount(groups)
    sums = [np.bincount(groups, weights=values) for values in (positions.values, np.array(transform.curve))]
    return Curve(*(of_group[counts > 0] / counts[counts > 0] for of_group in sums))


def _by(transform: TransformResult, quantity: Quantity) -> TransformResult:
    """Return a transform with another quantity in the place of its similarity."""
    return transform.model_copy(update={"similarity": getattr(transform, quantity)})


def _names_in_order(results: Results) -> list[str]:
    measured = {
        name: result for row in results.rows for name, result in row.transforms.items() if has_curve(name, result)
    }
    return [name for kind in kinds_of(results.rows) for name, result in measured.items() if result.kind == kind]


def _similarity_domain(transforms: Iterable[TransformResult]) -> tuple[float, float]:
    """From zero, or below where similarities are negative, to one."""
    lowest = min((min(transform.curve) for transform in transforms), default=0.0)
    return min(math.floor(lowest * 10) / 10, 0.0), 1.0


def _figure(name: str, transforms: Mapping[str, TransformResult], y_axis: Axis, styles: Mapping[str, str]) -> Figure:
    curves = {label: curve(name, transform) for label, transform in transforms.items()}
    first = next(iter(transforms.values()))
    positions = abscissa(name, first)
    ends = np.concatenate([of_label.x for of_label in curves.values()])
    x_axis = Axis(float(ends.min()), float(ends.max()), LEFT, RIGHT)
    return Figure(
        title=readable(name),
        kind=first.kind,
        x_label=positions.label,
        x_ticks=x_axis.ticks(5, first.unit),
        y_ticks=y_axis.ticks(4),
        lines=tuple(_line(label, of_label, x_axis, y_axis, styles[label]) for label, of_label in curves.items()),
        identity=None if first.identity is None else x_axis.position(float(positions.values[first.identity])),
    )


def _line(label: str, of_label: Curve, x_axis: Axis, y_axis: Axis, style: str) -> Line:
    points = " ".join(f"{x_axis.position(x):.5g},{y_axis.position(y):.5g}" for x, y in zip(*of_label, strict=True))
    lowest, highest = int(of_label.y.argmin()), int(of_label.y.argmax())
    ends = [f"{number(of_label.y[i], 2)} at {tick_text(of_label.x[i])}" for i in (highest, lowest)]
    return Line(label, style, points, f"{label}: highest {ends[0]}, lowest {ends[1]}")
