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
    """Two figures for each dial: what is ignored of what was asked for, and the scores on the tasks."""
    found = []
    for dial in results.dials:
        for what in ("similarity", "scores"):
            lines = _lines(dial, what)
            if lines:
                found.append(_figure(dial, what, lines))
    return found


def _lines(dial: DialCurve, what: str) -> dict[str, Curve]:
    """Return the curve of each transform, or task; of transforms, the part of the variance that they make, too."""
    lines: dict[str, Curve] = {}
    for name in dial.points[0].similarity if what == "similarity" else dial.points[0].scores:
        if what == "similarity":
            lines[f"{readable(name)}, similarity"] = _curve(dial, [point.similarity[name] for point in dial.points])
            shares = [point.share[name] for point in dial.points]
            lines[f"{readable(name)}, share of variance"] = _curve(
                dial, [Estimate(mean=y, ci95=(y, y)) for y in shares]
            )
        else:
            title = f"{readable(name)}, {dial.metrics[name]}"
            lines[title] = _curve(dial, [point.scores[name] for point in dial.points])
    return lines


def _figure(dial: DialCurve, what: str, lines: Mapping[str, Curve]) -> Figure:
    ends = [float(end) for line in lines.values() for end in (*line.low, *line.high)]
    low, high = (LOWEST, 1.0) if what == "similarity" else round_domain(ends)
    y_axis = Axis(low, high, BOTTOM, TOP)
    stay = ", ".join(str(point.directions) for point in dial.points)
    drawn = [
        line_of(title, curve, _X_AXIS, y_axis, Style(*line_style(place), None))
        for place, (title, curve) in enumerate(lines.items())
    ]
    return Figure(
        name=f"{dial.label} {what}",
        title=dial.label,
        kind="invariance over strength" if what == "similarity" else "scores over strength",
        x_label="strength",
        x_ticks=_X_AXIS.ticks(4),
        y_axis=y_axis,
        y_label="Invariance" if what == "similarity" else "Score",
        chance=min(max(0.0, low), high),
        lines=tuple(drawn),
        identity=_X_AXIS.position(0.0),
        note=f"directions that stay: {stay}",
    )


def _curve(dial: DialCurve, estimates: Sequence[Estimate]) -> Curve:
    strengths = np.array([point.strength for point in dial.points])
    y, low, high = (np.array([getattr(one, end) for one in estimates]) for end in ("mean", "low", "high"))
    return Curve(strengths, y, low, high)
