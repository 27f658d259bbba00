from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_invariance.report.collect import collect_results
from solo_invariance.report.drawing.whiskers import MARGIN, WIDTH, Whiskers, draw, draw_axis, draw_forest, whiskers
from solo_invariance.report.grids import Grid, transfer_grid

Make = Callable[..., Any]
SPAN = WIDTH - 2 * MARGIN


def by_title(grid: Grid) -> dict[str, Whiskers]:
    return {f"{column.title} {column.note}": one for column, one in whiskers(grid).items()}


@pytest.fixture
def grid(tmp_path: Path, write_transfer: Make) -> Grid:
    write_transfer("a", "a", "shape", 0.2, 0.1, chance=0.125)
    write_transfer("b", "b", "shape", 0.8, 0.1, chance=0.125)
    write_transfer("a/c", "a", "colour", 0.9, 0.01, chance=0.5)
    write_transfer("b/c", "b", "colour", 0.9, 0.01, chance=0.25)
    write_transfer("a/p", "a", "pose", -0.3, 0.1, metric="r2", probe="ridge")
    write_transfer("b/p", "b", "angle", 0.4, 0.1, metric="r2", probe="knn")
    return transfer_grid(collect_results([tmp_path]))


def test_columns_of_a_metric_have_one_scale(grid: Grid) -> None:
    found = by_title(grid)
    accuracy, r2 = found["shape accuracy"].axis, found["pose R²"].axis
    assert (accuracy.low, accuracy.high) == (0, 1)
    assert found["colour accuracy"].axis == accuracy
    assert (r2.low, r2.high) == (-0.5, 1)  # down to the quarter below -0.4
    assert found["angle R², kNN"].axis == r2
    assert accuracy.position(0.2) == pytest.approx(MARGIN + SPAN / 5)


def test_chance_is_known_where_all_results_say_the_same(grid: Grid) -> None:
    found = by_title(grid)
    assert found["shape accuracy"].chance == 0.125
    assert found["colour accuracy"].chance is None
    assert found["pose R²"].chance == 0


def test_a_score_is_drawn_with_its_interval_zero_and_chance(grid: Grid) -> None:
    of = by_title(grid)["shape accuracy"]
    (column,) = (one for one in grid.columns if one.title == "shape")
    root = draw(of, grid.cells["a"][column].estimate)
    lines = {one.attrib["class"]: [float(one.attrib[end]) for end in ("x1", "x2")] for one in root.iter("line")}
    shares = {"zero": (0, 0), "chance": (0.125, 0.125), "span": (0.1, 0.3)}
    assert lines == {name: [round(MARGIN + share * SPAN, 1) for share in ends] for name, ends in shares.items()}
    (dot,) = root.iter("circle")
    assert float(dot.attrib["cx"]) == pytest.approx(MARGIN + 0.2 * SPAN, abs=0.05)


def test_the_axis_has_numbers(grid: Grid) -> None:
    assert [one.text for one in draw_axis(by_title(grid)["shape accuracy"]).iter("text")] == ["0", "0.5", "1"]
    assert [one.text for one in draw_axis(by_title(grid)["pose R²"]).iter("text")] == ["0", "1"]


def test_a_terrible_score_is_drawn_at_the_end(tmp_path: Path, write_transfer: Make) -> None:
    write_transfer("a", "a", "pose", -70.0, 5.0, metric="r2")
    grid = transfer_grid(collect_results([tmp_path]))
    (of,) = whiskers(grid).values()
    assert of.axis.low == -1
    (dot,) = draw(of, grid.estimates[0]).iter("circle")
    assert float(dot.attrib["cx"]) == MARGIN


def test_a_forest_has_a_line_for_each_backbone(grid: Grid) -> None:
    (column,) = (one for one in grid.columns if one.title == "shape")
    root = draw_forest(grid, column, "x")
    texts = [one.text for one in root.iter("text")]
    assert {"a", "b", "0.200 [0.100, 0.300]", "0.800 [0.700, 0.900]", "shape, accuracy"} <= set(texts)
    spans = [one for one in root.iter("line") if one.get("class") == "span"]
    assert len(spans) == 2
    assert float(spans[0].attrib["x2"]) - float(spans[0].attrib["x1"]) == pytest.approx(0.2 * 300)
