"""Backbones that were measured on the same images are compared image by image."""

from pathlib import Path

import numpy as np
import pytest

from solo_invariance import compare
from solo_invariance.report.caveats import caveats
from solo_invariance.report.collect import Results, collect_results
from solo_invariance.report.columns import Column, mean_column
from solo_invariance.report.grids import Grid, invariance_grid, mean_ranks, transfer_grid
from solo_invariance.report.headline import headline
from solo_invariance.report.paired import compared
from solo_invariance.report.scores import scored_tasks
from solo_invariance.results import InvarianceComparison, TransferComparison
from tests.report.planted import NAMES, scores, write_measured, write_scored

ROTATION = Column("rotation", "spatial")


def said(results: Results) -> str:
    return " ".join("".join(parts) for parts in headline(results))


def marks(grid: Grid, column: Column) -> dict[str, str]:
    return {label: row[column].mark for label, row in grid.cells.items()}


@pytest.fixture
def small_but_consistent(tmp_path: Path) -> Path:
    """Two backbones whose difference is a twentieth of how much images vary, and the same on every image."""
    easy, noise = scores(0), np.random.default_rng(1).normal(0, 0.02, 200)
    write_measured(tmp_path / "a", "a", {"rotation": easy})
    write_measured(tmp_path / "b", "b", {"rotation": easy - 0.01 + noise})
    return tmp_path


def test_a_small_but_consistent_difference_is_found(small_but_consistent: Path) -> None:
    results = collect_results([small_but_consistent])
    first, second = (row.transforms["rotation"].similarity for row in results.rows)
    assert first.overlaps(second)
    assert said(results).startswith("a is the most invariant to spatial changes (mean similarity ")
    assert "; b is 0.01 [0.01, 0.01] behind)" in said(results)
    assert marks(invariance_grid(results, "similarity"), ROTATION) == {"a": "best", "b": ""}


def test_without_arrays_the_same_intervals_overlap(tmp_path: Path) -> None:
    easy = scores(0)
    write_measured(tmp_path / "a", "a", {"rotation": easy}, arrays=False)
    write_measured(tmp_path / "b", "b", {"rotation": easy - 0.01}, arrays=False)
    results = collect_results([tmp_path])
    assert said(results).startswith("a and b, whose intervals overlap, come first in invariance")
    assert "distinguishable" not in said(results)
    assert marks(invariance_grid(results, "similarity"), ROTATION) == {"a": "best", "b": "overlap"}


def test_no_consistent_difference_is_not_distinguishable(tmp_path: Path) -> None:
    easy, noise = scores(0), np.random.default_rng(1).normal(0, 0.02, 200)
    write_measured(tmp_path / "a", "a", {"rotation": easy})
    write_measured(tmp_path / "b", "b", {"rotation": easy - 0.0005 + noise - noise.mean()})
    results = collect_results([tmp_path])
    assert said(results).startswith("a and b are not distinguishable as the most invariant to spatial changes")
    assert marks(invariance_grid(results, "similarity"), ROTATION) == {"a": "best", "b": "tied"}


def test_on_other_images_backbones_are_not_compared(tmp_path: Path) -> None:
    write_measured(tmp_path / "a", "a", {"rotation": scores(0)})
    others = [f"other {name}" for name in NAMES]
    write_measured(tmp_path / "b", "b", {"rotation": scores(0) - 0.01}, names=others, config={"data": {"path": "else"}})
    results = collect_results([tmp_path])
    assert said(results).startswith(
        "a and b were measured on different images and not compared in invariance to spatial"
    )
    assert said(results).endswith("; intervals overlap).")
    assert marks(invariance_grid(results, "similarity"), ROTATION) == {"a": "", "b": ""}
    assert caveats(results)[0] == (
        "The images differ between the invariance results (photos (set 1): a; else (set 2): b): backbones are compared "
        "with those of the same images only."
    )


def test_a_third_on_other_images_leaves_the_pair_alone(small_but_consistent: Path) -> None:
    others = [f"other {name}" for name in NAMES]
    write_measured(small_but_consistent / "c", "c", {"rotation": scores(0) + 0.3}, names=others)
    results = collect_results([small_but_consistent])
    sentence = (
        "a is the most invariant to spatial changes (mean similarity 0.50 over 1 transform, of 2 on the same images;"
    )
    assert said(results).startswith(sentence)
    assert "c was measured on other images and not compared" in said(results)
    assert marks(invariance_grid(results, "similarity"), ROTATION) == {"a": "best", "b": "", "c": ""}


def test_images_in_memory_of_the_same_names_are_told_apart_by_their_contents(tmp_path: Path) -> None:
    for label, fingerprint in (("a", "1"), ("b", "2")):
        images = {"fingerprint": fingerprint, "known_by": "content"}
        write_measured(tmp_path / label, label, {"rotation": scores(0)}, images=images)
    results = collect_results([tmp_path])
    assert compared(results).of("similarity", ROTATION).pairs == {}
    assert "not compared" in said(results)


def test_differences_are_those_that_against_writes(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    labels = ("a", "b", "c")
    for label in labels:
        similar = {name: scores(0) + draw.normal(0, 0.05, 200) for name in ("rotation", "shear")}
        write_measured(tmp_path / label, label, similar)
    results = collect_results([tmp_path])
    found = compared(results)
    for name in ("rotation", "shear"):
        for metric in ("similarity", "distance"):
            pairs = found.of(metric, Column(name, "spatial")).pairs  # type: ignore[arg-type]
            assert pairs
            for (ours, theirs), difference in pairs.items():
                written = compare(tmp_path / ours, tmp_path / theirs, seed=3)
                assert isinstance(written, InvarianceComparison)
                expected = written.transforms[name].metric(metric)
                assert difference.mean == pytest.approx(expected.mean, rel=1e-9)
                assert difference.ci95 == pytest.approx(expected.ci95, rel=1e-9)
                assert difference.standard_error == pytest.approx(expected.standard_error, rel=1e-9)


def test_the_mean_over_a_kind_has_the_interval_of_images(tmp_path: Path) -> None:
    """Two transforms whose errors cancel: the mean of each image is nearly the same, and so is the kind's."""
    noise = np.random.default_rng(3).normal(0, 0.2, 200)
    same = np.random.default_rng(4).normal(0, 0.01, 200)
    for label, shift in (("a", 0.02), ("b", 0.0)):
        write_measured(tmp_path / label, label, {"rotation": 0.5 + noise + same + shift, "shear": 0.5 - noise + same})
    results = collect_results([tmp_path])
    grid = invariance_grid(results, "similarity")
    mean = grid.cells["a"][mean_column("spatial")].estimate
    assert mean.mean == pytest.approx(0.51 + same.mean())
    assert mean.high - mean.low == pytest.approx(2 * 1.96 * 0.01 / np.sqrt(200), rel=0.15)
    assert marks(grid, mean_column("spatial")) == {"a": "best", "b": ""}
    difference = grid.cells["b"][mean_column("spatial")].difference
    assert difference is not None
    assert difference.ci95 == pytest.approx((-0.01, -0.01), abs=1e-9)


def _predictions(targets: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.where(right, targets, (targets + 1) % 10)


def test_scores_are_paired_by_test_images(tmp_path: Path) -> None:
    """b misses twelve images that a gets right, and no others: marginal intervals of 200 images overlap."""
    targets = np.random.default_rng(0).integers(0, 10, 200)
    right = np.arange(200) < 140
    fewer = np.arange(200) < 128
    write_scored(tmp_path / "a", "a", "shape", _predictions(targets, right), targets)
    write_scored(tmp_path / "b", "b", "shape", _predictions(targets, fewer), targets)
    results = collect_results([tmp_path])
    assert results.rows[0].transfer[0].score.overlaps(results.rows[1].transfer[0].score)
    assert said(results) == "a is the best on shape (accuracy 0.700)."
    (task,) = scored_tasks(results).values()
    difference = task.difference("b", "a")
    written = compare(tmp_path / "b", tmp_path / "a", seed=3)
    assert isinstance(written, TransferComparison)
    assert difference is not None
    assert (difference.mean, difference.ci95) == (written.difference.mean, written.difference.ci95)


def test_r2_is_paired_as_against_writes_it(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    targets = draw.normal(size=150)
    shared = draw.normal(0, 0.5, 150)
    for label, noise in (("a", 0.1), ("b", 0.3), ("c", 0.31)):
        write_scored(tmp_path / label, label, "hue", targets + shared + draw.normal(0, noise, 150), targets, "r2")
    results = collect_results([tmp_path])
    (task,) = scored_tasks(results).values()
    for ours, theirs in (("b", "a"), ("c", "a"), ("c", "b")):
        written, difference = compare(tmp_path / ours, tmp_path / theirs, seed=3), task.difference(ours, theirs)
        assert isinstance(written, TransferComparison)
        assert difference is not None
        assert (difference.mean, difference.ci95) == (written.difference.mean, written.difference.ci95)


def test_whom_a_backbone_cannot_be_told_from_counts_half_in_its_rank(tmp_path: Path) -> None:
    """a and b differ on one image of 200, and c is far behind."""
    targets = np.random.default_rng(0).integers(0, 10, 200)
    for label, count in (("a", 141), ("b", 140), ("c", 80)):
        write_scored(tmp_path / label, label, "shape", _predictions(targets, np.arange(200) < count), targets)
    results = collect_results([tmp_path])
    assert mean_ranks(transfer_grid(results)) == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert said(results) == "a and b share the first place on shape (accuracy 0.705)."


def test_scores_on_other_test_images_are_not_compared(tmp_path: Path) -> None:
    targets = np.random.default_rng(0).integers(0, 10, 200)
    for label, count in (("a", 180), ("b", 140)):
        predictions = _predictions(targets, np.arange(200) < count)
        write_scored(tmp_path / label, label, "shape", predictions, targets, test_images=label)
    results = collect_results([tmp_path])
    assert marks(transfer_grid(results), Column("shape", "tasks", "accuracy")) == {"a": "", "b": ""}
    assert said(results) == ""
    assert "No task was scored for every backbone on the same test images, so they are not ranked." in caveats(results)


def test_a_damaged_file_of_arrays_is_said_and_not_compared(small_but_consistent: Path) -> None:
    (small_but_consistent / "b" / "rotation.npz").write_bytes(b"no arrays")
    results = collect_results([small_but_consistent])
    assert marks(invariance_grid(results, "similarity"), ROTATION) == {"a": "best", "b": "overlap"}
    assert any("rotation.npz: cannot be read" in caveat for caveat in caveats(results))
