"""Reports of more backbones than anybody reads side by side."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fuzz.odd_values import MARKUP
from fuzz.verdict import page_faults
from solo_invariance.commands.report_tables import print_tables
from solo_invariance.report import Results, build_report, collect_results
from solo_invariance.report.caveats import caveats
from solo_invariance.report.headline import headline
from solo_invariance.report.leaders import MOST_IN_FULL, NUM_LEADERS, leaders

Make = Callable[..., Any]
_COUNT = 60


@pytest.fixture
def many_runs(tmp_path: Path, write_invariance: Make, write_transfer: Make, make_transform: Make) -> Path:
    """Sixty backbones: the later, the more invariant to rotation, and the less to hue; b30 is the best on the task."""
    for number in range(_COUNT):
        share = number / _COUNT
        transforms = {
            "rotation": make_transform(share, half_width=0.001),
            "hue": make_transform(1 - share, "appearance", half_width=0.001),
        }
        write_invariance(f"runs/{number}", f"b{number}", transforms=transforms)
        score = 0.9 - abs(number - 30) / 100
        write_transfer(f"runs/{number}", f"b{number}", task="shape", score=score, half_width=0.001)
    return tmp_path / "runs"


def printed(results: Results, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_tables(results, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_as_many_as_there_are_lines_are_shown_in_full(paper_runs: Path) -> None:
    results = collect_results([paper_runs])
    assert leaders(results) == results.rows
    assert leaders(Results(results.rows[:1] * MOST_IN_FULL)) == results.rows[:1] * MOST_IN_FULL


def test_who_leads_somewhere_is_shown(many_runs: Path) -> None:
    """The first four by each of the three criteria, in the order of the rows."""
    labels = [row.label for row in leaders(collect_results([many_runs]))]
    assert len(labels) == NUM_LEADERS
    assert set(labels) == {"b59", "b58", "b57", "b56", "b0", "b1", "b2", "b3", "b30", "b29", "b31", "b28"}
    found = [row.label for row in collect_results([many_runs]).rows]
    assert labels == sorted(labels, key=found.index)


def test_the_page_of_many_has_the_leaders_in_full_and_all_numbers(many_runs: Path, tmp_path: Path) -> None:
    page = build_report([many_runs], tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count('<path class="curve') == NUM_LEADERS * 3  # two transforms, and the legend
    assert len(re.findall(r'class="pinned">b\d+<small>', page)) == NUM_LEADERS * 4  # two similarities, distance, scores
    assert "60 backbones are too many to show side by side" in page
    text = re.search(r'<pre class="numbers">(.*?)</pre>', page, re.DOTALL)
    assert text is not None
    rows = list(csv.DictReader(io.StringIO(text.group(1))))
    assert len(rows) == 3 * _COUNT
    (hue,) = (row for row in rows if (row["backbone"], row["of"]) == ("b15", "hue"))
    assert (hue["kind"], hue["similarity"], hue["similarity low"], hue["similarity high"]) == (
        *("appearance", "0.75", "0.749", "0.751"),
    )
    (shape,) = (row for row in rows if (row["backbone"], row["kind"]) == ("b15", "task"))
    assert (shape["of"], shape["accuracy by logistic"], shape["similarity"]) == ("shape", "0.75", "")
    # Everybody is in the folded tables and has links to the files.
    for number in range(_COUNT):
        assert page.count(f">b{number}<") >= 2, number
        assert f"runs/{number}/invariance.json" in page
    assert "Configuration" not in page


def test_a_mark_is_of_all_backbones(tmp_path: Path, many_runs: Path) -> None:
    page = build_report([many_runs], tmp_path / "report.html").read_text(encoding="utf-8")
    heat = page[page.index("Similarity of each backbone under each change") : page.index('<div class="ramp">')]
    best = re.findall(r"<td class=\"level-\d+ best[^>]*title=\"(\w+): ([\d.]+)", heat)
    assert best == [("hue", "1.000"), ("rotation", "0.983")]


def test_the_terminal_sums_up_many(many_runs: Path) -> None:
    text = printed(collect_results([many_runs]), 80)
    assert len(text.splitlines()) < 70
    assert max(map(len, text.splitlines())) <= 80
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines()]
    rotation = [row[1:] for row in cells if row[0] == "rotation"]
    # The best, who it is, how many overlap it, the median and the worst: similarity, then distance.
    assert rotation[0] == ["0.98 ● [0.98, 0.98]", "b59", "0", "0.49", "0.00"]
    assert rotation[1] == ["0.2 ● [0.2, 0.2]", "b59", "0", "5.1", "10.0"]
    (shape,) = (row[1:] for row in cells if row[0] == "shape (accuracy)")
    assert shape == ["0.900 ● [0.899, 0.901]", "b30", "0", "0.750", "0.600"]
    assert any(row[0] == "b30" and row[-1] == "1.00" for row in cells)  # its rank
    assert "The page has all numbers of the 60 backbones." in text


def test_some_that_do_not_fit_are_in_several_tables(paper_runs: Path) -> None:
    text = printed(collect_results([paper_runs]), 52)
    assert text.count("Similarity: 1 is invariant") == 2
    assert all(label in text for label in ("ventral", "dorsal", "ventral+dorsal"))
    assert "median" not in text


def test_sentences_name_a_few_of_many(tmp_path: Path, write_invariance: Make, make_transform: Make) -> None:
    for number in range(40):
        transforms = {"rotation": make_transform(0.7 + number / 10_000)}
        write_invariance(
            *(f"runs/{number:02}", f"b{number:02}"),
            transforms=transforms,
            num_images=256 + number,
            cautions=["few images."],
        )
    results = collect_results([tmp_path / "runs"])
    (sentence,) = ("".join(parts) for parts in headline(results))
    assert sentence == (
        "b00, b01, b02 and 37 others, whose intervals overlap, come first in invariance to spatial changes "
        "(mean similarity 0.70 to 0.70 over 1 transform)."
    )
    assert caveats(results) == [
        "The number of images differs between the invariance results "
        "(256: b00; 257: b01; 258: b02; 259: b03; 260: b04; 35 other values).",
        "b00, b01, b02 and 37 others: few images.",
    ]


def test_what_many_results_say_is_escaped(tmp_path: Path, write_invariance: Make, write_transfer: Make) -> None:
    for number in range(MOST_IN_FULL + 1):
        label = f"{MARKUP}{number}"
        transforms = {MARKUP: _transform_of_text(number)}
        write_invariance(f"runs/{MARKUP.replace('/', '|')}{number}", label, transforms=transforms, cautions=[MARKUP])
        write_transfer(f"runs/{number}", label, task=MARKUP, score=number / 100, metric=MARKUP, probe=MARKUP)
    page = build_report([tmp_path / "runs"], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "25 backbones are too many" in page
    assert "canary" in page
    assert page_faults(page) == []


def _transform_of_text(number: int) -> dict[str, Any]:
    mean = number / 100
    estimate = {"mean": mean, "ci95": [mean, mean], "curve": [mean, mean, 0.5]}
    return {"kind": MARKUP, "unit": MARKUP, "parameters": [0, 1, 2], "similarity": estimate, "distance": estimate}
