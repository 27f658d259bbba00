"""The page: everything about some results in one HTML file that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from solo_invariance.config.checks import require_text
from solo_invariance.report import groups as grouping
from solo_invariance.report import verdicts
from solo_invariance.report.association import FEWEST, Cloud, associations, clouds, clouds_of_views
from solo_invariance.report.caveats import caveats
from solo_invariance.report.collect import Results, Row, collect_results
from solo_invariance.report.complementarity import MOST, complementarity_matrix
from solo_invariance.report.differences import difference_tables, known_comparisons
from solo_invariance.report.drawing import colours, curves, depth, dial, effects, scatter, svg, whiskers
from solo_invariance.report.drawing.axis import tick_text
from solo_invariance.report.export import write_export
from solo_invariance.report.grids import (
    Grid,
    comparable_similarity,
    interval,
    invariance_grid,
    matched_width,
    mean_ranks,
    number,
    readable,
    transfer_grid,
)
from solo_invariance.report.groups import Group
from solo_invariance.report.headline import Label, headline, scope
from solo_invariance.report.health import health_grid
from solo_invariance.report.leaders import MOST_IN_FULL, leaders
from solo_invariance.report.made import Made
from solo_invariance.report.marks import SYMBOLS, WORDS
from solo_invariance.report.metrics import LEGEND_WIDTH, Scale, panels
from solo_invariance.report.notes import notes
from solo_invariance.report.numbers import all_numbers
from solo_invariance.report.provenance import address, sources
from solo_invariance.report.styles import FONTS, figure_style
from solo_invariance.results.files import write_bytes
from solo_invariance.results.study import StudyResult

PAGE_NAME = "report.html"
STUDY_PAGE = "study.html"
"""What a study's own page is called."""

MOST_UNFOLDED = 100
"""So many backbones can be unfolded under each metric; of more, under the first alone, as bare numbers."""

MOST_METRICS = 16
"""So many metrics have a switch; the style has a rule for each."""


def build_report(
    runs: Sequence[Path | str],
    out: Path | str = PAGE_NAME,
    export: Path | str | None = None,
    baseline: str | None = None,
    *,
    layers: bool = False,
) -> Path:
    """Write one self-contained HTML page on every result below ``runs``, and return its path.

    Args:
        runs: Directories that are searched for ``invariance.json`` and ``transfer.json``, in the order of the rows.
        out: The page, if the name ends in ``.html``; else the directory in which ``report.html`` is written. An older
            page is replaced at the very end, so that a failure leaves it as it was.
        export: A directory for every table as CSV and LaTeX and every figure as SVG, with ``index.json``, which lists
            them; None: they are not written.
        baseline: The label of the backbone that differences are from; None: from the best of each column.
        layers: Count layers that were measured and scored by one label as backbones in rank correlations.

    Raises:
        UserError: There is no result, one cannot be read, there is no such baseline, or a file cannot be written.
    """
    results = collect_results(runs, baseline, layers=layers)
    return write_report(results, out, export, command_of(runs, out, export, baseline, layers=layers))


def command_of(
    runs: Sequence[Path | str],
    out: Path | str,
    export: Path | str | None = None,
    baseline: str | None = None,
    *,
    layers: bool = False,
) -> str:
    """Return the command that makes a page, as it is typed in a shell."""
    further = {
        key: value
        for key, value in {"export": export, "baseline": baseline, "layers": "true" if layers else None}.items()
        if value is not None
    }
    keys = {"runs": f"[{','.join(map(str, runs))}]", "out": out, **further}
    return shlex.join(["solo-invariance", "report", *(f"{key}={value}" for key, value in keys.items())])


def write_report(
    results: Results, out: Path | str = PAGE_NAME, export: Path | str | None = None, command: str = ""
) -> Path:
    """Write the page of results that were read already, and return its path.

    Args:
        results: As ``collect_results`` returns them.
        out: The page, if the name ends in ``.html``; else the directory in which ``report.html`` is written.
        export: A directory for tables and figures as files, or None.
        command: What made the page, which it says.

    Raises:
        UserError: A file cannot be written.
    """
    require_text(out, "out")
    out = Path(out)
    page = out if out.suffix in {".html", ".htm"} else out / PAGE_NAME
    if export is not None:
        require_text(export, "export")
        write_export(results, Path(export))
    html = render_page(results, page.parent, Made.now(command))
    write_bytes(page, html.encode("utf-8", "backslashreplace"))
    return page


def render_page(results: Results, directory: Path, made: Made | None = None) -> str:
    """The page's HTML, with the paths of the result files relative to the directory that the page will lie in."""
    environment = page_environment()
    css = environment.get_template("page.css.j2").render(
        light=colours.LIGHT, dark=colours.DARK, figures=Markup(figure_style(None))
    )
    groups = grouping.shown_groups(results)
    rows = tuple(row for group in groups for row in group.rows)
    everything = len(rows) == len(results.rows)
    return environment.get_template("page.html.j2").render(
        css=Markup(css),
        css_sha256=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        title=", ".join(row.label for row in results.rows) if len(results.rows) <= MOST_IN_FULL else scope(results),
        made=made,
        headline=headline(results),
        scope=scope(results),
        cautions=caveats(results),
        num_backbones=len(results.rows),
        num_shown=len(rows),
        everything=everything,
        groups=groups,
        provenance_in_full=len(results.rows) <= MOST_IN_FULL,
        sources=[(row, sources(row, directory)) for row in results.rows],
        numbers=all_numbers(results),
        differences=difference_tables(results),
        known=known_comparisons(results),
        notes=notes(results),
        studies=[_study(study, directory) for study in results.studies],
        health=health_grid(results),
        shapings=results.shapings,
        dials=[
            (figure, svg.markup(curves.with_legend(figure, curves.draw(figure, f"dial-{i}"))))
            for i, figure in enumerate(dial.dial_figures(results))
        ],
        **_invariance(results, groups, rows),
        **_transfer(results, groups),
    )


class _Study(NamedTuple):
    """A study, its claims by finding, the axes of their effects, and where its own page is, if it is beside it."""

    result: StudyResult
    findings: Sequence[verdicts.Finding]
    scales: Mapping[str, effects.Scale]
    href: str


def _study(study: StudyResult, directory: Path) -> _Study:
    page = study.file.with_name(STUDY_PAGE)
    href = address(page, directory) if page.is_file() else ""
    return _Study(study, verdicts.findings(study), effects.scales_of(study), href)


def _invariance(results: Results, groups: Sequence[Group], rows: tuple[Row, ...]) -> dict[str, Any]:
    """What the sections on invariance are made of."""
    quantity = comparable_similarity(results.rows)
    styles = curves.line_styles(groups)
    everything = len(rows) == len(results.rows)
    figures = [curves.curve_figures(results, groups, of_distance=one) for one in (False, True)[: 1 + everything]]
    return {
        "panels": panels(results)[:MOST_METRICS],
        "all_compared": invariance_grid(results, quantity),
        "matched_width": matched_width(results) if quantity == "width_matched_similarity" else None,
        "figures": [
            [(figure, svg.markup(curves.draw(figure, f"curve-{of}-{i}"))) for i, figure in enumerate(of_metric)]
            for of, of_metric in enumerate(figures)
            if of_metric
        ],
        "depths": [
            (figure, svg.markup(curves.with_legend(figure, curves.draw(figure, f"depth-{i}"))))
            for i, figure in enumerate(depth.depth_figures(results))
        ],
        "lines": [
            (group.label, svg.markup(curves.draw_sample(styles[group.label])), index)
            for index, group in enumerate(groups)
            if any(row.transforms for row in group.rows)
        ],
        "flat": list(map(readable, curves.hardly_changing(results))),
        "complementarity": complementarity_matrix(Results(rows if len(rows) <= MOST_IN_FULL else leaders(results))),
        "views_against_transforms": _drawn(clouds_of_views(results), groups, "views"),
        "markers": [
            (label, svg.markup(curves.draw_sample(style, is_line=False)), style.switch)
            for label, style in _styles_of_clouds(groups).items()
        ],
    }


def _drawn(found: Sequence[Cloud], groups: Sequence[Group], of: str) -> list[tuple[Cloud, Markup]]:
    """Clouds with their pictures."""
    styles = _styles_of_clouds(groups)
    return [(cloud, svg.markup(scatter.draw(cloud, f"{of}-{i}", styles))) for i, cloud in enumerate(found)]


def _styles_of_clouds(groups: Sequence[Group]) -> Mapping[str, curves.Style]:
    """The styles of groups as the curves have them; none where each has one backbone, which is a dot as any other."""
    return curves.line_styles(groups) if any(group.is_folded for group in groups) else {}


def _transfer(results: Results, groups: Sequence[Group]) -> dict[str, Any]:
    """What the sections on transfer are made of."""
    grid = transfer_grid(results)
    both = sum(1 for row in results.rows if row.transfer and row.transforms)
    return {
        "transfer": grid,
        "whiskers": whiskers.whiskers(grid),
        "ranks": mean_ranks(grid),
        "associations": associations(results),
        "clouds": _drawn(clouds(results), groups, "cloud"),
        "num_with_both": both,
    }


def page_environment(*folders: Path) -> Environment:
    """Return what templates of pages are rendered by; ``folders`` have further templates than the report's own."""
    environment = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, interval=interval, tick=tick_text, breakable=_breakable)
    environment.tests.update(label=lambda part: isinstance(part, Label))
    environment.globals.update(
        symbols=SYMBOLS,
        words=WORDS,
        num_levels=colours.NUM_LEVELS,
        signed_level=lambda value: colours.level(value, -1.0, 1.0),
        fewest=FEWEST,
        fonts=FONTS,
        legend_width=LEGEND_WIDTH,
        most_groups=MOST_IN_FULL,
        most_metrics=MOST_METRICS,
        most_unfolded=MOST_UNFOLDED,
        said_of=scatter.said_of,
        ends=scatter.ends,
        spread=grouping.spread,
        mean_rank=_mean_rank,
        whisker=lambda of, estimate: svg.markup(whiskers.draw(of, estimate)),
        whisker_axis=lambda of: svg.markup(whiskers.draw_axis(of)),
        rows_of=_rows_of,
        verdict_signs=verdicts.VERDICTS,
        verdict_rule=verdicts.RULE,
        verdict_sentence=verdicts.sentence,
        comparison=verdicts.comparison,
        signed_effect=verdicts.signed,
        bounds=verdicts.bounds,
        probability=verdicts.probability,
        named=verdicts.named,
        unit=verdicts.unit_shown,
        effect=lambda scale, one: svg.markup(effects.draw_effect(scale, one)),
        effect_axis=lambda scale: svg.markup(effects.draw_axis(scale)),
        effect_interval=lambda scale, ends: svg.markup(effects.draw_interval(scale, ends)),
        small_effect=lambda scale, one: svg.markup(effects.draw_small(scale, one)),
        signed=Scale(-1.0, 1.0, ("opposite ranks", "the same ranks")),
        complementary=Scale(0.0, MOST, ("sees nothing more", "sees what it ignores")),
    )
    return environment


def _mean_rank(ranks: Mapping[str, float], rows: Sequence[Row]) -> grouping.Spread | None:
    """The mean rank over some backbones with its standard deviation, None where none is ranked."""
    found = [ranks[row.label] for row in rows if row.label in ranks]
    return grouping.spread_of(found) if found else None


def _rows_of(grid: Grid, group: Group) -> list[Row]:
    """The rows of a group that a table has."""
    return [row for row in group.rows if row.label in grid.cells]


def _breakable(label: str) -> Markup:
    """The label, with places at which a line may break."""
    return Markup("<wbr>").join(re.split(r"(?<=[+_/])", label))
