"""The page of a study: its verdicts and what each is made of, in one HTML file that needs nothing but itself."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from solo_invariance.report.association import Cloud, Correlation, spearman
from solo_invariance.report.columns import readable
from solo_invariance.report.drawing import colours, curves, effects, scatter, strips, svg
from solo_invariance.report.drawing.axis import Axis, round_domain
from solo_invariance.report.grids import number
from solo_invariance.report.groups import Spread, spread_of
from solo_invariance.report.page import page_environment
from solo_invariance.report.styles import figure_style
from solo_invariance.report.verdicts import Finding, enumerated, findings, named, unit_shown
from solo_invariance.results.files import write_bytes
from solo_invariance.results.study import JudgedClaim, StudyResult
from solo_invariance.study.arms import Numbers

_ALONE = ("trained", "wide", "untrained")
_SEVERAL = ("fusion", "ensemble")


class Panel(NamedTuple):
    """A figure with its title."""

    title: str
    note: str
    drawing: Markup


@dataclass(frozen=True)
class Figures:
    """What a section of the page shows beside its claims.

    Args:
        panels: Figures of arms, by their heading.
        ranks: The mean rank of each arm, of each kind of score.
        tasks: The columns of ``rhos``.
        rhos: Rank correlations of each invariance with the score on each task.
        scatters: Scores over the means of kinds of changes.
        further: Scores over each change.
    """

    panels: Mapping[str, list[Panel]] = field(default_factory=dict)
    ranks: Sequence[tuple[str, list[Spread | None]]] = ()
    tasks: Sequence[str] = ()
    rhos: Sequence[tuple[str, list[Correlation | None]]] = ()
    scatters: Sequence[Panel] = ()
    further: Sequence[Panel] = ()

    @property
    def are_there(self) -> bool:
        """Whether there is any."""
        return any(self.panels.values())


@dataclass(frozen=True)
class Section:
    """The findings whose numbers begin with one character: their claims, and figures.

    Args:
        digit: That character.
        findings: With their claims.
        clouds: By claim, the scatter that a rank correlation is of.
        figures: All others.
    """

    digit: str
    findings: Sequence[Finding]
    clouds: Mapping[str, Markup]
    figures: Figures


def write_study_page(result: StudyResult, path: Path | str, report: Path | None = None) -> Path:
    """Write the page of a study, and return its path.

    Args:
        result: The study, as ``study.json`` has it: there is nothing on the page that is not in it.
        path: The file; an older one is replaced at the very end.
        report: The report of all of the study's runs, which the page leads to; it is to lie beside the page or below.

    Raises:
        UserError: The file cannot be written.
    """
    path = Path(path)
    link = None if report is None else Path(report).resolve().relative_to(path.resolve().parent).as_posix()
    write_bytes(path, render_study(result, link).encode("utf-8", "backslashreplace"))
    return path


def render_study(result: StudyResult, report: str | None = None) -> str:
    """Return the page's HTML; ``report`` is the address of the report of all runs, if there is one."""
    environment = page_environment(Path(__file__).parent)
    css = environment.get_template("study.css.j2").render(
        light=colours.LIGHT, dark=colours.DARK, figures=Markup(figure_style(None))
    )
    numbers = Numbers(result)
    return environment.get_template("study.html.j2").render(
        css=Markup(css),
        css_sha256=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        study=result,
        findings=findings(result),
        facts=list(_facts(result)),
        report=report,
        scales=effects.scales_of(result),
        own_scale=_own_scale,
        sections=_sections(result, numbers),
        numbers=all_numbers(result),
        markers=[
            (arm, svg.markup(curves.draw_sample(style, is_line=False)), style.switch)
            for arm, style in _styles(result).items()
            if result.arms[arm].role != "ensemble"
        ],
    )


def all_numbers(result: StudyResult) -> str:
    """Return every number of the study as comma-separated values with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("arm", "seeds", "quantity", "value", "standard_error"))
    for arm, quantities in result.numbers.items():
        for quantity, numbers in quantities.items():
            for one in numbers:
                error = "" if one.standard_error is None else one.standard_error
                writer.writerow((arm, "-".join(map(str, one.seeds)), quantity, one.value, error))
    return text.getvalue()


def _facts(result: StudyResult) -> Iterator[tuple[str, str]]:
    """Yield what was run: where, on what, and how long it took."""
    for role in (*_ALONE, "shaped", *_SEVERAL):
        arms = [f"{name}{_width(arm.num_features)}" for name, arm in result.arms.items() if arm.role == role]
        if arms:
            yield {"fusion": "fusions", "ensemble": "ensembles of seeds"}.get(role, role), enumerated(arms)
    yield "seeds", ", ".join(map(str, result.seeds))
    if result.hours:
        by_kind = ", ".join(f"{kind} {number(hours, 2)}" for kind, hours in result.hours.items())
        yield "hours", f"{number(sum(result.hours.values()), 1)} of one process ({by_kind})"
    if result.machine:
        yield "machine", ", ".join(f"{key} {value}" for key, value in result.machine.items())
    if result.versions:
        yield "versions", ", ".join(f"{name} {version}" for name, version in result.versions.items())


def _width(num_features: int | None) -> str:
    return "" if num_features is None else f" ({num_features}-d)"


def _own_scale(claim: JudgedClaim) -> effects.Scale:
    """An axis for a claim and its parts."""
    return effects.scale_of([claim, *claim.parts], claim.unit, claim.smallest)


def _styles(result: StudyResult) -> dict[str, curves.Style]:
    """The colour and marker of each arm, the same all over the page.

    An ensemble looks like the arm that it is of; a wider network has the colour of its family.
    """
    own = [name for name, arm in result.arms.items() if arm.role not in ("wide", "ensemble")]
    styles = {name: curves.Style(*curves.line_style(index), None) for index, name in enumerate(own)}
    for index, (name, arm) in enumerate(result.arms.items()):
        if name not in styles:
            like = next(
                (one for one in own if one in arm.members or arm.family in (result.arms[one].family, one)), None
            )
            style = styles[like] if like else curves.Style(*curves.line_style(index), None)
            styles[name] = (
                style if arm.role == "ensemble" else style._replace(dash=(style.dash + 2) % curves.NUM_DASHES)
            )
    return {name: styles[name] for name in result.arms}


def _sections(result: StudyResult, numbers: Numbers) -> list[Section]:
    """The sections of the page, those of the paper's findings with the figures that are theirs."""
    found = findings(result)
    figures = {"1": _invariances, "2": _transfers, "3": _fusions}
    sections = []
    for digit in dict.fromkeys([*figures, *(one.name[:1] for one in found)]):
        claimed = [one for one in found if one.name.startswith(digit)]
        drawn = figures[digit](result, numbers) if digit in figures else Figures()
        if claimed or drawn.are_there:
            sections.append(Section(digit, claimed, _clouds_of_claims(result, numbers, claimed), drawn))
    return sections


def _clouds_of_claims(result: StudyResult, numbers: Numbers, of: Sequence[Finding]) -> dict[str, Markup]:
    """By claim, the scatter that a rank correlation is of."""
    drawn = {}
    for index, claim in enumerate(claim for one in of for claim in one.claims if claim.between):
        arms = claim.over or numbers.arms(*_ALONE)
        cloud = _cloud(numbers, arms, *claim.between)
        if cloud:
            drawn[claim.name] = svg.markup(scatter.draw(cloud, f"between-{of[0].name}-{index}", _styles(result)))
    return drawn


def _invariances(result: StudyResult, numbers: Numbers) -> Figures:
    """Finding 1: every arm under every change."""
    arms = numbers.arms(*_ALONE, "shaped", "fusion")
    panels = {
        f"{kind} changes": list(_strips(result, numbers, arms, numbers.of_kind("invariance", kind), f"one-{kind}"))
        for kind in numbers.kinds("invariance")
    }
    views = [name for kind in numbers.kinds("views") for name in numbers.of_kind("views", kind)]
    return Figures({**panels, "real views": list(_strips(result, numbers, arms, views, "views"))})


def _transfers(result: StudyResult, numbers: Numbers) -> Figures:
    """Finding 2: which family each task prefers, and which invariance goes with its score."""
    arms, tasks = numbers.arms(*_ALONE), numbers.beginning("score")
    if not tasks:
        return Figures()
    kinds = {of: [f"{of}/{kind}" for kind in numbers.kinds(of)] for of in ("invariance", "views")}
    changes = [*numbers.beginning("invariance"), *numbers.beginning("views")]
    return Figures(
        {"scores of single backbones": list(_strips(result, numbers, numbers.arms(*_ALONE, "shaped"), tasks, "two"))},
        tasks=tasks,
        rhos=[
            (change, [_rho(numbers, arms, change, task) for task in tasks])
            for change in (*kinds["invariance"], *kinds["views"], *changes)
        ],
        scatters=list(_scatters(result, numbers, arms, kinds["invariance"], tasks, "kind")),
        further=list(_scatters(result, numbers, arms, changes, tasks, "change")),
    )


def _fusions(result: StudyResult, numbers: Numbers) -> Figures:
    """Finding 3: fusions beside what they are made of and their controls."""
    if not numbers.arms(*_SEVERAL, "shaped"):
        return Figures()
    arms = numbers.arms(*_SEVERAL, "shaped", "wide", "trained")
    headings = {"score": "scores as they are", "projected": "scores at equal width"}
    return Figures(
        {
            heading: list(_strips(result, numbers, arms, numbers.beginning(of), f"three-{of}"))
            for of, heading in headings.items()
        },
        ranks=_ranks(numbers, headings),
    )


def _ranks(numbers: Numbers, headings: Iterable[str]) -> list[tuple[str, list[Spread | None]]]:
    """The mean rank of each arm, over seeds, as it is and at equal width; the best first."""
    by = [numbers.mean_ranks(of) for of in headings]
    arms = dict.fromkeys(arm for ranks in by for arm in ranks)
    rows = [(arm, [spread_of(list(ranks[arm].values())) if arm in ranks else None for ranks in by]) for arm in arms]
    return sorted(rows, key=lambda row: next(one.mean for one in row[1] if one))


def _strips(
    result: StudyResult, numbers: Numbers, arms: Sequence[str], names: Sequence[str], ident: str
) -> Iterator[Panel]:
    """A figure for each quantity; those of one unit are on one axis all over the page."""
    styles = _styles(result)
    for index, name in enumerate(names):
        found = [
            strips.Strip(arm, {_seeds(seeds): value for seeds, value in values.items()})
            for arm in arms
            if (values := numbers.values(arm, name))
        ]
        if found:
            axis = Axis(*round_domain(numbers.of_unit(result.quantities[name].unit)), strips.LEFT, strips.RIGHT)
            drawn = strips.draw(found, axis, f"{ident}-{index}", named(name), styles)
            kind = result.quantities[name].kind if name.startswith("views/") else None
            note = ", ".join(filter(None, [unit_shown(result.quantities[name].unit), kind]))
            yield Panel(named(name), note, svg.markup(drawn))


def _scatters(
    result: StudyResult, numbers: Numbers, arms: Sequence[str], changes: Sequence[str], tasks: Sequence[str], ident: str
) -> Iterator[Panel]:
    for task in tasks:
        for change in changes:
            if cloud := _cloud(numbers, arms, change, task):
                name = f"{ident}-{task}-{change}".replace("/", "-").replace(" ", "-")
                drawn = scatter.draw(cloud, name, _styles(result))
                yield Panel(cloud.title, scatter.said_of(cloud.correlation), svg.markup(drawn))


def _cloud(numbers: Numbers, arms: Sequence[str], across: str, up: str) -> Cloud | None:
    """Two quantities of all backbones of some arms, None where too few have both."""
    pairs = [(value, *both) for arm in arms for value, both in numbers.pairs(arm, across, up)]
    correlation = spearman([x for _, x, _ in pairs], [y for _, _, y in pairs], [value.arm for value, _, _ in pairs])
    if correlation is None:
        return None
    return Cloud(
        f"{readable(up.partition('/')[2])}, {readable(across.partition('/')[2])}",
        named(across),
        named(up),
        tuple(f"{value.arm}, {_seeds(value.seeds)}" for value, _, _ in pairs),
        tuple(value.arm for value, _, _ in pairs),
        tuple(x for _, x, _ in pairs),
        tuple(y for _, _, y in pairs),
        correlation,
    )


def _rho(numbers: Numbers, arms: Sequence[str], across: str, up: str) -> Correlation | None:
    cloud = _cloud(numbers, arms, across, up)
    return cloud.correlation if cloud else None


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
