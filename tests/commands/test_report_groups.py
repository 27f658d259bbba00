"""The terminal's table of backbones that are one thing with several seeds."""

import re
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.mark.parametrize("columns", ["80", "120"])
def test_seeds_are_put_together_with_their_mean_and_spread(
    cli: Any,
    tmp_path: Path,
    write_invariance: Make,
    write_transfer: Make,
    make_transform: Make,
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    families = {"default": [0.5, 0.6, 0.4], "ventral": [0.9, 0.8, 0.85], "dorsal": [0.2, 0.1, 0.3]}
    for family, values in families.items():
        for seed, value in enumerate(values):
            write_invariance(f"runs/{family}/{seed}", family, transforms={"rotation": make_transform(value)})
            write_transfer(f"runs/{family}/{seed}", family, "shape", 1 - value)
    write_invariance("runs/alone", "alone", transforms={"rotation": make_transform(0.25)})
    code, out, _ = cli("report", f"runs=[{tmp_path}/runs]", f"out={tmp_path}/report.html")
    assert code == 0
    assert max(map(len, out.splitlines()[1:])) <= int(columns)
    (similarity, transfer) = out.split("mean ± SD over seeds")[1:3]
    heads = re.findall(r"(\w+) \((\d)\)", similarity)[:4]
    assert dict(heads) == {"default": "3", "dorsal": "3", "ventral": "3", "alone": "1"}
    (row,) = (line for line in similarity.splitlines() if "rotation" in line)
    found = [cell.strip() for cell in row.strip("│").split("│")[1:]]
    means = {family: f"{fmean(values):.2f} ± {stdev(values):.2f}" for family, values in families.items()}
    assert found == [{**means, "alone": "0.25"}[name] for name, _ in heads]
    assert f"{1 - fmean(families['ventral']):.3f} ± {stdev(families['ventral']):.3f}" in transfer


def test_fewer_than_six_backbones_are_shown_by_themselves(
    cli: Any, tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    for seed in range(5):
        write_invariance(f"runs/{seed}", "ventral", transforms={"rotation": make_transform(0.5)})
    _, out, _ = cli("report", f"runs=[{tmp_path}/runs]", f"out={tmp_path}/report.html")
    assert "over seeds" not in out
