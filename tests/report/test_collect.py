from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_invariance.errors import UserError
from solo_invariance.report.collect import Results, collect_results

Make = Callable[..., Any]


def labels(results: Results) -> list[str]:
    return [row.label for row in results.rows]


def test_rows_follow_the_order_of_runs_then_of_paths(tmp_path: Path, write_invariance: Make) -> None:
    for directory, label in (("second/b", "b"), ("second/a", "a"), ("first/z", "z")):
        write_invariance(directory, label)
    assert labels(collect_results([tmp_path / "second", tmp_path / "first"])) == ["a", "b", "z"]
    assert labels(collect_results([tmp_path / "first", tmp_path / "second"])) == ["z", "a", "b"]


def test_fused_backbones_come_last_by_label_or_by_name(tmp_path: Path, write_invariance: Make) -> None:
    fused = {"name": "fusion", "checkpoint": None, "sha256": None, "num_features": 256}
    write_invariance("1", "all", backbone=fused)
    write_invariance("2", "ventral+dorsal")
    write_invariance("3", "ventral")
    write_invariance("4", "dorsal")
    assert labels(collect_results([tmp_path])) == ["ventral", "dorsal", "all", "ventral+dorsal"]


def test_files_of_one_label_make_one_row(paper_runs: Path) -> None:
    results = collect_results([paper_runs])
    assert labels(results) == ["dorsal", "ventral", "ventral+dorsal"]
    assert [len(row.files) for row in results.rows] == [3, 3, 3]
    assert set(results.rows[0].transforms) == {"rotation", "resized_crop", "hue", "blur"}
    assert {result.task for result in results.rows[0].transfer} == {"shape", "object_hue"}


def test_a_file_that_is_found_twice_counts_once(paper_runs: Path) -> None:
    twice = collect_results([paper_runs, paper_runs / "ventral", paper_runs / "dorsal" / ".."])
    assert sorted(labels(twice)) == sorted(labels(collect_results([paper_runs])))
    assert len(twice.files) == 9


def test_the_same_measurement_of_two_runs_is_told_apart_by_their_directories(
    tmp_path: Path, write_invariance: Make, write_transfer: Make, make_transform: Make
) -> None:
    for seed in ("seed0", "seed1"):
        write_invariance(f"{seed}/ventral/measure", "ventral", transforms={"hue": make_transform(0.5)})
        write_transfer(f"{seed}/ventral/shape", "ventral", "shape", 0.5)
    write_invariance("seed0/dorsal/measure", "dorsal")
    results = collect_results([tmp_path])
    assert labels(results) == ["dorsal", "ventral (seed0)", "ventral (seed1)"]
    assert [len(row.files) for row in results.rows] == [1, 2, 2]


def test_different_transforms_of_one_label_are_no_conflict(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    write_invariance("a", "ventral", transforms={"hue": make_transform(0.5)})
    write_invariance("b", "ventral", transforms={"blur": make_transform(0.6)})
    (row,) = collect_results([tmp_path]).rows
    assert set(row.transforms) == {"hue", "blur"}


def test_one_label_for_two_checkpoints_is_told_apart(
    tmp_path: Path, write_invariance: Make, write_transfer: Make
) -> None:
    one, other = ({"name": "resnet10", "checkpoint": None, "sha256": sha, "num_features": 8} for sha in ("1", "2"))
    write_invariance("a", "ventral", backbone=one)
    write_transfer("b", "ventral", "shape", 0.5, backbone=other)
    assert labels(collect_results([tmp_path])) == ["ventral (a)", "ventral (b)"]


def test_a_run_in_the_parent_directory_of_another_is_named_after_it(tmp_path: Path, write_transfer: Make) -> None:
    write_transfer("runs", "ventral", "shape", 0.5)
    write_transfer("runs/again", "ventral", "shape", 0.6)
    assert labels(collect_results([tmp_path])) == ["ventral (again)", "ventral (runs)"]


def test_two_checkpoints_with_one_label_in_one_directory_are_an_error(
    tmp_path: Path, write_invariance: Make, write_transfer: Make
) -> None:
    one, other = ({"name": "resnet10", "checkpoint": None, "sha256": sha, "num_features": 8} for sha in ("1", "2"))
    first = write_invariance("run", "ventral", backbone=one)
    second = write_transfer("run", "ventral", "shape", 0.5, backbone=other)
    with pytest.raises(UserError) as error:
        collect_results([tmp_path])
    message = str(error.value)
    assert str(first) in message
    assert str(second) in message
    assert "'ventral'" in message
    assert "give one of them another label" in message


def test_no_run_is_an_error() -> None:
    with pytest.raises(UserError, match="runs: expected at least one directory"):
        collect_results([])


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: is not a directory"):
        collect_results([tmp_path / "nowhere"])


def test_a_directory_without_results_is_an_error_even_beside_one_with_results(paper_runs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: holds no invariance\.json and no transfer\.json\. Run `measure`"):
        collect_results([paper_runs, tmp_path / "empty"])
