import pytest

from solo_invariance.report.drawing.axis import Axis
from solo_invariance.report.drawing.curves import Style
from solo_invariance.report.drawing.strips import LEFT, RIGHT, Strip, draw

STYLES = {"a": Style(0, 1, None), "b": Style(1, 2, None)}


def test_each_group_has_its_dots_mean_and_standard_deviation_on_its_row() -> None:
    axis = Axis(0.0, 2.0, LEFT, RIGHT)
    strips = [Strip("a", {"seed 0": 0.5, "seed 1": 1.0, "seed 2": 1.5}), Strip("b", {"seed 0": 2.0})]
    root = draw(strips, axis, "figure", "a quantity", STYLES)
    unit = (RIGHT - LEFT) / 2
    markers = {next(one.iter("title")).text: one.attrib["d"] for one in root.iter("path")}
    # Squares begin at their upper left corner, half a side of 2.6 from their centre.
    lefts = [float(markers[f"a, seed {seed}: {value:.3f}"][1:].split()[0]) for seed, value in enumerate((0.5, 1, 1.5))]
    assert [left + 2.6 - LEFT for left in lefts] == pytest.approx([0.5 * unit, unit, 1.5 * unit], abs=0.06)
    (deviation,) = (one for one in root.iter("line") if one.attrib["class"] == "spread colour-0")
    ends = [float(deviation.attrib[end]) - LEFT for end in ("x1", "x2")]
    assert ends == pytest.approx([0.5 * unit, 1.5 * unit], abs=0.06)  # the standard deviation is 0.5
    centres = {one.attrib["class"]: float(one.attrib["x1"]) - LEFT for one in root.iter("line")}
    assert centres["centre colour-0"] == pytest.approx(unit, abs=0.06)
    assert centres["centre colour-1"] == pytest.approx(2 * unit, abs=0.06)
    assert "spread colour-1" not in centres  # one number has none
    rows = [float(one.attrib["y"]) for one in root.iter("text") if one.text in ("a", "b")]
    assert rows[0] < rows[1]


def test_it_is_said_in_words() -> None:
    root = draw([Strip("a", {"seed 0": 0.5, "seed 1": 1.0})], Axis(0.0, 1.0, LEFT, RIGHT), "f", "a quantity", STYLES)
    assert next(root.iter("desc")).text == "a: mean 0.750, SD 0.354 of 2."
