"""What pages say of published studies is what ``studies/*/study.json`` holds."""

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solo_invariance.results.study import StudyResult
from tests.study.made_up import made_up_study

ROOT = Path(__file__).parents[1]
README, PAGE = ROOT / "README.md", ROOT / "docs" / "explanation" / "does_it_hold.md"
FILES = sorted((ROOT / "studies").glob("*/study.json"))
BLOCK = re.compile(r"<!-- studies/(\w+) (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)
MINUS = "\N{MINUS SIGN}"
_NUMBER = r"(-?\d+\.\d+)"
_EFFECT = re.compile(rf"{_NUMBER}\s+\[{_NUMBER},\s+{_NUMBER}\]")


def _study(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "studies" / name / "study.json").read_text())
    return content


def _blocks(table: str, *pages: Path) -> list[tuple[dict[str, Any], str]]:
    return [
        (_study(name), text) for page in pages for name, what, text in BLOCK.findall(page.read_text()) if what == table
    ]


def _made_up(table: str) -> tuple[dict[str, Any], str]:
    """A table as it is written of a study that nobody ran, so that tables are held to their numbers before any is."""
    spec = importlib.util.spec_from_file_location("studies", ROOT / "docs" / "pictures" / "studies.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    study = made_up_study()
    return study.as_content(), module.TABLES[table](study)


def _rows(text: str) -> Iterator[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for line in [lines[0], *lines[2:]]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def _mean_and_deviation(study: dict[str, Any], arm: str, quantities: list[str]) -> tuple[float, float] | None:
    numbers = study["numbers"][arm]
    if not all(numbers.get(one) for one in quantities):
        return None
    values = np.array([[number["value"] for number in numbers[one]] for one in quantities]).mean(0)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _quantities(study: dict[str, Any], title: str) -> list[str]:
    if title.endswith(" similarity"):
        kind = title.removesuffix(" similarity")
        return [name for name, one in study["quantities"].items() if one.get("kind") == kind and "invariance/" in name]
    return [f"score/{title.split(',')[0].replace(' ', '_')}"]


def test_the_tables_of_arms_are_means_over_seeds() -> None:
    of_readme, of_page = [*_blocks("main", README), _made_up("main")], [*_blocks("arms", PAGE), _made_up("arms")]
    assert (len(of_readme) > 1) == bool(FILES)
    assert len(of_page) == len(FILES) + 1
    for study, text in (*of_readme, *of_page):
        titles, *rows = _rows(text)
        is_readme = (study, text) in of_readme
        left_out = {*study["arms"]} - {row[0].split(",")[0] for row in rows}
        assert left_out == ({"identity", "V+O", "V+V+V", "O+O+O"} & {*study["arms"]} if is_readme else set())
        for name, *cells in rows:
            arm = name.split(",")[0]
            for title, cell in zip(titles[1:], cells, strict=True):
                expected = _mean_and_deviation(study, arm, _quantities(study, title))
                if expected is None:
                    assert cell == "\N{EN DASH}", (arm, title)
                    continue
                shown = [float(part) for part in cell.replace(MINUS, "-").split("±")]
                assert shown == pytest.approx(expected[: len(shown)], abs=0.0051), (arm, title)
                assert len(shown) == 2 or study["arms"][arm]["role"] == "ensemble"


def test_the_tables_of_verdicts_have_every_claim_as_it_came_out() -> None:
    blocks = [*_blocks("verdicts", PAGE), _made_up("verdicts")]
    assert len(blocks) == len(FILES) + 1
    for study, text in blocks:
        _, *rows = _rows(text)
        assert [row[1] for row in rows] == [claim["says"] for claim in study["claims"]]
        for row, claim in zip(rows, study["claims"], strict=True):
            _, verdict, why = row[2].split("**")
            assert (row[0], verdict, int(row[6])) == (claim["finding"], claim["verdict"], claim["num_seeds"])
            assert why.strip() == claim.get("why", "")
            shown = [float(part) for part in re.findall(r"[+-][\d.]+", row[3].replace(MINUS, "-"))]
            assert shown == pytest.approx([claim.get("effect"), *(claim.get("ci95") or [])], abs=0.0051), claim["name"]
            p = claim.get("p_holm")
            assert row[5] == ("\N{EN DASH}" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}")


def test_the_verdicts_are_counted_as_they_are() -> None:
    for study, text in _blocks("said", README):
        found = [claim["verdict"] for claim in study["claims"]]
        (said,) = re.findall(
            r"Of (\d+) claims.* (\d+) hold, (\d+) do not hold and (\d+) are undecided", " ".join(text.split())
        )
        counts = [found.count(one) for one in ("holds", "does not hold", "undecided")]
        assert list(map(int, said)) == [len(found), *counts]
    for study, text in [*_blocks("verdicts", PAGE), _made_up("verdicts")]:
        found = [claim["verdict"] for claim in study["claims"]]
        total, holds, does_not, undecided = map(int, re.findall(r"\d+", text.splitlines()[0])[:4])
        assert (total, holds) == (len(found), found.count("holds"))
        assert (does_not, undecided) == (found.count("does not hold"), found.count("undecided"))


def _known(study: dict[str, Any]) -> set[str]:
    """Every number that may be said of a study: effects and their ends, parts, and means of arms; in two decimals."""
    numbers = [float(value) for value in study["hours"].values()]
    for claim in study["claims"]:
        for one in (claim, *claim.get("parts", [])):
            numbers += [one.get("effect") or 0.0, *(one.get("ci95") or []), *(one.get("images_ci95") or [])]
        numbers += [claim["smallest"], claim.get("p_orders") or 0.0, *(claim.get("holm_interval") or [])]
    kinds = [
        [name for name, one in study["quantities"].items() if one.get("kind") == kind and name.startswith(prefix)]
        for kind in ("spatial", "appearance")
        for prefix in ("invariance/", "views/")
    ]
    for arm in study["arms"]:
        for quantities in (*([name] for name in study["quantities"]), *filter(None, kinds)):
            numbers += _mean_and_deviation(study, arm, quantities) or ()
    return {f"{abs(value):.2f}" for value in numbers}


def _intervals(study: dict[str, Any]) -> set[tuple[str, ...]]:
    """Every effect of a claim, or of a part of one, with its interval, in either direction; in two decimals."""
    found = set()
    for claim in study["claims"]:
        for one in (claim, *claim.get("parts", [])):
            if one.get("ci95"):
                effect, (low, high) = one["effect"], one["ci95"]
                for numbers in ((effect, low, high), (-effect, -high, -low)):
                    found.add(tuple(f"{round(number, 2) + 0:.2f}" for number in numbers))
    return found


def test_what_is_said_of_the_studies_has_numbers_of_theirs() -> None:
    blocks = _blocks("said", README, PAGE)
    assert len(blocks) >= len(FILES)
    for study, text in blocks:
        known = _known(study)
        said = re.findall(r"(?<![\d.])\d\.\d+", text)
        assert said, text[:80]
        for number in said:
            assert f"{float(number):.2f}" in known, f"{number} is no number of study {study['name']}"
        intervals = _intervals(study)
        for found in _EFFECT.finditer(text.replace(MINUS, "-")):
            effect = tuple(f"{float(number) + 0:.2f}" for number in found.groups())
            assert effect in intervals, f"{found[0]} is no effect of study {study['name']} with its interval"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_a_published_study_is_what_its_preset_says_and_names_no_place(path: Path) -> None:
    from solo_invariance.study.run import checked_plan, preset_named

    study, name = StudyResult.read(path), path.parent.name
    settings = preset_named(name)
    plan = checked_plan(settings)
    assert study.name == name
    assert study.seeds == tuple(settings.chosen_seeds)
    assert len(study.seeds) >= 3
    written = {claim["says"]: claim for claim in settings.study.claims.values()}
    assert {claim.says for claim in study.claims} == {*written}
    for claim in study.claims:
        assert (claim.smallest, claim.finding) == (written[claim.says]["smallest"], str(written[claim.says]["finding"]))
    config = study.config["study"]
    assert config["pretrain"]["max_epochs"] == settings.study.pretrain["max_epochs"]
    assert (config["measure"]["k"], config["width"]) == (settings.study.measure.k, settings.study.width)
    assert {*study.arms} == {*plan.members}
    assert not re.search(r"/(home|root|work|tmp|Users)/", path.read_text())
    assert path.stat().st_size < 1_000_000
