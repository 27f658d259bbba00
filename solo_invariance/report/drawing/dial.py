"""A shaped backbone from what it was to what it can be: invariance and scores over the strength of the change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from solo_invariance.report.collect import Results
from solo_invariance.report.drawing.axis import Axis, round_domain
from solo_invariance.report.drawing.curves import (
    BOTTOM,
    LEFT,
    LOWEST,
    RIGHT,
    TOP,
    Curve,
    Figure,
    Style,
    line_of,
    line_style,
)
from solo_invariance.report.grids import readable
from solo_invariance.results import DialCurve, Estimate

_MARGIN = 12
_X_AXIS = Axis(0.0, 1.0, LEFT + _MARGIN, RIGHT - _MARGIN)


def dial_figures(results: Results) -> list[Figure]:
    """Two figures for each dial: the similarities under what was asked for, and the scores on the tasks."""
    found = []
    for dial in results.dials:
        for what in ("similarity", "scores"):
            lines = _lines(dial, what)
            if lines:
                found.append(_figure(dial, what, lines))
    return found


def _lines(dial: DialCurve, what: str) -> dict[str, list[tuple[float, Estimate]]]:
    """Return the points of each transform, or task."""
    lines: dict[str, list[tuple[float, Estimate]]] = {}
    for point in dial.points:
        values: Mapping[str, Estimate] = getattr(point, what)
        for name, estimate in values.items():
            title = f"{readable(name)}, {dial.metrics[name]}" if what == "scores" else readable(name)
            lines.setdefault(title, []).append((point.strength, estimate))
    return lines


def _figure(dial: DialCurve, what: str, lines: Mapping[str, Sequence[tuple[float, Estimate]]]) -> Figure:
    ends = [end for line in lines.values() for _, one in line for end in (one.mean, one.low, one.high)]
    low, high = (LOWEST, 1.0) if what == "similarity" else round_domain(ends)
    y_axis = Axis(low, high, BOTTOM, TOP)
    stay = ", ".join(str(point.directions) for point in dial.points)
    drawn = [
        line_of(title, _curve(points), _X_AXIS, y_axis, Style(*line_style(place), None))
        for place, (title, points) in enumerate(lines.items())
    ]
    return Figure(
        name=f"{dial.label} {what}",
        title=dial.label,
        kind="similarity over strength" if what == "similarity" else "scores over strength",
        x_label="strength",
        x_ticks=_X_AXIS.ticks(4),
        y_axis=y_axis,
        y_label="Similarity" if what == "similarity" else "Score",
        chance=min(max(0.0, low), high),
        lines=tuple(drawn),
        identity=_X_AXIS.position(0.0),
        note=f"directions that stay: {stay}",
    )


def _curve(points: Sequence[tuple[float, Estimate]]) -> Curve:
    strengths = np.array([strength for strength, _ in points])
    y, low, high = (np.array([getattr(one, end) for _, one in points]) for end in ("mean", "low", "high"))
    return Curve(strengths, y, low, high)
