from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from solo_invariance.report.caveats import caveats
from solo_invariance.report.collect import collect_results
from solo_invariance.report.per_image import Scores, half_widths, read_scores

Make = Callable[..., Any]


def full(values: np.ndarray) -> Scores:
    count, size = values.shape
    return Scores(values, np.tile(np.arange(size), (count, 1)), np.arange(count))


def test_of_images_seen_everywhere_it_is_students_interval_of_their_means() -> None:
    values = np.random.default_rng(0).normal(size=(12, 5))
    found = half_widths(full(values), np.array([0, 1, 2, 2, 1]))
    of_points = [values[:, [0]], values[:, [1, 4]], values[:, [2, 3]]]
    for half, of_point in zip(found, of_points, strict=True):
        low, high = stats.t.interval(0.95, 11, scale=stats.sem(of_point.mean(axis=1)))
        assert half == pytest.approx((high - low) / 2)


def test_views_of_one_image_count_together() -> None:
    """Ten copies of each image's rows tell nothing new."""
    values = np.random.default_rng(1).normal(size=(8, 3))
    once = full(values)
    copies = Scores(np.tile(values, (10, 1)), np.tile(once.parameters, (10, 1)), np.tile(once.images, 10))
    points = np.arange(3)
    assert half_widths(copies, points) == pytest.approx(half_widths(once, points))


def test_of_few_random_parameters_an_image_the_interval_covers() -> None:
    """Images with an effect of their own, each seen at two of four parameters: 95 % of intervals hold it."""
    rng = np.random.default_rng(2)
    held = []
    for _ in range(400):
        parameters = np.array([rng.choice(4, 2, replace=False) for _ in range(60)])
        values = rng.normal(size=(60, 1)) + rng.normal(size=(60, 2)) + parameters
        points = np.array([0, 0, 1, 1])
        half = half_widths(Scores(values, parameters, np.arange(60)), points)
        means = [np.mean([values[parameters == one].mean() for one in pair]) for pair in ((0, 1), (2, 3))]
        held += list(np.abs(np.array(means) - [0.5, 2.5]) <= half)
    assert 0.92 < np.mean(held) < 0.975


def test_one_image_has_no_interval() -> None:
    assert np.isnan(half_widths(full(np.ones((1, 3))), np.arange(3))).all()


@pytest.fixture
def directory(tmp_path: Path, write_invariance: Make, make_transform: Make) -> Path:
    write_invariance("a", "a", transforms={"hue": make_transform(0.5), "../hue": make_transform(0.5)})
    return tmp_path / "a"


def arrays(**changes: Any) -> dict[str, Any]:
    return {
        "parameters": np.array([[0.0], [90.0], [180.0]]),
        "names": np.array(["b", "a", "b"]),
        "items": np.array([4, 6, 9]),
        "indices": np.array([[0, 1], [1, 2], [2, 0]]),
        "similarity": np.array([[1.0, 0.5], [0.4, 0.3], [0.2, 0.9]]),
        **changes,
    }


def test_draws_of_one_image_are_one_image(directory: Path) -> None:
    np.savez(directory / "hue.npz", **arrays())
    (row,) = collect_results([directory]).rows
    found = read_scores(row, "hue", "similarity")
    assert found is not None
    assert found.images.tolist() == [1, 0, 1]
    assert found.parameters.tolist() == [[0, 1], [1, 2], [2, 0]]
    assert found.values.tolist() == [[1.0, 0.5], [0.4, 0.3], [0.2, 0.9]]


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": np.array([[0.0], [90.0], [170.0]])},
        {"parameters": np.array([0.0, 90.0])},
        {"parameters": np.array(0.0)},
        {"indices": np.array([[0, 1], [1, 3], [2, 0]])},
        {"indices": np.array([[0, 1], [1, -1], [2, 0]])},
        {"indices": np.array([[0], [1], [2]])},
        {"indices": np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 0.0]])},
        {"items": np.array([4, 6])},
        {"names": np.array(["a"])},
        {"similarity": np.full((3, 2), np.nan)},
        {"similarity": np.ones((3, 2, 2))},
        {"similarity": np.ones((0, 2))},
    ],
)
def test_arrays_of_something_else_are_no_scores(directory: Path, changes: dict[str, Any]) -> None:
    np.savez(directory / "hue.npz", **arrays(**changes))
    (row,) = collect_results([directory]).rows
    assert read_scores(row, "hue", "similarity") is None


def test_without_arrays_there_are_no_scores(directory: Path) -> None:
    (row,) = collect_results([directory]).rows
    assert read_scores(row, "hue", "similarity") is None
    np.savez(directory / "hue.npz", **arrays())
    assert read_scores(row, "hue", "distance") is None
    assert read_scores(row, "unknown", "similarity") is None


def test_a_name_that_leads_elsewhere_is_not_followed(directory: Path) -> None:
    np.savez(directory.parent / "hue.npz", **arrays())
    (row,) = collect_results([directory]).rows
    assert read_scores(row, "../hue", "similarity") is None


def test_a_damaged_file_has_no_scores_and_is_cautioned_against(
    directory: Path, write_invariance: Make, make_transform: Make
) -> None:
    for other in "ab":
        write_invariance(f"both/{other}", other, transforms={"hue": make_transform(0.5)})
        (directory.parent / "both" / other / "hue.npz").write_bytes(b"no archive")
    results = collect_results([directory.parent / "both"])
    assert read_scores(results.rows[0], "hue", "similarity") is None
    assert any("hue.npz" in caution for caution in caveats(results))
