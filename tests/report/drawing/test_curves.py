from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solo_invariance.report.collect import collect_results
from solo_invariance.report.drawing.abscissa import abscissas
from solo_invariance.report.drawing.axis import Axis
from solo_invariance.report.drawing.curves import (
    BOTTOM,
    LEFT,
    MAX_BINS,
    MAX_MARKERS,
    RIGHT,
    TOP,
    Curve,
    curve,
    curve_figures,
    draw,
    hardly_changing,
    has_curve,
    line_style,
    with_legend,
)
from solo_invariance.report.groups import Group
from solo_invariance.results import Estimate, TransformResult

Make = Callable[..., Any]


def result(parameters: list[tuple[float, ...]], similarity: list[float], unit: str = "pixels") -> TransformResult:
    return TransformResult(
        kind="spatial",
        unit=unit,
        parameters=tuple(parameters),
        similarity=Estimate(mean=0, ci95=(0, 0), curve=tuple(similarity)),
        distance=Estimate(mean=0, ci95=(0, 0)),
    )


def drawn(name: str, transform: TransformResult) -> list[Curve]:
    return [curve(positions, transform.curve) for positions in abscissas(name, transform)]


def labels(name: str, transform: TransformResult) -> list[str]:
    return [positions.label for positions in abscissas(name, transform)]


def test_one_number_is_drawn_as_it_is_in_rising_order() -> None:
    (only,) = drawn("hue", result([(0.5,), (-0.5,), (0.0,)], [0.2, 0.3, 1.0], "turns"))
    assert only.x.tolist() == [-0.5, 0.0, 0.5]
    assert only.y.tolist() == [0.3, 1.0, 0.2]


def test_equal_parameters_are_averaged() -> None:
    (only,) = drawn("warp", result([(10.0,), (20.0,), (10.0,)], [0.2, 0.5, 0.4]))
    assert only.x.tolist() == [10.0, 20.0]
    assert only.y == pytest.approx([0.3, 0.5])


@pytest.mark.parametrize("quirk", [(), (1.0,)])
def test_a_shift_is_drawn_over_its_length(quirk: tuple[float, ...]) -> None:
    shifts = result([(*pair, *quirk) for pair in ((0, 0), (3, 4), (-4, 3), (0, -1))], [1.0, 0.2, 0.4, 0.9])
    (only,) = drawn("translation", shifts)
    assert only.x == pytest.approx([0, 1, 5])
    assert only.y == pytest.approx([1.0, 0.9, 0.3])
    assert labels("translation", shifts) == ["length of the shift, pixels"]


def test_angles_that_do_not_add_up_are_drawn_one_at_a_time() -> None:
    """The grid of shear at k = 4: no angle is larger than 160 degrees, whatever the norm of two."""
    shears = result([(-160, -160), (-160, 0), (0, -160), (0, 0)], [0.1, 0.3, 0.5, 1.0], "degrees")
    along_x, along_y = drawn("shear", shears)
    assert labels("shear", shears) == ["along x, degrees", "along y, degrees"]
    assert (along_x.x.tolist(), along_x.y.tolist()) == ([-160, 0], [0.2, 0.75])
    assert (along_y.x.tolist(), along_y.y.tolist()) == ([-160, 0], [0.3, 0.65])


def test_numbers_of_strangers_are_drawn_one_at_a_time() -> None:
    assert labels("mine", result([(0, 0, 7), (3, 4, 7)], [1, 1])) == ["number 1, pixels", "number 2, pixels"]


def test_numbers_that_never_vary_are_left_out() -> None:
    scale = result([(0.5, 1.0), (1.0, 1.0), (2.0, 1.0)], [0.1, 0.2, 0.3], "factor")
    assert labels("scale", scale) == ["factor"]
    assert abscissas("scale", scale)[0].values.tolist() == [0.5, 1.0, 2.0]
    shift = result([(3, 4, 1), (0, 0, 1)], [0.1, 0.2])
    assert abscissas("translation", shift)[0].values.tolist() == [5.0, 0.0]


def test_a_crop_is_drawn_over_its_side() -> None:
    crops = result([(0, 0, 64, 100), (9, 9, 100, 64), (0, 0, 50, 50)], [0.2, 0.4, 0.1])
    (only,) = drawn("resized_crop", crops)
    assert only.x == pytest.approx([50, 80])
    assert only.y == pytest.approx([0.1, 0.3])
    assert labels("resized_crop", crops) == ["side of a square of the crop's area, pixels"]


def test_a_deformation_is_drawn_over_its_smoothness() -> None:
    fields = result([(10, 0), (30, 1), (10, 2)], [0.2, 0.5, 0.4])
    assert drawn("deform", fields)[0].x.tolist() == [10, 30]
    assert labels("deform", fields) == ["sigma, pixels"]


@pytest.mark.parametrize(("reach", "label"), [(0, "displacement, pixels"), (50, "sigma, pixels")])
def test_a_deformation_is_drawn_over_its_size_whatever_its_fields(reach: int, label: str) -> None:
    fields = result([(10, 0, reach, 0), (30, 1, reach, 0), (10, 2, reach, 0)], [0.2, 0.5, 0.4])
    assert drawn("deform", fields)[0].x.tolist() == [10, 30]
    assert labels("deform", fields) == [label]


@pytest.mark.parametrize("name", ["translation", "mine"])
def test_many_numbers_are_binned_and_keep_the_mean(name: str) -> None:
    rng = np.random.default_rng(0)
    parameters = [tuple(pair) for pair in rng.uniform(-1, 1, (256, 2))]
    for one in drawn(name, result(parameters, [0.5] * 256)):
        assert 2 < len(one.x) <= MAX_BINS
        assert (np.diff(one.x) > 0).all()
        assert one.y == pytest.approx(np.full(len(one.x), 0.5))


def test_many_values_of_a_single_number_are_drawn_as_they_are() -> None:
    (only,) = drawn("hue", result([(float(i),) for i in range(256)], [0.5] * 256))
    assert len(only.x) == 256


def test_on_and_off_have_no_curve() -> None:
    assert not has_curve("h_flip", result([(0,), (1,)], [1.0, 0.5]))
    assert not has_curve("still", result([(1,), (1,), (1,)], [1.0, 0.5, 0.5]))
    assert has_curve("posterize", result([(1,), (2,), (3,)], [1.0, 0.5, 0.5]))


def test_a_figure_spans_its_axes(tmp_path: Path, write_invariance: Make, make_transform: Make) -> None:
    write_invariance("a", "a", transforms={"hue": make_transform(0.75, "appearance"), "rotation": make_transform(0.3)})
    write_invariance("b", "b", transforms={"rotation": make_transform(0.75)})
    rotation, hue = curve_figures(collect_results([tmp_path]))
    assert (rotation.title, rotation.kind, rotation.x_label) == ("rotation", "spatial", "degrees")
    assert [line.label for line in rotation.lines] == ["a", "b"]
    assert [line.label for line in hue.lines] == ["a"]
    assert rotation.identity == LEFT
    assert rotation.lines[0].points[0] == (LEFT, TOP)
    # The lowest similarity is -0.4: the common axis goes down to the next quarter.
    assert rotation.y_axis == hue.y_axis == Axis(-0.5, 1, BOTTOM, TOP)
    assert rotation.lines[0].points[-1] == pytest.approx((RIGHT, TOP + 1.4 / 1.5 * (BOTTOM - TOP)))
    assert rotation.lines[0].summary == "a: highest 1.00 at 0, lowest \N{MINUS SIGN}0.40 at 180"
    assert [tick.text for tick in rotation.x_ticks] == ["0", "45", "90", "135", "180"]


def test_the_vertical_axis_is_the_same_on_every_page(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    for name, mean in {"high": 0.9, "low": 0.45}.items():
        write_invariance(name, name, transforms={"hue": make_transform(mean)})
        (figure,) = curve_figures(collect_results([tmp_path / name]))
        assert (figure.y_axis.low, figure.y_axis.high) == (-0.25, 1)


def test_the_drawing_has_the_zero_line_bands_and_markers(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    write_invariance("a", "a", transforms={"hue": make_transform(0.6)})
    write_arrays(tmp_path / "a", "hue", [[1.0, 0.6, 0.3], [1.0, 0.8, 0.1], [1.0, 0.4, 0.2]])
    write_invariance("b", "b", transforms={"hue": make_transform(0.5)})
    (figure,) = curve_figures(collect_results([tmp_path]))
    root = draw(figure, "x")
    (zero,) = (one for one in root if one.get("class") == "zero")
    assert float(zero.attrib["y1"]) == pytest.approx(figure.y_axis.position(0), abs=0.1)
    (band,) = (one for one in root if "band" in one.get("class", ""))
    assert "colour-0" in band.attrib["class"]  # of the one with arrays
    # Half of Student's t interval of 3 images at the second parameter: t of 2 degrees of freedom, SD 0.2.
    half = 4.302653 * 0.2 / np.sqrt(3)
    ends = {figure.lines[0].upper[1][1], figure.lines[0].lower[1][1]}
    middle = {figure.y_axis.position(0.6 + half) if 0.6 + half <= 1 else TOP, figure.y_axis.position(0.6 - half)}
    assert sorted(ends) == pytest.approx(sorted(middle))
    markers = [one.attrib["d"].count("M") for one in root if "marker" in one.get("class", "")]
    assert markers == [3, 3]


def write_arrays(directory: Path, name: str, values: list[list[float]], **changes: Any) -> None:
    arrays = {
        "parameters": np.array([[0.0], [90.0], [180.0]]),
        "names": np.array([f"{index}.jpg" for index in range(len(values))]),
        "items": np.arange(len(values)),
        "indices": np.tile(np.arange(3), (len(values), 1)),
        "similarity": np.array(values),
    }
    np.savez(directory / f"{name}.npz", **{**arrays, **changes})


def test_distances_are_drawn_as_shares_of_that_of_unrelated_images(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    """Of 50 features, unrelated images are 10 apart: the square root of 2 x 50."""
    backbone = {"name": "n", "checkpoint": None, "sha256": None, "num_features": 50}
    write_invariance("a", "a", transforms={"hue": make_transform(0.5)}, backbone=backbone)
    distances = np.array([[0.0, 4.0, 10.0], [0.0, 6.0, 10.0]])
    write_arrays(tmp_path / "a", "hue", [[1.0, 1.0, 1.0]] * 2, distance=distances)
    (figure,) = curve_figures(collect_results([tmp_path]), of_distance=True)
    assert (figure.y_axis.low, figure.y_axis.high, figure.chance) == (0, 1.25, 1)
    (line,) = figure.lines
    y = figure.y_axis.position
    # The fixture's distances are 0, 5 and 10.
    assert [point[1] for point in line.points] == pytest.approx([y(0), y(0.5), y(1)])
    # t of 1 degree of freedom is 12.7; the standard error of 4 and 6 is 1: beyond the axis on both sides.
    assert [line.upper[1][1], line.lower[1][1]] == [TOP, BOTTOM]
    assert [line.upper[2][1], line.lower[2][1]] == pytest.approx([y(1), y(1)])
    root = draw(figure, "x")
    (chance,) = (one for one in root if one.get("class") == "chance")
    assert float(chance.attrib["y1"]) == pytest.approx(y(1), abs=0.1)
    assert (root.findtext("title") or "").startswith("Relative distance over hue")


def test_many_points_have_no_markers(tmp_path: Path, write_invariance: Make, make_transform: Make) -> None:
    def transform(count: int) -> dict[str, Any]:
        made = make_transform(0.5, parameters=[float(i) for i in range(count)])
        return {**made, "similarity": {**made["similarity"], "curve": [0.5] * count}}

    write_invariance("a", "a", transforms={"few": transform(MAX_MARKERS), "many": transform(MAX_MARKERS + 1)})
    few, many = (draw(figure, "x") for figure in curve_figures(collect_results([tmp_path])))
    assert any("marker" in one.get("class", "") for one in few)
    assert not any("marker" in one.get("class", "") for one in many)


def test_a_group_is_one_line_with_its_range(tmp_path: Path, write_invariance: Make, make_transform: Make) -> None:
    for seed, mean in enumerate((0.5, 0.6, 0.7)):
        write_invariance(str(seed), f"a seed{seed}", transforms={"hue": make_transform(mean)})
    results = collect_results([tmp_path])
    (figure,) = curve_figures(results, [Group("a", results.rows)])
    (line,) = figure.lines
    y = figure.y_axis.position
    assert [line.points[1][1], line.upper[1][1], line.lower[1][1]] == pytest.approx([y(0.6), y(0.7), y(0.5)])


def test_an_untrained_twin_is_the_baseline_of_its_backbone(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    for label in ("a", "b", "b (untrained)", "c"):
        write_invariance(label, label, transforms={"hue": make_transform(0.5)})
    (figure,) = curve_figures(collect_results([tmp_path]))
    styles = {line.label: line.style for line in figure.lines}
    assert styles["b (untrained)"].is_baseline
    assert styles["b (untrained)"].colour == styles["b"].colour
    assert "baseline" in styles["b (untrained)"].stroke
    assert len({styles[label].colour for label in "abc"}) == 3
    assert sum("marker" in one.get("class", "") for one in draw(figure, "x")) == 3


def test_a_transform_that_hardly_changes_anything_is_named(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    write_invariance("a", "a", transforms={"deform": make_transform(0.995), "hue": make_transform(0.9)})
    write_invariance("b", "b", transforms={"hue": make_transform(0.995)})
    results = collect_results([tmp_path])
    assert hardly_changing(results) == ["deform"]
    assert [figure.note for figure in curve_figures(results)] == ["hardly changes the images", ""]


def test_a_figure_of_its_own_has_a_legend(tmp_path: Path, write_invariance: Make, make_transform: Make) -> None:
    for label in ("a", "b" * 99):
        write_invariance(label[:3], label, transforms={"hue": make_transform(0.5)})
    (figure,) = curve_figures(collect_results([tmp_path]))
    root = with_legend(figure, draw(figure, "x"))
    texts = [one.text for one in root.iter("text")]
    assert "a" in texts
    assert str(texts[-1]).startswith("bbbb")
    assert str(texts[-1]).endswith("…")


def test_line_styles_repeat_only_after_every_colour_had_every_dash() -> None:
    styles = [line_style(index) for index in range(28)]
    assert len(set(styles)) == 28
    assert [colour for colour, _ in styles[:7]] == list(range(7))  # colours are used up first
    assert styles[0] == (0, 0)
