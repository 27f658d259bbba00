import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from solo_invariance.commands.report_tables import print_tables
from solo_invariance.report import collect_results

Make = Callable[..., Any]


def printed(*runs: Path, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_tables(collect_results(runs), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row(text: str, name: str) -> list[list[str]]:
    """The cells of every table row with a name, table by table."""
    lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines()]
    return [cells[1:] for cells in lines if cells[0] == name]


def test_prints_the_headline_and_every_number_with_its_interval_and_mark(paper_runs: Path) -> None:
    text = printed(paper_runs)
    assert "ventral is the most invariant to spatial changes" in text
    assert row(text, "rotation") == [
        ["0.20   [0.18, 0.22]", "0.80 ● [0.78, 0.82]", "0.50   [0.48, 0.52]"],
        ["8.00   [7.98, 8.02]", "2.00 ● [1.98, 2.02]", "5.00   [4.98, 5.02]"],
    ]
    assert row(text, "light hue")[0] == ["0.85 ● [0.83, 0.87]", "0.25   [0.23, 0.27]", "0.55   [0.53, 0.57]"]
    assert row(text, "mean")[0] == ["0.15   [0.13, 0.17]", "0.75 ● [0.73, 0.77]", "0.45   [0.43, 0.47]"]
    assert row(text, "shape (accuracy)") == [
        ["0.900 ◌ [0.880, 0.920]", "0.700   [0.680, 0.720]", "0.910 ● [0.890, 0.930]"]
    ]
    assert row(text, "mean rank") == [["2.50", "2.50", "1.00"]]


def test_missing_measurements_are_dashes(paper_runs: Path, write_transfer: Make) -> None:
    write_transfer("runs/ventral/pose", "ventral", "pose", 0.5)
    assert row(printed(paper_runs), "pose (accuracy)") == [["\N{EN DASH}", "0.500   [0.480, 0.520]", "\N{EN DASH}"]]


@pytest.mark.parametrize("width", [40, 70, 80])
def test_a_narrow_terminal_stacks_intervals_and_loses_nothing(paper_runs: Path, width: int) -> None:
    text = printed(paper_runs, width=width)
    assert max(map(len, text.splitlines())) <= width
    if width >= 70:
        assert row(text, "rotation")[0] == ["0.20", "0.80 ●", "0.50"]
        assert re.search(r"│ \[0\.18, 0\.22\] +│ \[0\.78, 0\.82\] +│ \[0\.48, 0\.52\] +│", text)


def test_only_what_exists_is_printed(tmp_path: Path, write_transfer: Make) -> None:
    write_transfer("a", "a", "shape", 0.5)
    text = printed(tmp_path)
    assert "Similarity" not in text
    assert "mean rank" not in text
    assert row(text, "shape (accuracy)") == [["0.500   [0.480, 0.520]"]]


def test_labels_are_text_and_no_markup(tmp_path: Path, write_transfer: Make) -> None:
    write_transfer("a", "[red]a[/red]", "shape", 0.5)
    assert "[red]a[/red]" in printed(tmp_path)


def test_cautions_are_printed(tmp_path: Path, write_invariance: Make) -> None:
    write_invariance("a", "a", protocol="paper")
    write_invariance("b", "b")
    assert "The protocol differs between the invariance results (paper: a; clean: b)." in printed(tmp_path)
