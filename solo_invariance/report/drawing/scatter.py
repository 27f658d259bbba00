"""Two numbers of each backbone against each other, as SVG."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from solo_invariance.report.association import Cloud, Correlation
from solo_invariance.report.drawing import svg
from solo_invariance.report.drawing.axis import Axis, round_domain
from solo_invariance.report.drawing.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, draw_axes
from solo_invariance.report.grids import number

MOST_NAMED = 100
"""Of so many dots, each says which backbone it is when it is pointed at."""


def draw(cloud: Cloud, ident: str) -> ET.Element:
    """A dot for each backbone, on axes that span the numbers, with the rank correlation in a sentence."""
    said = said_of(cloud.correlation)
    root = svg.picture(WIDTH, HEIGHT, ident, f"{cloud.y_label} over {cloud.x_label}: {cloud.title}", said)
    x_axis, y_axis = Axis(*round_domain(cloud.x), LEFT, RIGHT), Axis(*round_domain(cloud.y), BOTTOM, TOP)
    draw_axes(root, x_axis.ticks(5), y_axis, cloud.x_label)
    places = [(x_axis.position(x), y_axis.position(y)) for x, y in zip(cloud.x, cloud.y, strict=True)]
    if len(places) > MOST_NAMED:
        svg.path(root, svg.dots(places), "dots")
        return root
    for label, x, y, at in zip(cloud.labels, cloud.x, cloud.y, places, strict=True):
        svg.path(root, svg.dots([at]), "dots", f"{label}: {number(x, 2)}, {number(y, 3)}")
    return root


def said_of(correlation: Correlation) -> str:
    """The rank correlation with its p and the number of backbones."""
    p = "< 0.001" if correlation.p < 0.001 else f"= {correlation.p:.3f}"
    return f"Spearman's rho = {number(correlation.rho, 2)}, p {p}, {correlation.num_pairs} backbones"


def draw_with_caption(cloud: Cloud, ident: str) -> ET.Element:
    """The same with its title and the correlation over it, for a file of its own."""
    root = draw(cloud, ident)
    svg.text(root, f"{cloud.title}: {cloud.y_label}", (LEFT, -22), "start", "ink")
    svg.text(root, said_of(cloud.correlation), (LEFT, -7), "start")
    root.set("viewBox", f"0 -36 {WIDTH} {HEIGHT + 36}")
    return root
