"""Invariance over the depth of a network: the layers of a backbone as one curve, its untrained twin as another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solo_invariance.report.collect import Results, Row
from solo_invariance.report.drawing.axis import Axis, Tick
from solo_invariance.report.drawing.curves import (
    BOTTOM,
    LEFT,
    LOWEST,
    RIGHT,
    TOP,
    Curve,
    Figure,
    line_of,
    line_styles,
)
from solo_invariance.report.grids import Column, Grid, comparable_similarity, invariance_grid, number
from solo_invariance.report.groups import Group
from solo_invariance.results import Estimate

_MARGIN = 22


def depth_figures(results: Results) -> list[Figure]:
    """One figure for each mean over a kind of change, of backbones that have several layers, the shallowest first."""
    networks = _networks(results.rows)
    order = _depths([row for rows in networks.values() for row in rows])
    if not networks or len(order) < 2:
        return []
    grid = invariance_grid(results, comparable_similarity(results.rows))
    means = [column for column in grid.columns if column.is_mean] or list(grid.columns)
    return [_figure(grid, column, networks, order) for column in means]


def layer_of(row: Row) -> str | None:
    """The name of the layer that a row is of, None where it is of a network's output alone."""
    layer = getattr(row.backbone, "layer", None)
    return layer if isinstance(layer, str) else None


def _networks(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each network that has several layers; an untrained twin's are a network's of their own."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if layer := layer_of(row):
            found.setdefault(row.label.replace(f" {layer}", "", 1), []).append(row)
    return {label: layers for label, layers in found.items() if len(layers) > 1}


def _depths(rows: Sequence[Row]) -> list[str]:
    """The names of the layers, in the order in which they were asked for."""
    asked: dict[str, None] = {}
    for row in rows:
        layers = row.files[0].config.get("backbone", {}).get("layer")
        asked.update(dict.fromkeys(layers if isinstance(layers, list | tuple) else [layers]))
    found = dict.fromkeys(filter(None, map(layer_of, rows)))
    return [layer for layer in asked if layer in found] + [layer for layer in found if layer not in asked]


def _figure(grid: Grid, column: Column, networks: dict[str, list[Row]], order: list[str]) -> Figure:
    x_axis = Axis(0, len(order) - 1, LEFT + _MARGIN, RIGHT - _MARGIN)
    y_axis = Axis(LOWEST, 1.0, BOTTOM, TOP)
    styles = line_styles([Group(label, tuple(rows)) for label, rows in networks.items()])
    lines = []
    for label, rows in networks.items():
        cells = {order.index(layer_of(row) or ""): grid.cells.get(row.label, {}).get(column) for row in rows}
        estimates = {depth: cell.estimate for depth, cell in sorted(cells.items()) if cell}
        if estimates:
            line = line_of(label, _curve(estimates), x_axis, y_axis, styles[label]._replace(switch=None))
            said = ", ".join(f"{order[depth]} {number(one.mean, 2)}" for depth, one in estimates.items())
            lines.append(line._replace(summary=f"{label}: {said}"))
    what = column.title if not column.is_mean else "mean"
    return Figure(
        name=f"depth {column.group} {column.name}",
        title=f"{what}, {column.group}",
        kind="over depth",
        x_label="layer",
        x_ticks=tuple(Tick(x_axis.position(depth), name) for depth, name in enumerate(order)),
        y_axis=y_axis,
        lines=tuple(lines),
        identity=None,
        note="",
    )


def _curve(estimates: dict[int, Estimate]) -> Curve:
    depths = np.array(list(estimates), float)
    y, low, high = (np.array([getattr(one, end) for one in estimates.values()]) for end in ("mean", "low", "high"))
    return Curve(depths, y, low, high)
