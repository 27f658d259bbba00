from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solo_invariance.report.collect import collect_results
from solo_invariance.report.drawing.abscissa import abscissa
from solo_invariance.report.drawing.curves import (
    BOTTOM,
    LEFT,
    MAX_BINS,
    RIGHT,
    TOP,
    curve,
    curve_figures,
    has_curve,
    line_style,
)
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


def test_one_number_is_drawn_as_it_is_in_rising_order() -> None:
    drawn = curve("hue", result([(0.5,), (-0.5,), (0.0,)], [0.2, 0.3, 1.0], "turns"))
    assert drawn.x.tolist() == [-0.5, 0.0, 0.5]
    assert drawn.y.tolist() == [0.3, 1.0, 0.2]


def test_equal_parameters_are_averaged() -> None:
    drawn = curve("warp", result([(10.0,), (20.0,), (10.0,)], [0.2, 0.5, 0.4]))
    assert drawn.x.tolist() == [10.0, 20.0]
    assert drawn.y == pytest.approx([0.3, 0.5])


def test_a_vector_is_drawn_over_its_length() -> None:
    drawn = curve("translation", result([(0, 0), (3, 4), (-4, 3), (0, -1)], [1.0, 0.2, 0.4, 0.9]))
    assert drawn.x == pytest.approx([0, 1, 5])
    assert drawn.y == pytest.approx([1.0, 0.9, 0.3])
    assert abscissa("translation", result([(0, 0), (3, 4)], [1, 1])).label == "magnitude, pixels"


def test_numbers_that_never_vary_are_left_out() -> None:
    scale = result([(0.5, 1.0), (1.0, 1.0), (2.0, 1.0)], [0.1, 0.2, 0.3], "factor")
    assert abscissa("scale", scale).label == "factor"
    assert abscissa("scale", scale).values.tolist() == [0.5, 1.0, 2.0]
    shift = result([(3, 4, 1), (0, 0, 1)], [0.1, 0.2])
    assert abscissa("translation", shift).values.tolist() == [5.0, 0.0]


def test_a_crop_is_drawn_over_its_side() -> None:
    crops = result([(0, 0, 64, 100), (9, 9, 100, 64), (0, 0, 50, 50)], [0.2, 0.4, 0.1])
    drawn = curve("resized_crop", crops)
    assert drawn.x == pytest.approx([50, 80])
    assert drawn.y == pytest.approx([0.1, 0.3])
    assert abscissa("resized_crop", crops).label == "side of the crop, pixels"


def test_a_deformation_is_drawn_over_its_smoothness() -> None:
    fields = result([(10, 0), (30, 1), (10, 2)], [0.2, 0.5, 0.4])
    assert curve("deform", fields).x.tolist() == [10, 30]
    assert abscissa("deform", fields).label == "sigma, pixels"


@pytest.mark.parametrize(("reach", "label"), [(0, "displacement, pixels"), (50, "sigma, pixels")])
def test_a_deformation_is_drawn_over_its_size_whatever_its_fields(reach: int, label: str) -> None:
    fields = result([(10, 0, reach, 0), (30, 1, reach, 0), (10, 2, reach, 0)], [0.2, 0.5, 0.4])
    assert curve("deform", fields).x.tolist() == [10, 30]
    assert abscissa("deform", fields).label == label


def test_many_lengths_are_binned_and_keep_the_mean() -> None:
    rng = np.random.default_rng(0)
    parameters = [tuple(pair) for pair in rng.uniform(-1, 1, (256, 2))]
    drawn = curve("translation", result(parameters, [0.5] * 256))
    assert len(drawn.x) <= MAX_BINS
    assert (np.diff(drawn.x) > 0).all()
    assert drawn.y == pytest.approx(np.full(len(drawn.x), 0.5))


def test_on_and_off_have_no_curve() -> None:
    assert not has_curve("h_flip", result([(0,), (1,)], [1.0, 0.5]))
    assert not has_curve("still", result([(1,), (1,), (1,)], [1.0, 0.5, 0.5]))
    assert has_curve("posterize", result([(1,), (2,), (3,)], [1.0, 0.5, 0.5]))


def test_a_figure_spans_its_axes(tmp_path: Path, write_invariance: Make, make_transform: Make) -> None:
    write_invariance("a", "a", transforms={"hue": make_transform(0.75, "appearance"), "rotation": make_transform(0.45)})
    write_invariance("b", "b", transforms={"rotation": make_transform(0.75)})
    rotation, hue = curve_figures(collect_results([tmp_path]))
    assert (rotation.title, rotation.kind, rotation.x_label) == ("rotation", "spatial", "degrees")
    assert [line.label for line in rotation.lines] == ["a", "b"]
    assert [line.label for line in hue.lines] == ["a"]
    assert rotation.identity == LEFT
    first, last = rotation.lines[0].points.split()[0], rotation.lines[0].points.split()[-1]
    assert first == f"{LEFT},{TOP}"
    # The lowest similarity is -0.1, which is the end of the common axis.
    assert last == f"{RIGHT},{BOTTOM}"
    assert rotation.lines[0].summary == "a: highest 1.00 at 0, lowest \N{MINUS SIGN}0.10 at 180"
    assert hue.y_ticks == rotation.y_ticks
    assert [tick.text for tick in rotation.x_ticks] == ["0", "45", "90", "135", "180"]


def test_line_styles_repeat_only_after_every_colour_had_every_dash() -> None:
    styles = [line_style(index) for index in range(24)]
    assert len(set(styles)) == 24
    assert len({style.split()[0] for style in styles[:6]}) == 6
    assert styles[0] == "colour-0 dash-0"
