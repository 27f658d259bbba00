"""Differences as tables: from the best, from a baseline, and what ``against=`` wrote beside the results."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from solo_invariance import compare
from solo_invariance.commands.report_tables import print_tables
from solo_invariance.errors import UserError
from solo_invariance.report import build_report
from solo_invariance.report.caveats import caveats
from solo_invariance.report.collect import Results, collect_results
from solo_invariance.report.differences import DifferenceTable, difference_tables, known_comparisons
from tests.report.planted import scores, write_measured, write_scored


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """c is 0.2 more invariant than a, and a 0.1 more than b, on every image; on the task, a is the best."""
    targets = np.random.default_rng(0).integers(0, 10, 200)
    for label, shift, right in (("a", 0.1, 180), ("b", 0.0, 100), ("c", 0.3, 140)):
        write_measured(tmp_path / "m" / label, label, {"rotation": scores(0) + shift, "shear": scores(1) + shift})
        predictions = np.where(np.arange(200) < right, targets, (targets + 1) % 10)
        write_scored(tmp_path / "t" / label, label, "shape", predictions, targets)
    return tmp_path


def means(table: DifferenceTable) -> dict[str, list[float | str | None]]:
    return {
        label: [cell and (round(cell.difference.mean, 6) if cell.difference else cell.said) for cell in cells]
        for label, cells in table.rows.items()
    }


def printed(results: Results, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_tables(results, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_each_backbone_minus_the_best_of_each_column(three: Path) -> None:
    similarity, score = difference_tables(collect_results([three]))
    assert similarity.title == "Similarity minus that of the best of each column"
    assert [column.name for column in similarity.columns] == ["rotation", "shear", "mean"]
    assert means(similarity) == {"a": [-0.2, -0.2, -0.2], "b": [-0.3, -0.3, -0.3], "c": ["best", "best", "best"]}
    assert means(score) == {"a": ["best"], "b": [-0.4], "c": [-0.2]}
    assert [column.name for column in similarity.summary().columns] == ["mean"]


def test_each_backbone_minus_a_baseline(three: Path) -> None:
    similarity, score = difference_tables(collect_results([three], baseline="b"))
    assert similarity.title == "Similarity minus that of b"
    assert means(similarity) == {"a": [0.1, 0.1, 0.1], "b": ["baseline"] * 3, "c": [0.3, 0.3, 0.3]}
    assert means(score) == {"a": [0.4], "b": ["baseline"], "c": [0.2]}


def test_a_baseline_that_is_not_there_is_refused(three: Path) -> None:
    with pytest.raises(UserError, match="baseline=d: no such backbone; there are a, b, c"):
        collect_results([three], baseline="d")


def test_without_arrays_there_is_no_table(tmp_path: Path) -> None:
    for label in ("a", "b"):
        write_measured(tmp_path / label, label, {"rotation": scores(0)}, arrays=False)
    assert difference_tables(collect_results([tmp_path])) == []


def test_the_page_has_differences_and_what_against_found(three: Path) -> None:
    compare(three / "m" / "b", three / "m" / "a", seed=3)
    compare(three / "t" / "b", three / "t" / "a", seed=3)
    results = collect_results([three])
    assert [(one.title, one.metrics) for one in known_comparisons(results)] == [
        ("b minus a", ("similarity", "distance")),
        ("b minus a", ("accuracy",)),
    ]
    page = build_report([three], three / "report.html").read_text(encoding="utf-8")
    assert "Similarity minus that of the best of each column" in page
    found = page[page.index('id="differences"') :]
    assert "b minus a, as <code>against=</code> found it" in found
    assert re.search(r">rotation</th><td class=\"best\">\s*\N{MINUS SIGN}0.100<small>", found)
    assert re.search(r">shape</th><td class=\"best\">\s*\N{MINUS SIGN}0.400<small>", found)


def test_the_terminal_has_the_differences_of_means_and_tasks(three: Path) -> None:
    text = printed(collect_results([three]), 100)
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines()]
    assert ["b", "\N{MINUS SIGN}0.300 [\N{MINUS SIGN}0.300, \N{MINUS SIGN}0.300]"] in rows
    assert any(row[0] == "a" and row[1] == "best" for row in rows)
    assert "The table of invariance makes 9 comparisons" in " ".join(text.split())
    assert "of the 6 paired differences" in " ".join(text.split())


def test_twenty_backbones_stay_within_eighty_columns_and_a_screen_or_four(tmp_path: Path) -> None:
    for index in range(20):
        similar = {"rotation": scores(0) + index / 50, "hue": scores(1) - index / 50}
        write_measured(tmp_path / f"{index}", f"backbone-{index:02}", similar)
    text = printed(collect_results([tmp_path]), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) < 90


def test_the_page_is_named_before_the_tables(cli, three: Path) -> None:
    code, text, err = cli("report", f"runs=[{three}]", f"out={three / 'page.html'}", "baseline=b")
    assert code == 0, err
    assert text.index("page.html") < text.index("Similarity")
    assert "Similarity minus that of b" in text


def test_references_and_sizes_that_differ_are_named(tmp_path: Path) -> None:
    for label, size, fingerprint in (("a", 32, "one"), ("b", 64, "two")):
        reference = {"num_images": 100, "fingerprint": fingerprint}
        geometry = {"resize": 80, "crop_size": size}
        write_measured(tmp_path / label, label, {"rotation": scores(0)}, reference=reference, geometry=geometry)
    assert caveats(collect_results([tmp_path])) == [
        "The size of images and crops differs between the invariance results (resize 80, crop_size 32: a; resize 80, "
        "crop_size 64: b).",
        "The reference of mean and covariance differs between the invariance results (one: a; two: b).",
    ]
