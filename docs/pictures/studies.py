"""Writes the tables of published studies into the pages that show them.

python docs/pictures/studies.py README.md docs/explanation/does_it_hold.md

A table stands between ``<!-- studies/NAME TABLE -->`` and ``<!-- end -->``; its numbers are those of
``studies/NAME/study.json``. ``TABLE`` is ``arms``, what each arm is invariant to and scores; ``main``, the same of the
most telling ones; or ``verdicts``, what came out of each claim. ``said`` is prose of ours, which stays as it is.
"""

import re
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from solo_invariance.report.verdicts import bounds, named, probability, sentence, signed, unit_shown
from solo_invariance.results.study import StudyArm, StudyResult

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(<!-- studies/(\w+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
KINDS = ("spatial", "appearance")
_EMPTY = "\N{EN DASH}"


def with_tables(page: str) -> str:
    """Return a page with the tables of today's studies."""

    def written(found: re.Match[str]) -> str:
        begin, name, table, end = found.groups()
        if table == "said":  # prose, of which tests compare the numbers
            return found[0]
        study = StudyResult.read(ROOT / "studies" / name / "study.json")
        return f"{begin}{TABLES[table](study)}\n{end}"

    return BLOCK.sub(written, page)


def main_arms(study: StudyResult) -> str:
    """Return the rows of ``arms`` without those that the page of results has alone."""
    return arms(study, ("identity", "V+O", "V+V+V", "O+O+O"))


def arms(study: StudyResult, without: Sequence[str] = ()) -> str:
    """Return a row for each arm: similarities by kind of change, and scores; means over seeds and their deviations."""
    scores = [name for name in study.quantities if name.startswith("score/")]
    head = ["", *(f"{kind} similarity" for kind in KINDS), *(_title(study, name) for name in scores)]
    rows = [
        [_called(name, arm), *(_cell(study, name, of_kind(study, kind)) for kind in KINDS)]
        + [_cell(study, name, [score]) for score in scores]
        for name, arm in study.arms.items()
        if name not in without
    ]
    return _markdown(head, rows)


def verdicts(study: StudyResult) -> str:
    """Return a sentence, and a row for each claim."""
    said = "".join(f"**{part}**" if verdict else part for part, verdict in sentence(study))
    rows = [
        [
            claim.finding,
            claim.says,
            f"**{claim.verdict}** {claim.why}".strip(),
            f"{signed(claim.effect, claim.unit)} {bounds(claim.ci95, claim.unit)}".strip(),
            unit_shown(claim.unit),
            probability(claim.p_holm),
            str(claim.num_seeds),
        ]
        for claim in study.claims
    ]
    head = ["", "claim", "verdict", "effect [95 % over seeds]", "in", "Holm p", "seeds"]
    return f"{said}\n\n{_markdown(head, rows)}"


TABLES: Mapping[str, Callable[[StudyResult], str]] = {"arms": arms, "main": main_arms, "verdicts": verdicts}


def of_kind(study: StudyResult, kind: str) -> list[str]:
    """Return the transforms of a kind."""
    return [name for name, one in study.quantities.items() if name.startswith("invariance/") and one.kind == kind]


def _cell(study: StudyResult, arm: str, quantities: Sequence[str]) -> str:
    """Return the mean of some quantities over seeds, with the seeds' standard deviation; triples of seeds overlap."""
    numbers = study.numbers[arm]
    if not all(name in numbers for name in quantities):
        return _EMPTY
    by_quantity = [[number.value for number in numbers[name]] for name in quantities]
    of_seeds = [statistics.fmean(values) for values in zip(*by_quantity, strict=True)]
    mean = f"{statistics.fmean(of_seeds):.2f}".replace("-", "\N{MINUS SIGN}")
    is_plain = study.arms[arm].role == "ensemble" or len(of_seeds) < 2
    return mean if is_plain else f"{mean} ± {statistics.stdev(of_seeds):.2f}"


def _title(study: StudyResult, score: str) -> str:
    return f"{named(score).removeprefix('score on ')}, {unit_shown(study.quantities[score].unit)}"


def _called(name: str, arm: StudyArm) -> str:
    wide = {"wide": f", {arm.num_features} features", "ensemble": ", three seeds"}
    return f"{name}{wide.get(arm.role, '')}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in (head, ["---"] * len(head), *rows))


def main(pages: Sequence[str]) -> None:
    """Write the tables of pages."""
    for page in map(Path, pages):
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
