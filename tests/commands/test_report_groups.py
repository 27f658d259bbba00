"""The terminal's table of backbones that are one thing with several seeds."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from rich.console import Console

from solo_invariance.commands.report_tables import print_tables
from solo_invariance.report.collect import collect_results

Make = Callable[..., Any]


def printed(runs: Path, columns: int) -> str:
    """What a terminal of so many columns has, without colours."""
    text = io.StringIO()
    print_tables(collect_results([runs]), Console(file=text, width=columns, color_system=None))
    return text.getvalue()


@pytest.mark.parametrize("columns", [80, 120])
def test_seeds_are_put_together_with_their_mean_and_spread(
    tmp_path: Path, write_invariance: Make, write_transfer: Make, make_transform: Make, columns: int
) -> None:
    families = {"default": [0.5, 0.6, 0.4], "ventral": [0.9, 0.8, 0.85], "dorsal": [0.2, 0.1, 0.3]}
    for family, values in families.items():
        for seed, value in enumerate(values):
            write_invariance(f"runs/{family}/{seed}", family, transforms={"rotation": make_transform(value)})
            write_transfer(f"runs/{family}/{seed}", family, "shape", 1 - value)
    write_invariance("runs/alone", "alone", transforms={"rotation": make_transform(0.25)})
    out = printed(tmp_path / "runs", columns)
    assert max(map(len, out.splitlines())) <= columns
    (similarity, transfer) = out.split("mean ± SD over seeds")[1:3]
    heads = re.findall(r"(\w+) \((\d)\)", similarity)[:4]
    assert dict(heads) == {"default": "3", "dorsal": "3", "ventral": "3", "alone": "1"}
    (row,) = (line for line in similarity.splitlines() if "rotation" in line)
    found = [cell.strip() for cell in row.strip("│").split("│")[1:]]
    means = {family: f"{fmean(values):.2f} ± {stdev(values):.2f}" for family, values in families.items()}
    assert found == [{**means, "alone": "0.25"}[name] for name, _ in heads]
    assert f"{1 - fmean(families['ventral']):.3f} ± {stdev(families['ventral']):.3f}" in transfer


def test_fewer_than_six_backbones_are_shown_by_themselves(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    for seed in range(5):
        write_invariance(f"runs/{seed}", "ventral", transforms={"rotation": make_transform(0.5)})
    assert "over seeds" not in printed(tmp_path / "runs", 80)
