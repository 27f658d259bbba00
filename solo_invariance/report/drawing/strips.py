"""A number of several groups of backbones, a row for each group: every backbone a dot, with their mean and spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.etree import ElementTree as ET

from solo_invariance.report.drawing import svg
from solo_invariance.report.drawing.axis import Axis
from solo_invariance.report.drawing.curves import WIDTH, Style
from solo_invariance.report.grids import number
from solo_invariance.report.groups import spread_of

LEFT, RIGHT, ROW = 96, 308, 16
_LONGEST = 15


class Strip(NamedTuple):
    """The numbers of one group: by what each backbone is called within it."""

    label: str
    values: Mapping[str, float]


def draw(strips: Sequence[Strip], axis: Axis, ident: str, title: str, styles: Mapping[str, Style]) -> ET.Element:
    """A row of dots for each group, with a bar at their mean and a line as long as their standard deviation reaches.

    Args:
        strips: The groups, from top to bottom.
        axis: Of the numbers, from ``LEFT`` to ``RIGHT``.
        ident: Of the picture, in its page.
        title: What the numbers are.
        styles: Of the groups.
    """
    bottom = ROW * len(strips) + 4
    root = svg.picture(WIDTH, bottom + 20, ident, title, " ".join(map(_said, strips)))
    for tick in axis.ticks(5):
        svg.line(root, (tick.position, 0), (tick.position, bottom), "zero" if tick.text == "0" else "grid")
        svg.text(root, tick.text, (tick.position, bottom + 14))
    svg.line(root, (LEFT, bottom), (RIGHT, bottom), "axis")
    for index, strip in enumerate(strips):
        y = ROW * (index + 0.5) + 2
        shown = strip.label if len(strip.label) <= _LONGEST else f"{strip.label[: _LONGEST - 1]}…"
        svg.text(root, shown, (LEFT - 10, y + 3.5), "end", "ink")
        style = styles[strip.label]
        over = spread_of(list(strip.values.values()))
        if over.num_backbones > 1:
            ends = (axis.within(over.mean - over.deviation), y), (axis.within(over.mean + over.deviation), y)
            svg.line(root, *ends, f"spread {style.fill}")
        for name, value in strip.values.items():
            said = f"{strip.label}, {name}: {number(value, 3)}"
            svg.path(root, svg.markers([(axis.within(value), y)], style.dash), f"marker seen {style.fill}", said)
        x = axis.within(over.mean)
        svg.line(root, (x, y - 6), (x, y + 6), f"centre {style.fill}")
    return root


def _said(strip: Strip) -> str:
    over = spread_of(list(strip.values.values()))
    return f"{strip.label}: mean {number(over.mean, 3)}, SD {number(over.deviation, 3)} of {over.num_backbones}."
