import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_invariance.report import build_report
from solo_invariance.report.collect import collect_results
from solo_invariance.report.grids import invariance_grid
from solo_invariance.report.groups import FEWEST_FOLDED, folded, groups_of, shown_groups, spread

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (["ventral seed0", "ventral seed1", "dorsal seed0"], {"ventral": 2, "dorsal seed0": 1}),
        (["a-seed=3", "a-seed=4", "a_seed_5", "a (seed 6)"], {"a": 4}),
        (["resnet18", "resnet50"], {"resnet18": 1, "resnet50": 1}),  # numbers alone are no seeds
        (["seed1", "seed2"], {"seed1": 1, "seed2": 1}),
        (["seedling 1", "seedling 2"], {"seedling 1": 1, "seedling 2": 1}),
    ],
)
def test_labels_that_differ_by_a_seed_are_a_group(
    tmp_path: Path, write_invariance: Make, labels: list[str], groups: dict[str, int]
) -> None:
    for index, label in enumerate(labels):
        write_invariance(str(index), label)
    found = groups_of(collect_results([tmp_path]).rows)
    assert {group.label: len(group.rows) for group in found} == groups


def test_runs_of_one_label_in_folders_of_their_own_are_a_group(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    for index in range(3):
        write_invariance(f"run{index}", "ventral", transforms={"hue": make_transform(0.5 + index / 10)})
    results = collect_results([tmp_path])
    (group,) = groups_of(results.rows)
    assert (group.label, len(group.rows)) == ("ventral", 3)
    grid = invariance_grid(results, "similarity")
    over = spread(grid, group.rows, grid.columns[0])
    assert over == pytest.approx((0.6, 0.1, 3))  # the standard deviation of 0.5, 0.6 and 0.7, with n - 1


def test_few_rows_are_not_folded(tmp_path: Path, write_invariance: Make) -> None:
    for index in range(FEWEST_FOLDED - 1):
        write_invariance(str(index), f"a seed{index}")
    assert len(folded(collect_results([tmp_path]).rows)) == FEWEST_FOLDED - 1
    write_invariance("another", "a seed99")
    assert len(folded(collect_results([tmp_path]).rows)) == 1


@pytest.fixture
def seeds(tmp_path: Path, write_invariance: Make, write_transfer: Make, make_transform: Make) -> Path:
    """Four families of ten seeds."""
    for family in range(4):
        for seed in range(10):
            label, mean = f"f{family} seed{seed}", 0.2 * family + 0.01 * seed + 0.001
            write_invariance(f"runs/{family}/{seed}", label, transforms={"hue": make_transform(mean)})
            write_transfer(f"runs/{family}/{seed}", label, "shape", mean)
    return tmp_path / "runs"


def test_seeds_are_folded_under_their_mean_and_all_are_there(seeds: Path, tmp_path: Path) -> None:
    assert [group.label for group in shown_groups(collect_results([seeds]))] == ["f0", "f1", "f2", "f3"]
    page = build_report([seeds], tmp_path / "report.html").read_text(encoding="utf-8")
    heat = page[page.index('id="similarity-1"') : page.index('class="under"')]
    rows = re.findall(r"<tr>\s*<th.*?<span>(f\d)</span>.*?>([\d.]+)<small>± ([\d.]+)</small>", heat, re.DOTALL)
    # Of 0.001, 0.011 ... 0.091 the mean is 0.046, and the standard deviation 0.030.
    assert rows == [("f0", "0.05", "0.03"), ("f1", "0.25", "0.03"), ("f2", "0.45", "0.03"), ("f3", "0.65", "0.03")]
    assert heat.count('<tr class="member">') == 40
    # Forty backbones on one task, the better the later, are ranked from 40 to 1: each ten have their mean.
    ranks = re.findall(r'<td class="rank">([\d.]+)<small>± ([\d.]+)</small></td>', page)
    assert [mean for mean, _ in ranks] == ["35.50", "25.50", "15.50", "5.50"]
    assert {deviation for _, deviation in ranks} == {"3.03"}  # of ten numbers in a row
    assert heat.count('class="unfold"') == 4
    assert page.count("tbody:has(.unfold:not(:checked)) .member { display: none }") == 1
    assert "too many" not in page


def test_groups_can_be_left_out(seeds: Path, tmp_path: Path) -> None:
    page = build_report([seeds], tmp_path / "report.html").read_text(encoding="utf-8")
    for index in range(4):
        assert page.count(f'id="show-{index}" checked') == 1
        assert f"body:has(#show-{index}:not(:checked)) .of-{index} {{ display: none }}" in page
        # The rows of each table, the curves and the legend.
        assert len(re.findall(rf'<tbody class="of-{index}">', page)) == 4
        assert re.search(rf'<path class="curve [^"]* of-{index}"', page)
        assert f'<li class="of-{index}">' in page


def of_run(family: str | None, seed: int | None, **changes: Any) -> dict[str, Any]:
    """What a result says of a backbone that was trained by a run's configuration."""
    record = {"name": "resnet10", "checkpoint": f"{family}-{seed}.ckpt", "num_features": 128}
    return {"backbone": {**record, "family": family, "seed": seed, **changes}}


@pytest.mark.parametrize(
    ("runs", "groups"),
    [
        ({"one": ("ventral", 1), "two": ("ventral", 2), "other": ("dorsal", 1)}, {"ventral": 2, "other": 1}),
        ({"fast": ("ventral", 1), "slow": ("ventral", 1)}, {"fast": 1, "slow": 1}),  # they differ by more than a seed
        ({"one": ("ventral", None), "two": ("ventral", None)}, {"one": 1, "two": 1}),
        ({"one": (None, 1), "two": (None, 2)}, {"one": 1, "two": 1}),
        # What labels say goes first.
        ({"a seed1": ("ventral", 1), "a seed2": ("ventral", 2), "b": ("ventral", 3)}, {"a": 2, "b": 1}),
    ],
)
def test_runs_of_one_family_and_different_seeds_are_a_group(
    tmp_path: Path, write_invariance: Make, runs: dict[str, tuple[str | None, int | None]], groups: dict[str, int]
) -> None:
    for index, (label, (family, seed)) in enumerate(runs.items()):
        write_invariance(str(index), label, **of_run(family, seed))
    found = groups_of(collect_results([tmp_path]).rows)
    assert {group.label: len(group.rows) for group in found} == groups


@pytest.mark.parametrize("changes", [{"name": "resnet18"}, {"num_features": 64}])
def test_runs_of_different_networks_are_no_group(
    tmp_path: Path, write_invariance: Make, changes: dict[str, Any]
) -> None:
    write_invariance("1", "one", **of_run("ventral", 1))
    write_invariance("2", "two", **of_run("ventral", 2, **changes))
    assert [group.label for group in groups_of(collect_results([tmp_path]).rows)] == ["one", "two"]


def test_ensembles_of_seeds_are_a_group(tmp_path: Path, write_invariance: Make) -> None:
    for seeds in ("0-1-2", "0-1-3", "1-2-3"):
        write_invariance(seeds, f"V+V+V seeds {seeds}")
    (group,) = groups_of(collect_results([tmp_path]).rows)
    assert (group.label, len(group.rows)) == ("V+V+V", 3)
