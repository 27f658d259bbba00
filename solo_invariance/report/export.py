"""Tables and figures as files: for a paper, a spreadsheet or a talk."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from solo_invariance.report.association import clouds, clouds_of_views
from solo_invariance.report.collect import Results
from solo_invariance.report.drawing import curves, depth, dial, scatter, svg, whiskers
from solo_invariance.report.drawing.colours import LIGHT
from solo_invariance.report.grids import transfer_grid
from solo_invariance.report.groups import shown_groups
from solo_invariance.report.numbers import all_numbers
from solo_invariance.report.styles import figure_style
from solo_invariance.report.tables import all_tables, as_csv, as_latex
from solo_invariance.results.files import write_bytes, write_json

INDEX_NAME = "index.json"
_LONGEST = 60


class Exported(NamedTuple):
    """A file: its name, which the same results give again, what it shows, and its content."""

    name: str
    title: str
    content: bytes


def write_export(results: Results, directory: Path) -> None:
    """Write every table as CSV and LaTeX and every figure as SVG, and last ``index.json``, which lists them.

    Args:
        results: As ``collect_results`` returns them.
        directory: Is made; files of these names are replaced, each whole, and others left alone.

    Raises:
        UserError: A file cannot be written.
    """
    listed = []
    for one in exported(results):
        write_bytes(directory / one.name, one.content)
        listed.append({"file": one.name, "title": one.title})
    write_json(directory / INDEX_NAME, {"schema": 1, "kind": "export", "files": listed})


def exported(results: Results) -> Iterator[Exported]:
    """Yield the files, tables first; no two have one name."""
    taken: set[str] = set()
    yield Exported("numbers.csv", "Every number with its 95 % interval", _encoded(all_numbers(results)))
    for table in all_tables(results):
        name = _free(f"table-{_slug(table.name)}", taken)
        yield Exported(f"{name}.csv", table.title, _encoded(as_csv(table)))
        yield Exported(f"{name}.tex", table.title, _encoded(as_latex(table)))
    css = figure_style(LIGHT)
    for of, title, figure in _figures(results):
        name = _free(f"figure-{_slug(of)}", taken)
        yield Exported(f"{name}.svg", title, svg.document(figure, css))


def _figures(results: Results) -> Iterator[tuple[str, str, ET.Element]]:
    groups = shown_groups(results)
    for figure in (*curves.curve_figures(results, groups), *depth.depth_figures(results), *dial.dial_figures(results)):
        title = f"{figure.title}, {figure.kind}"
        yield f"{figure.kind} {figure.name}", title, curves.with_legend(figure, curves.draw(figure, "figure"))
    for figure in curves.curve_figures(results, groups, of_distance=True):
        title = f"{figure.y_label}, {figure.title}, {figure.kind}"
        yield f"distance {figure.kind} {figure.name}", title, curves.with_legend(figure, curves.draw(figure, "figure"))
    for of, found in {"association": clouds(results), "views": clouds_of_views(results)}.items():
        for cloud in found:
            title = f"{cloud.title}: {cloud.y_label} over {cloud.x_label}"
            yield f"{of} {cloud.title} {cloud.y_label}", title, scatter.draw_with_caption(cloud, "figure")
    grid = transfer_grid(results)
    for column in grid.columns:
        title = f"{column.title}, {column.note}"
        yield f"transfer {title}", title, whiskers.draw_forest(grid, column, "figure")


def _slug(name: str) -> str:
    """A name of lower-case letters, digits and hyphens; one that loses more than spaces and signs has its hash, too."""
    name = name.replace("\N{SUPERSCRIPT TWO}", "2")
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if len(slug) <= _LONGEST and name.isascii() and slug:
        return slug
    return f"{slug[:_LONGEST]}-{hashlib.sha256(name.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}".strip("-")


def _free(name: str, taken: set[str]) -> str:
    count = 1
    free = name
    while free in taken:
        count += 1
        free = f"{name}-{count}"
    taken.add(free)
    return free


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
