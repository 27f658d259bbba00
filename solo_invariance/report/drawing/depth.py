"""Invariance over the depth of a network: the layers of a backbone as one curve, its untrained twin as another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from solo_invariance.report.collect import Results
from solo_invariance.report.drawing.axis import Axis, Tick
from solo_invariance.report.drawing.curves import (
    BOTTOM,
    LEFT,
    LOWEST,
    RIGHT,
    TOP,
    Curve,
    Figure,
    Line,
    Style,
    line_of,
    line_style,
)
from solo_invariance.report.grids import number
from solo_invariance.report.layers import LayerCurve, layer_curves
from solo_invariance.results import Estimate

_MARGIN = 22


def depth_figures(results: Results) -> list[Figure]:
    """One figure for each kind of change and each sequence of layers, of the backbones that have these layers."""
    found = layer_curves(results)
    return [
        _figure(group, layers, [(place, one) for place, one in enumerate(found) if one.layers == layers])
        for layers in dict.fromkeys(one.layers for one in found)
        for group in dict.fromkeys(group for one in found if one.layers == layers for group in one.similarity)
    ]


def _figure(group: str, layers: tuple[str, ...], curves: Sequence[tuple[int, LayerCurve]]) -> Figure:
    x_axis = Axis(0, max(len(layers) - 1, 1), LEFT + _MARGIN, RIGHT - _MARGIN)
    lines = [line for place, one in curves for line in _lines(group, place, one, x_axis)]
    return Figure(
        name=f"{group} {' '.join(layers)}",
        title=f"mean, {group}",
        kind="over depth",
        x_label="layer",
        x_ticks=tuple(Tick(x_axis.position(depth), name) for depth, name in enumerate(layers)),
        y_axis=Axis(LOWEST, 1.0, BOTTOM, TOP),
        y_label="Similarity",
        chance=0.0,
        lines=tuple(lines),
        identity=None,
        note="",
    )


def _lines(group: str, place: int, of: LayerCurve, x_axis: Axis) -> Iterable[Line]:
    """The line of a backbone, and that of its untrained twin, which has no marker."""
    for label, curve in ((of.label, of.similarity), (f"{of.label} (untrained)", of.untrained)):
        known = {depth: one for depth, one in enumerate(curve.get(group, ())) if one}
        if known:
            style = Style(*line_style(place), None, is_baseline=label != of.label)
            line = line_of(label, _curve(known), x_axis, Axis(LOWEST, 1.0, BOTTOM, TOP), style)
            said = ", ".join(f"{of.layers[depth]} {number(one.mean, 2)}" for depth, one in known.items())
            yield line._replace(summary=f"{label}: {said}")


def _curve(estimates: dict[int, Estimate]) -> Curve:
    depths = np.array(list(estimates), float)
    y, low, high = (np.array([getattr(one, end) for one in estimates.values()]) for end in ("mean", "low", "high"))
    return Curve(depths, y, low, high)
