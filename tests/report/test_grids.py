from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_invariance.report.collect import collect_results
from solo_invariance.report.grids import (
    Column,
    Grid,
    further_metrics,
    interval,
    invariance_grid,
    mean_ranks,
    number,
    shared_means,
    transfer_grid,
)
from solo_invariance.results import Estimate

Make = Callable[..., Any]


def marks(grid: Grid, name: str) -> dict[str, str]:
    return {
        label: cell.mark for label, row in grid.cells.items() for column, cell in row.items() if column.name == name
    }


def test_columns_are_grouped_by_kind_then_views_with_a_mean_at_the_end_of_each_kind(paper_runs: Path) -> None:
    grid = invariance_grid(collect_results([paper_runs]), "similarity")
    assert [column.name for column in grid.columns] == [
        *("rotation", "resized_crop", "mean", "hue", "blur", "mean", "pose", "light_hue")
    ]
    assert grid.groups == [("spatial", 3), ("appearance", 3), ("spatial views", 1), ("appearance views", 1)]


def test_the_most_invariant_has_the_largest_similarity_and_the_smallest_distance(paper_runs: Path) -> None:
    results = collect_results([paper_runs])
    for quantity in ("similarity", "distance"):
        grid = invariance_grid(results, quantity)
        assert marks(grid, "rotation") == {"ventral": "best", "dorsal": "", "ventral+dorsal": ""}
        assert marks(grid, "hue") == {"ventral": "", "dorsal": "best", "ventral+dorsal": ""}


def test_overlapping_intervals_are_marked_and_equal_scores_are_both_best(tmp_path: Path, write_transfer: Make) -> None:
    scores = {"a": (0.90, 0.02), "b": (0.87, 0.01), "c": (0.86, 0.01), "d": (0.90, 0.001), "e": (0.5, 0.5)}
    for label, (score, half_width) in scores.items():
        write_transfer(label, label, "shape", score, half_width)
    grid = transfer_grid(collect_results([tmp_path]))
    assert marks(grid, "shape") == {"a": "best", "b": "overlap", "c": "", "d": "best", "e": "overlap"}


def test_a_single_backbone_is_not_marked(tmp_path: Path, write_transfer: Make) -> None:
    write_transfer("a", "a", "shape", 0.9)
    write_transfer("b", "b", "pose", 0.9)
    grid = transfer_grid(collect_results([tmp_path]))
    assert marks(grid, "shape") == {"a": ""}
    assert marks(grid, "pose") == {"b": ""}


def test_a_wide_table_is_cut_between_groups_of_columns(
    tmp_path: Path, write_invariance: Make, make_transform: Make, make_view: Make
) -> None:
    kinds = {**{f"move {i}": "spatial" for i in range(8)}, **{f"colour {i}": "appearance" for i in range(9)}}
    transforms = {name: make_transform(0.5, kind) for name, kind in kinds.items()}
    write_invariance("a", "a", transforms=transforms, views={"pose": make_view(0.5), "turn": make_view(0.4)})
    grid = invariance_grid(collect_results([tmp_path]), "similarity")
    assert [band.groups for band in grid.bands] == [[("spatial", 9)], [("appearance", 10), ("spatial views", 2)]]
    assert [column for band in grid.bands for column in band.columns] == [*grid.columns]


def test_further_metrics_of_transforms_and_view_sets(
    tmp_path: Path, write_invariance: Make, make_transform: Make, make_view: Make
) -> None:
    def mrr(mean: float) -> dict[str, Any]:
        return {"mean": mean, "ci95": [mean - 0.1, mean + 0.1]}

    pose = make_view(0.5) | {"mrr": mrr(0.4), "similarity_with_diagonal": mrr(0.6)}
    transforms = {"hue": make_transform(0.5, "appearance", mrr=mrr(0.3)), "blur": make_transform(0.5)}
    write_invariance("a", "a", transforms=transforms, views={"pose": pose})
    write_invariance("b", "b", views={"pose": make_view(0.5)})
    assert further_metrics(collect_results([tmp_path]).rows) == {
        "mrr": {
            "a": {
                Column("hue", "appearance"): Estimate(mean=0.3, ci95=(0.3 - 0.1, 0.3 + 0.1)),
                Column("pose", "spatial views"): Estimate(mean=0.4, ci95=(0.4 - 0.1, 0.4 + 0.1)),
            },
            "b": {},
        }
    }


def test_two_metrics_of_one_task_are_two_columns(tmp_path: Path, write_transfer: Make) -> None:
    write_transfer("a", "a", "shape", 0.9)
    write_transfer("b", "a", "shape", 0.8, metric="mean_per_class_accuracy")
    write_transfer("c", "a", "pose", 0.8, metric="r2")
    grid = transfer_grid(collect_results([tmp_path]))
    assert [(column.title, column.note) for column in grid.columns] == [
        ("shape", "accuracy"),
        ("shape", "mean per class accuracy"),
        ("pose", "R²"),
    ]


def test_mean_ranks_share_the_ranks_of_equal_scores_and_use_shared_tasks_only(
    tmp_path: Path, write_transfer: Make
) -> None:
    table = {"a": {"x": 0.9, "y": 0.5, "z": 1.0}, "b": {"x": 0.9, "y": 0.6}, "c": {"x": 0.1, "y": 0.7}}
    for label, scores in table.items():
        for task, score in scores.items():
            write_transfer(f"{label}/{task}", label, task, score)
    grid = transfer_grid(collect_results([tmp_path]))
    assert mean_ranks(grid) == {"a": (1.5 + 3) / 2, "b": (1.5 + 2) / 2, "c": (3 + 1) / 2}


def test_nothing_is_ranked_without_a_shared_task(tmp_path: Path, write_transfer: Make) -> None:
    write_transfer("a", "a", "x", 0.9)
    write_transfer("b", "b", "y", 0.9)
    assert mean_ranks(transfer_grid(collect_results([tmp_path]))) == {}


def test_shared_means_average_what_every_row_has() -> None:
    x, y = Column("x", "spatial"), Column("y", "spatial")
    rows = [
        {x: Estimate(mean=0.2, ci95=(0.1, 0.3)), y: Estimate(mean=0.4, ci95=(0.2, 0.6))},
        {x: Estimate(mean=0.6, ci95=(0.5, 0.7))},
        {},
    ]
    means = shared_means(rows)
    assert means.num_columns == 1
    assert means.estimates == [Estimate(mean=0.2, ci95=(0.1, 0.3)), Estimate(mean=0.6, ci95=(0.5, 0.7)), None]
    both = shared_means(rows[:1])
    assert both.num_columns == 2
    assert both.estimates[0] is not None
    assert (both.estimates[0].mean, both.estimates[0].low, both.estimates[0].high) == pytest.approx((0.3, 0.15, 0.45))


def test_shared_means_are_none_where_nothing_is_shared() -> None:
    rows = [
        {Column("x", "spatial"): Estimate(mean=0, ci95=(0, 0))},
        {Column("y", "spatial"): Estimate(mean=0, ci95=(0, 0))},
    ]
    assert shared_means(rows) == ([None, None], 0)


@pytest.mark.parametrize(("mean", "decimals"), [(0.5, 2), (-3.0, 1), (-30.0, 0)])
def test_distances_have_three_significant_digits(
    tmp_path: Path, write_invariance: Make, make_transform: Make, mean: float, decimals: int
) -> None:
    write_invariance("a", "a", transforms={"hue": make_transform(mean)})
    assert invariance_grid(collect_results([tmp_path]), "distance").decimals == decimals


def test_numbers_have_a_true_minus_and_no_negative_zero() -> None:
    assert number(-0.256, 2) == "\N{MINUS SIGN}0.26"
    assert number(-0.001, 2) == "0.00"
    assert number(12.0, 1) == "12.0"
    assert interval(Estimate(mean=0, ci95=(-0.1, 0.1)), 2) == "[\N{MINUS SIGN}0.10, 0.10]"
