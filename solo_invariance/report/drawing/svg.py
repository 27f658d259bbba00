"""SVG by the element: the same figure is a part of the page and, with its colours inside, a file of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

from markupsafe import Markup

# No XML 1.0 character (XML 1.0, fifth edition, production 2), nor a lone half of a surrogate pair.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_MARKERS = 4
_RADIUS = 2.6

Point = tuple[float, float]


def picture(width: float, height: float, ident: str, title: str, description: str) -> ET.Element:
    """An empty picture that says what it shows."""
    attributes = {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-labelledby": f"{ident} {ident}-text"}
    root = ET.Element("svg", attributes)
    write(ET.SubElement(root, "title", {"id": ident}), title)
    write(ET.SubElement(root, "desc", {"id": f"{ident}-text"}), description)
    return root


def line(parent: ET.Element, start: Point, end: Point, style: str) -> ET.Element:
    """A straight line."""
    (x1, y1), (x2, y2) = start, end
    ends = {"x1": shown(x1), "y1": shown(y1), "x2": shown(x2), "y2": shown(y2)}
    return ET.SubElement(parent, "line", {"class": style, **ends})


def path(parent: ET.Element, data: str, style: str, title: str = "") -> ET.Element:
    """A path, with a sentence that is shown when it is pointed at."""
    element = ET.SubElement(parent, "path", {"class": style, "d": data})
    if title:
        write(ET.SubElement(element, "title"), title)
    return element


def text(parent: ET.Element, content: str, at: Point, anchor: str = "middle", style: str = "") -> ET.Element:
    """A line of text."""
    attributes = {"x": shown(at[0]), "y": shown(at[1]), "text-anchor": anchor, **({"class": style} if style else {})}
    element = ET.SubElement(parent, "text", attributes)
    write(element, content)
    return element


def write(element: ET.Element, content: str) -> None:
    """Give an element its text; characters that XML does not have are replaced."""
    element.text = _FORBIDDEN.sub(_REPLACEMENT, content)


def through(points: Iterable[Point]) -> str:
    """The data of a path through some points."""
    return "M" + "L".join(f"{shown(x)} {shown(y)}" for x, y in points)


def around(upper: Sequence[Point], lower: Sequence[Point]) -> str:
    """The data of a path around the area between two lines."""
    return f"{through([*upper, *reversed(lower)])}Z"


def markers(points: Iterable[Point], shape: int) -> str:
    """The data of a path of one marker at each point: circles, squares, triangles or diamonds."""
    return "".join(_marker(x, y, shape % _MARKERS, _RADIUS) for x, y in points)


def dots(points: Iterable[Point]) -> str:
    """The data of a path of lines without a length, which round ends make dots of."""
    return "".join(f"M{shown(x)} {shown(y)}h0" for x, y in points)


def markup(element: ET.Element) -> Markup:
    """The element for a page."""
    return Markup(ET.tostring(element, encoding="unicode"))


def document(element: ET.Element, css: str) -> bytes:
    """The picture as a file of its own: its size in pixels is that of its box, and its style is inside."""
    x, y, width, height = element.attrib["viewBox"].split()
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "width": width, "height": height})
    root.attrib.update(element.attrib)
    write(ET.SubElement(root, "style"), css)
    ET.SubElement(root, "rect", {"class": "paper", "x": x, "y": y, "width": width, "height": height})
    root.extend(element)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'.encode()


def shown(value: float) -> str:
    """A length to a tenth."""
    return f"{round(value, 1) + 0.0:g}"


def _marker(x: float, y: float, shape: int, r: float) -> str:
    if shape == 0:
        return f"M{shown(x - r)} {shown(y)}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0"
    if shape == 1:
        return f"M{shown(x - r)} {shown(y - r)}h{2 * r}v{2 * r}h{-2 * r}z"
    if shape == 2:
        return f"M{shown(x)} {shown(y - 1.3 * r)}l{shown(1.2 * r)} {shown(2.1 * r)}h{shown(-2.4 * r)}z"
    d = shown(1.4 * r)
    return f"M{shown(x)} {shown(y - 1.4 * r)}l{d} {d}l-{d} {d}l-{d} -{d}z"
