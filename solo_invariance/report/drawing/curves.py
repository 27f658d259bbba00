"""Curves of similarity over the parameters of a transform, with their intervals, laid out and drawn as SVG.

Lengths are in the figure's own units (``WIDTH`` x ``HEIGHT``), with the origin at the top left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from solo_invariance.report.collect import Results, Row
from solo_invariance.report.drawing import svg
from solo_invariance.report.drawing.abscissa import Abscissa, Array, abscissas
from solo_invariance.report.drawing.axis import Axis, Tick, tick_text
from solo_invariance.report.drawing.colours import LIGHT
from solo_invariance.report.grids import Quantity, comparable_similarity, kinds_of, number, readable
from solo_invariance.report.groups import Group
from solo_invariance.report.paired import distance_of_independent
from solo_invariance.report.per_image import half_widths, read_scores
from solo_invariance.results import TransformResult

Places = NDArray[np.int64]

WIDTH, HEIGHT = 320, 200
LEFT, RIGHT, TOP, BOTTOM = 38, 304, 10, 160
MAX_BINS = 32
MAX_MARKERS = 40
MAX_BANDS = 12
"""Of more lines, bands would lie over each other."""

_SHORT = 18
NUM_DASHES = 4
LOWEST = -0.25
"""The lower end of every vertical axis of similarity, unless one lies below it."""

HIGHEST = 1.25
"""The upper end of every vertical axis of relative distance, unless one lies above it."""

FLAT = 0.02
"""A transform whose similarities are all nearer to 1 than this hardly changes the images."""


class Curve(NamedTuple):
    """Similarity over one number per parameter, ``(P,)`` each, in rising order of ``x``.

    ``low`` and ``high`` are the ends of the 95 % interval at each point, or of the range over several backbones; NaN
    where they are not known.
    """

    x: Array
    y: Array
    low: Array
    high: Array


class Line(NamedTuple):
    """One backbone's curve: its points in the figure, the ends of its intervals, and what it shows in a sentence."""

    label: str
    style: Style
    points: tuple[svg.Point, ...]
    upper: tuple[svg.Point, ...]
    lower: tuple[svg.Point, ...]
    summary: str


class Style(NamedTuple):
    """How the lines of one backbone look: a colour, a dash and a marker, each of which says the same.

    ``dash`` is the number of the dash and of the marker; ``switch`` that of what hides them, if something does.
    """

    colour: int
    dash: int
    switch: int | None
    is_baseline: bool = False

    @property
    def stroke(self) -> str:
        """The classes of the line."""
        dash = "baseline" if self.is_baseline else f"dash-{self.dash}"
        return f"curve {dash} {self.fill}"

    @property
    def fill(self) -> str:
        """The classes of what is filled with the line's colour."""
        return f"colour-{self.colour}" + ("" if self.switch is None else f" of-{self.switch}")


@dataclass(frozen=True)
class Figure:
    """The curves of all backbones for one transform, over one of its numbers."""

    name: str
    title: str
    kind: str
    x_label: str
    x_ticks: tuple[Tick, ...]
    y_axis: Axis
    y_label: str
    chance: float
    lines: tuple[Line, ...]
    identity: float | None
    note: str


def curve_figures(
    results: Results, groups: Sequence[Group] | None = None, *, of_distance: bool = False
) -> list[Figure]:
    """One figure for each number of each transform with a curve, in the order of the tables, on one vertical axis.

    They are of the similarity by which the backbones can be compared, as the tables are. A group of several backbones
    has one line, their mean, with the range over them.

    Args:
        results: All rows.
        groups: Those that are drawn, each of a style of its own; each row by itself where this is left out.
        of_distance: Draw the relative distance instead: 0 is invariant, and 1 is how far apart unrelated images are.
    """
    quantity: Quantity = "relative_distance" if of_distance else comparable_similarity(results.rows)
    groups = [Group(row.label, (row,)) for row in results.rows] if groups is None else groups
    styles = line_styles(groups)
    drawn = [row for group in groups for row in group.rows]
    y_axis = _y_axis(drawn, quantity)
    return [
        _figure(name, index, groups, quantity, y_axis, styles)
        for name, first in _transforms_in_order(drawn).items()
        for index in _drawn(name, first)
    ]


def line_styles(groups: Sequence[Group]) -> dict[str, Style]:
    """The style of each group by its label; an untrained twin has its backbone's colour, as a baseline."""
    trained = [group for group in groups if group.rows[0].role != "untrained"]
    places = {_network(group): index for index, group in enumerate(trained)}
    found = {}
    for index, group in enumerate(groups):
        is_baseline = group.rows[0].role == "untrained"
        place = places.get(_network(group), index) if is_baseline else trained.index(group)
        found[group.label] = Style(*line_style(place), index, is_baseline)
    return found


def _network(group: Group) -> tuple[str, str | None]:
    """What a backbone, or its layer, and its untrained twin have in common."""
    return group.rows[0].family, group.rows[0].backbone.layer


def line_style(index: int) -> tuple[int, int]:
    """The numbers of colour and dash; the dash changes with the colour, and again when the colours repeat."""
    turn, colour = divmod(index, len(LIGHT.lines))
    return colour, (colour + turn) % NUM_DASHES


def has_curve(name: str, transform: TransformResult) -> bool:
    """Whether there is more to show than off and on."""
    return bool(_drawn(name, transform))


def curve(
    positions: Abscissa, values: Sequence[float], half_widths_of: Callable[[Places], Array] | None = None
) -> Curve:
    """Similarity, or distance, over some numbers; values at equal ones, or within one of ``MAX_BINS``, are averaged.

    Bins are taken where there are more distinct numbers than bins, except of transforms with a single number.

    Args:
        positions: One number per parameter.
        values: One per parameter.
        half_widths_of: Gives half the width of each point's interval, for the point of each parameter.
    """
    distinct, points = np.unique(positions.values.round(6), return_inverse=True)
    if len(distinct) > MAX_BINS and (positions.facet or positions.is_combined):
        bins = np.digitize(positions.values, np.linspace(distinct[0], distinct[-1], MAX_BINS + 1)[1:-1])
        points = np.unique(bins, return_inverse=True)[1]
    counts = np.bincount(points)
    x, y = (np.bincount(points, weights=one) / counts for one in (positions.values, np.array(values)))
    half = half_widths_of(points.astype(np.int64)) if half_widths_of else np.full(len(x), np.nan)
    return Curve(x, y, y - half, y + half)


def draw(figure: Figure, ident: str) -> ET.Element:
    """The figure as SVG."""
    sentences = " ".join(f"{line.summary}." for line in figure.lines)
    over = f", {figure.x_label}" if figure.x_label else ""
    root = svg.picture(WIDTH, HEIGHT, ident, f"{figure.y_label} over {figure.title}{over}", sentences)
    draw_axes(root, figure.x_ticks, figure.y_axis, figure.x_label)
    chance = figure.y_axis.position(figure.chance)
    svg.line(root, (LEFT, chance), (RIGHT, chance), "chance")
    if figure.identity is not None:
        svg.line(root, (figure.identity, TOP), (figure.identity, BOTTOM), "identity")
    for line in figure.lines if len(figure.lines) <= MAX_BANDS else ():
        for first, last in _stretches(line):
            upper, lower = line.upper[first:last], line.lower[first:last]
            svg.path(root, svg.around(upper, lower), f"band {line.style.fill}")
    for line in figure.lines:
        svg.path(root, svg.through(line.points), line.style.stroke, line.summary)
        if len(line.points) <= MAX_MARKERS and not line.style.is_baseline:
            svg.path(root, svg.markers(line.points, line.style.dash), f"marker {line.style.fill}")
    return root


def draw_axes(root: ET.Element, x_ticks: Iterable[Tick], y_axis: Axis, x_label: str) -> None:
    """Grid lines and numbers of both axes, with the zero of the vertical one set apart."""
    for tick in y_axis.ticks(5):
        style = "zero" if tick.text == "0" else "grid"
        svg.line(root, (LEFT, tick.position), (RIGHT, tick.position), style)
        svg.text(root, tick.text, (LEFT - 6, tick.position + 3.5), "end")
    for tick in x_ticks:
        svg.line(root, (tick.position, BOTTOM), (tick.position, BOTTOM + 4), "axis")
        svg.text(root, tick.text, (tick.position, BOTTOM + 17))
    svg.line(root, (LEFT, BOTTOM), (RIGHT, BOTTOM), "axis")
    svg.text(root, x_label, ((LEFT + RIGHT) / 2, HEIGHT - 5))


def draw_sample(style: Style, *, is_line: bool = True) -> ET.Element:
    """A short piece of a backbone's line, or its marker alone, for a legend."""
    root = ET.Element("svg", {"viewBox": "0 0 32 12", "aria-hidden": "true"})
    (_draw_line if is_line else draw_marker)(root, style, 0, 6)
    return root


def with_legend(figure: Figure, drawn: ET.Element) -> ET.Element:
    """The figure, with the names of its lines below it: for a file of its own."""
    below = draw_legend(drawn, {line.label: line.style for line in figure.lines}, _draw_line)
    drawn.set("viewBox", f"0 0 {WIDTH} {HEIGHT + below}")
    return drawn


Sample = Callable[[ET.Element, Style, float, float], None]
"""Draws what a style looks like, 32 wide from a point on."""


def draw_legend(drawn: ET.Element, styles: Mapping[str, Style], sample: Sample) -> int:
    """Write names with samples of their styles below a figure; return how much higher it is for that."""
    columns = 2 if all(len(label) <= _SHORT for label in styles) else 1
    longest = 2 * _SHORT + 8
    for index, (label, style) in enumerate(styles.items()):
        down, across = divmod(index, columns)
        x, y = 10 + across * WIDTH / 2, HEIGHT + 12 + 16 * down
        sample(drawn, style, x, y)
        shown = label if len(label) <= longest else f"{label[: longest - 1]}…"
        svg.text(drawn, shown, (x + 38, y + 3.5), "start", "ink")
    return 10 + 16 * math.ceil(len(styles) / columns) if styles else 0


def draw_marker(root: ET.Element, style: Style, x: float, y: float) -> None:
    """The marker of a style in the middle of 32."""
    svg.path(root, svg.markers([(x + 16, y)], style.dash), f"marker {style.fill}")


def _draw_line(root: ET.Element, style: Style, x: float, y: float) -> None:
    svg.path(root, svg.through([(x, y), (x + 32, y)]), style.stroke)
    if not style.is_baseline:
        draw_marker(root, style, x, y)


def hardly_changing(results: Results) -> list[str]:
    """The transforms that hardly change the images: whose similarities are nearly 1 at every parameter, of all rows."""
    names = dict.fromkeys(name for row in results.rows for name in row.transforms)
    return [
        name for name in names if all(_is_flat(row.transforms[name]) for row in results.rows if name in row.transforms)
    ]


def _is_flat(transform: TransformResult) -> bool:
    return min(transform.curve, default=0.0) > 1 - FLAT


def _drawn(name: str, transform: TransformResult) -> list[int]:
    """The places of the numbers of a transform over which there is something to draw."""
    least = {True: 2, False: 3}
    return [
        index
        for index, positions in enumerate(abscissas(name, transform))
        if len(np.unique(positions.values.round(6))) >= least[bool(positions.facet)]
    ]


def _transforms_in_order(rows: Sequence[Row]) -> dict[str, TransformResult]:
    """The transforms that have curves, as the first row that has each was measured on it."""
    found: dict[str, TransformResult] = {}
    for row in rows:
        for name, transform in row.transforms.items():
            if has_curve(name, transform):
                found.setdefault(name, transform)
    return {name: one for kind in kinds_of(rows) for name, one in found.items() if one.kind == kind}


def _y_axis(rows: Sequence[Row], quantity: Quantity) -> Axis:
    values = list(chain.from_iterable(_values(row, name, quantity) for row in rows for name in row.transforms))
    if quantity == "relative_distance":
        return Axis(0.0, max(math.ceil(max(values, default=0.0) * 4) / 4, HIGHEST), BOTTOM, TOP)
    return Axis(min(math.floor(min(values, default=0.0) * 4) / 4, LOWEST), 1.0, BOTTOM, TOP)


def _values(row: Row, name: str, quantity: Quantity) -> tuple[float, ...]:
    """What a row was measured to have at each parameter of a transform, as far as it was."""
    transform = row.transforms[name]
    if quantity != "relative_distance":
        return getattr(transform, quantity).curve or ()
    unit = distance_of_independent(row.backbone.num_features)
    return tuple(one / unit for one in transform.distance.curve or ())


def _half_widths(row: Row, name: str, quantity: Quantity, points: Places) -> Array:
    """Half the width of the interval of each point, NaN where it is not known."""
    is_relative = quantity == "relative_distance"
    scores = read_scores(row, name, "distance" if is_relative else quantity)
    if scores is None:
        return np.full(points.max() + 1, np.nan)
    return half_widths(scores, points) / (distance_of_independent(row.backbone.num_features) if is_relative else 1.0)


def _figure(
    name: str, index: int, groups: Sequence[Group], quantity: Quantity, y_axis: Axis, styles: Mapping[str, Style]
) -> Figure:
    curves = {group.label: _of_group(name, index, group, quantity) for group in groups}
    found = {label: one for label, one in curves.items() if one}
    measured = [row.transforms[name] for group in groups for row in group.rows if name in row.transforms]
    first = measured[0]
    positions = abscissas(name, first)[index]
    ends = np.concatenate([one.x for one in found.values()])
    x_axis = Axis(float(ends.min()), float(ends.max()), LEFT, RIGHT)
    facet = f" {positions.facet}" if positions.facet else ""
    notes = ["averaged over its other numbers"] * bool(facet)
    notes += ["hardly changes the images"] * all(map(_is_flat, measured))
    return Figure(
        name=f"{name}{facet}",
        title=f"{readable(name)}{facet}",
        kind=first.kind,
        x_label=positions.label,
        x_ticks=x_axis.ticks(5, first.unit),
        y_axis=y_axis,
        y_label="Relative distance" if quantity == "relative_distance" else "Similarity",
        chance=1.0 if quantity == "relative_distance" else 0.0,
        lines=tuple(line_of(label, one, x_axis, y_axis, styles[label]) for label, one in found.items()),
        identity=None if first.identity is None else x_axis.position(float(positions.values[first.identity])),
        note="; ".join(notes),
    )


def _of_group(name: str, index: int, group: Group, quantity: Quantity) -> Curve | None:
    """The curve of a backbone with its intervals, or the mean of several on the same parameters, with their range."""
    curves = []
    for row in group.rows:
        transform = row.transforms.get(name)
        over = abscissas(name, transform) if transform else []
        if index < len(over) and len(values := _values(row, name, quantity)) == len(over[index].values):
            errors = None if group.is_folded else partial(_half_widths, row, name, quantity)
            curves.append(curve(over[index], values, errors))
    alike = [one.y for one in curves if np.array_equal(one.x, curves[0].x)]
    if len(alike) < 2:
        return curves[0] if curves else None
    y = np.stack(alike)
    return Curve(curves[0].x, y.mean(axis=0), y.min(axis=0), y.max(axis=0))


def line_of(label: str, of_label: Curve, x_axis: Axis, y_axis: Axis, style: Style) -> Line:
    """A backbone's curve in the figure."""
    x = [x_axis.position(float(one)) for one in of_label.x]
    levels = (of_label.y, of_label.high, of_label.low)
    points, upper, lower = (tuple(zip(x, map(y_axis.within, map(float, level)), strict=True)) for level in levels)
    lowest, highest = int(of_label.y.argmin()), int(of_label.y.argmax())
    ends = [f"{number(of_label.y[i], 2)} at {tick_text(of_label.x[i])}" for i in (highest, lowest)]
    return Line(label, style, points, upper, lower, f"{label}: highest {ends[0]}, lowest {ends[1]}")


def _stretches(line: Line) -> Iterator[tuple[int, int]]:
    """The stretches of a line, of two points at least, whose intervals are known."""
    known = [not math.isnan(y) for _, y in line.upper] + [False]
    start = 0
    for index, is_known in enumerate(known):
        if not is_known:
            if index - start > 1:
                yield start, index
            start = index + 1
