import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from solo_invariance.commands.study_tables import print_study
from solo_invariance.results.study import StudyResult
from tests.study.made_up import made_up_study


def printed(study: StudyResult, width: int = 80) -> str:
    """What a terminal of so many columns has, without colours."""
    text = io.StringIO()
    print_study(study, Console(file=text, width=width, color_system=None))
    return text.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_verdicts_fit_the_terminal_and_are_whole(width: int) -> None:
    study = made_up_study()
    text = printed(study, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    found = re.findall(r"([✓✗?]) (holds|does not hold|undecided)  ", text)
    signs = {"holds": "✓", "does not hold": "✗", "undecided": "?"}
    assert found == [(signs[claim.verdict], claim.verdict) for claim in study.claims]
    rows = re.findall(r"([+\N{MINUS SIGN}][\d.]+) (\[.*?\]) +(\d) +(< 0.001|[\d.]+)", text)
    assert len(rows) == len(study.claims)
    for (effect, ends, seeds, p), claim in zip(rows, study.claims, strict=True):
        assert claim.ci95 and claim.effect is not None and claim.p_holm is not None  # noqa: PT018
        numbers = [float(one.replace("\N{MINUS SIGN}", "-")) for one in (effect, *ends.strip("[]").split(", "))]
        assert numbers == pytest.approx([claim.effect, *claim.ci95], abs=0.0051)
        assert int(seeds) == claim.num_seeds
        assert p == ("< 0.001" if claim.p_holm < 0.001 else f"{claim.p_holm:.3f}")
    for claim in study.claims:
        decimals = 2 if claim.unit == "rho" else 3
        assert claim.images_ci95
        ends = ", ".join(f"{end:+.{decimals}f}" for end in claim.images_ci95).replace("-", "\N{MINUS SIGN}")
        assert f"[{ends}]" in text


def test_what_is_to_be_known_of_several_claims_is_said_once() -> None:
    text = printed(made_up_study(seeds=(3,)), width=400)
    assert text.count("There is one seed.") == 1
    assert "fusion beats ensembles: It was not measured by any seed." in text
    assert "11 are undecided, by one seed" in text


def test_report_shows_the_verdicts_of_a_study(
    cli: Callable[..., tuple[int, str, str]], tmp_path: Path, write_invariance: Callable[..., Path]
) -> None:
    write_invariance("runs/measure/a/0", "a")
    study = made_up_study()
    study.write(tmp_path / "runs" / "study.json")
    code, out, _ = cli("report", f"runs=[{tmp_path}/runs]", f"out={tmp_path}/report.html")
    assert code == 0
    assert "Of 11 claims, 9 hold, 1 does not hold and 1 is undecided" in out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    badges = re.findall(r'class="verdict [\w-]+"><span aria-hidden="true">.</span> ([\w ]+)<', page)
    assert badges == [claim.verdict for claim in study.claims]
    assert "Its page" not in page
    (tmp_path / "runs" / "study.html").write_text("")
    cli("report", f"runs=[{tmp_path}/runs]", f"out={tmp_path}/report.html")
    assert '<a href="runs/study.html">Its page</a>' in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_report_of_a_study_alone(cli: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    made_up_study().write(tmp_path / "studies" / "planted" / "study.json")
    code, out, _ = cli("report", f"runs=[{tmp_path}/studies]", f"out={tmp_path}/report.html")
    assert code == 0
    assert "Study planted" in out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("does not hold</span>") == 2  # the sentence's and the claim's
    assert "Provenance" not in page


def test_a_broken_study_is_one_line(cli: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    content = made_up_study().as_content()
    content["claims"][0]["verdict"] = "perhaps"
    file = tmp_path / "studies" / "study.json"
    file.parent.mkdir()
    file.write_text(json.dumps(content))
    code, _, err = cli("report", f"runs=[{tmp_path}/studies]", f"out={tmp_path}/report.html")
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert "claims[0].verdict" in err
