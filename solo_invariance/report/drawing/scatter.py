"""Two numbers of each backbone against each other, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree as ET

from solo_invariance.report.association import Cloud, Correlation
from solo_invariance.report.drawing import svg
from solo_invariance.report.drawing.axis import Axis, round_domain
from solo_invariance.report.drawing.curves import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Style,
    draw_axes,
    draw_legend,
    draw_marker,
    line_style,
)
from solo_invariance.report.grids import number
from solo_invariance.report.groups import Spread, spread_of
from solo_invariance.report.leaders import MOST_IN_FULL

MOST_NAMED = 100
"""Of so many dots, each says which backbone it is when it is pointed at."""


def draw(cloud: Cloud, ident: str, styles: Mapping[str, Style] | None = None) -> ET.Element:
    """A dot for each backbone on axes that span the numbers, with the rank correlation in a sentence.

    Backbones of one group have one colour and marker; of several, a cross is at their mean, as wide and as high as
    their standard deviations reach.

    Args:
        cloud: The numbers.
        ident: Of the picture, in its page.
        styles: Of the groups; those without one have grey dots. None: as ``styles_of`` gives them.
    """
    styles = styles_of(cloud) if styles is None else styles
    said = said_of(cloud.correlation)
    root = svg.picture(WIDTH, HEIGHT, ident, f"{cloud.y_label} over {cloud.x_label}: {cloud.title}", said)
    crosses = {group: cross for group in dict.fromkeys(cloud.groups) if (cross := _cross(cloud, group))}
    x_axis, y_axis = (
        Axis(*round_domain([*values, *(end for cross in crosses.values() for end in ends_of(cross[side]))]), *ends)
        for side, (values, ends) in enumerate(((cloud.x, (LEFT, RIGHT)), (cloud.y, (BOTTOM, TOP))))
    )
    draw_axes(root, x_axis.ticks(5), y_axis, cloud.x_label)
    places = [(x_axis.position(x), y_axis.position(y)) for x, y in zip(cloud.x, cloud.y, strict=True)]
    if len(places) > MOST_NAMED:
        svg.path(root, svg.dots(places), "dots")
        return root
    for group, cross in crosses.items():
        _draw_cross(root, cross, x_axis, y_axis, styles.get(group))
    for label, group, x, y, at in zip(cloud.labels, cloud.groups, cloud.x, cloud.y, places, strict=True):
        said, style = f"{label}: {number(x, 2)}, {number(y, 3)}", styles.get(group)
        if style is None:
            svg.path(root, svg.dots([at]), "dots", said)
        else:
            svg.path(root, svg.markers([at], style.dash), f"marker seen {style.fill}", said)
    return root


def styles_of(cloud: Cloud) -> dict[str, Style]:
    """A style for each group, where there are not more than can be told apart and some have several backbones."""
    groups = list(dict.fromkeys(cloud.groups))
    if len(groups) > MOST_IN_FULL or len(groups) == len(cloud.groups):
        return {}
    return {group: Style(*line_style(index), None) for index, group in enumerate(groups)}


def _cross(cloud: Cloud, group: str) -> tuple[Spread, Spread] | None:
    """The mean and the standard deviation of a group's numbers to both sides; None of one that is alone."""
    members = [index for index, one in enumerate(cloud.groups) if one == group]
    if len(members) < 2:
        return None
    x, y = (spread_of([values[index] for index in members]) for values in (cloud.x, cloud.y))
    return x, y


def ends_of(spread: Spread) -> tuple[float, float]:
    """The mean less, and plus, the standard deviation."""
    return spread.mean - spread.deviation, spread.mean + spread.deviation


def _draw_cross(
    root: ET.Element, cross: tuple[Spread, Spread], x_axis: Axis, y_axis: Axis, style: Style | None
) -> None:
    look = f"spread {style.fill}" if style else "spread"
    x, y = (axis.position(one.mean) for axis, one in zip((x_axis, y_axis), cross, strict=True))
    (left, right), (low, high) = (
        [axis.position(end) for end in ends_of(one)] for axis, one in zip((x_axis, y_axis), cross, strict=True)
    )
    svg.line(root, (left, y), (right, y), look)
    svg.line(root, (x, low), (x, high), look)


def said_of(correlation: Correlation) -> str:
    """The rank correlation with its interval and p, and the number of backbones and of what they are seeds of."""
    interval = f" {ends(correlation.interval)}" if correlation.interval else ""
    p = "< 0.001" if correlation.p < 0.001 else f"= {correlation.p:.3f}"
    said = f"Spearman's rho = {number(correlation.rho, 2)}{interval}, p {p}, {correlation.num_pairs} backbones"
    return said if correlation.num_families == correlation.num_pairs else f"{said} of {correlation.num_families}"


def ends(interval: tuple[float, float]) -> str:
    """The interval of a rank correlation as it is printed everywhere."""
    return f"[{number(interval[0], 2)}, {number(interval[1], 2)}]"


def draw_with_caption(cloud: Cloud, ident: str, styles: Mapping[str, Style] | None = None) -> ET.Element:
    """The same with its title and the correlation over it and its groups below, for a file of its own."""
    styles = styles_of(cloud) if styles is None else styles
    root = draw(cloud, ident, styles)
    svg.text(root, f"{cloud.title}: {cloud.y_label}", (LEFT, -22), "start", "ink")
    svg.text(root, said_of(cloud.correlation), (LEFT, -7), "start")
    shown = {group: styles[group] for group in dict.fromkeys(cloud.groups) if group in styles}
    below = draw_legend(root, shown, draw_marker)
    root.set("viewBox", f"0 -36 {WIDTH} {HEIGHT + 36 + below}")
    return root
