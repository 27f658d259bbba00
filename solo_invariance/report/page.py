"""The page: everything about some results in one HTML file that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from solo_invariance.config.checks import require_text
from solo_invariance.report.caveats import caveats
from solo_invariance.report.collect import Results, collect_results
from solo_invariance.report.complementarity import complementarity_matrix
from solo_invariance.report.differences import difference_tables, known_comparisons
from solo_invariance.report.drawing import colours, curves, whiskers
from solo_invariance.report.drawing.axis import round_domain, tick_text
from solo_invariance.report.grids import (
    Grid,
    comparable_similarity,
    further_metrics,
    interval,
    invariance_grid,
    matched_width,
    mean_ranks,
    number,
    transfer_grid,
    without_identity,
)
from solo_invariance.report.headline import Label, headline, scope
from solo_invariance.report.leaders import leaders, shown
from solo_invariance.report.marks import SYMBOLS, WORDS
from solo_invariance.report.notes import notes
from solo_invariance.report.numbers import all_numbers
from solo_invariance.report.paired import comparable_distance
from solo_invariance.report.provenance import sources
from solo_invariance.results import Estimate
from solo_invariance.results.files import write_bytes

PAGE_NAME = "report.html"


class Scale(NamedTuple):
    """The ends of a heat map's ramp; ``least > most`` where smaller numbers are more invariant."""

    least: float
    most: float

    def level(self, estimate: Estimate) -> int:
        """The step of the ramp for a number."""
        return colours.level(estimate.mean, self.least, self.most)


def build_report(runs: Sequence[Path | str], out: Path | str = PAGE_NAME) -> Path:
    """Write one self-contained HTML page on every result below ``runs``, and return its path.

    Args:
        runs: Directories that are searched for ``invariance.json`` and ``transfer.json``, in the order of the rows.
        out: The page, if the name ends in ``.html``; else the directory in which ``report.html`` is written. An older
            page is replaced at the very end, so that a failure leaves it as it was.

    Raises:
        UserError: There is no result, one cannot be read, or the page cannot be written.
    """
    return write_report(collect_results(runs), out)


def write_report(results: Results, out: Path | str = PAGE_NAME) -> Path:
    """Write the page of results that were read already, and return its path.

    Args:
        results: As ``collect_results`` returns them.
        out: The page, if the name ends in ``.html``; else the directory in which ``report.html`` is written.

    Raises:
        UserError: The page cannot be written.
    """
    require_text(out, "out")
    out = Path(out)
    page = out if out.suffix in {".html", ".htm"} else out / PAGE_NAME
    write_bytes(page, render_page(results, page.parent).encode("utf-8", "backslashreplace"))
    return page


def render_page(results: Results, directory: Path) -> str:
    """The page's HTML, with the paths of the result files relative to the directory that the page will lie in."""
    environment = _environment()
    css = environment.get_template("page.css.j2").render(light=colours.LIGHT, dark=colours.DARK)
    quantity = comparable_similarity(results.rows)
    by_distance = comparable_distance(results.rows)
    compared, distance = invariance_grid(results, quantity), invariance_grid(results, by_distance)
    similarity = invariance_grid(results, "similarity")
    transfer = transfer_grid(results)
    chosen = leaders(results)
    some = Results(chosen)
    everything = len(chosen) == len(results.rows)
    return environment.get_template("page.html.j2").render(
        css=Markup(css),
        css_sha256=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        title=", ".join(row.label for row in results.rows) if everything else scope(results),
        num_backbones=len(results.rows),
        num_shown=len(chosen),
        everything=everything,
        lines=[(row.label, curves.line_style(i)) for i, row in enumerate(chosen) if row.transforms],
        headline=headline(results),
        scope=scope(results),
        cautions=caveats(results),
        compared=shown(compared, chosen),
        all_compared=compared,
        compared_scale=Scale(*_domain(compared)),
        matched_width=matched_width(results) if quantity == "width_matched_similarity" else None,
        similarity=shown(similarity, chosen),
        similarity_scale=Scale(*_domain(similarity)),
        distance=shown(distance, chosen),
        plain_distance=invariance_grid(results, "distance"),
        relative_distance=by_distance == "relative_distance",
        distance_scale=Scale(*reversed(_domain(distance))),
        further=further_metrics(chosen),
        without_identity={row.label: without_identity(row) for row in chosen},
        numbers=None if everything else all_numbers(results),
        figures=curves.curve_figures(some),
        complementarity=complementarity_matrix(some),
        transfer=shown(transfer, chosen),
        all_transfer=transfer,
        intervals=whiskers.whiskers(transfer),
        ranks=mean_ranks(transfer),
        differences=difference_tables(results),
        known=known_comparisons(results),
        notes=notes(results),
        sources=[(row, sources(row, directory)) for row in results.rows],
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, interval=interval, tick=tick_text, breakable=_breakable)
    environment.tests.update(label=lambda part: isinstance(part, Label))
    environment.globals.update(
        layout=curves, symbols=SYMBOLS, words=WORDS, whisker_layout=whiskers, num_levels=colours.NUM_LEVELS
    )
    return environment


def _breakable(label: str) -> Markup:
    """The label, with places at which a line may break."""
    return Markup("<wbr>").join(re.split(r"(?<=[+_/])", label))


def _domain(grid: Grid) -> tuple[float, float]:
    return round_domain([estimate.mean for estimate in grid.estimates] or [0.0, 1.0])
