from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_invariance.report.collect import Results, collect_results
from solo_invariance.report.drawing.depth import depth_figures

Make = Callable[..., Any]
LAYERS = ("stem", "block", "avgpool")  # the order is no alphabetical one


@pytest.fixture
def layers(tmp_path: Path, write_invariance: Make, make_transform: Make) -> Results:
    for index, layer in enumerate(LAYERS):
        for twin in ("", " (untrained)"):
            mean = 0.3 + 0.2 * index - (0.1 if twin else 0)
            transforms = {"rotation": make_transform(mean), "scale": make_transform(mean + 0.1)}
            write_invariance(
                f"{twin or 'trained'}/{layer}",
                f"net {layer}{twin}",
                transforms=transforms,
                backbone={"name": "n", "checkpoint": None, "sha256": None, "num_features": 8, "layer": layer},
                config={"backbone": {"layer": list(LAYERS)}},
            )
    write_invariance("other", "other", transforms={"rotation": make_transform(0.9), "scale": make_transform(0.9)})
    return collect_results([tmp_path])


def test_layers_are_one_curve_in_their_order_and_the_twin_is_its_baseline(layers: Results) -> None:
    (figure,) = depth_figures(layers)
    assert (figure.title, figure.x_label) == ("mean, spatial", "layer")
    assert [tick.text for tick in figure.x_ticks] == list(LAYERS)
    lines = {line.label: line for line in figure.lines}
    assert set(lines) == {"net", "net (untrained)"}
    y = figure.y_axis.position
    assert [point[1] for point in lines["net"].points] == pytest.approx([y(0.35), y(0.55), y(0.75)])
    assert [point[1] for point in lines["net (untrained)"].points] == pytest.approx([y(0.25), y(0.45), y(0.65)])
    assert [point[1] for point in lines["net"].upper] == pytest.approx([y(0.37), y(0.57), y(0.77)])
    assert lines["net (untrained)"].style.is_baseline
    assert not lines["net"].style.is_baseline
    assert lines["net (untrained)"].style.colour == lines["net"].style.colour
    assert lines["net"].summary == "net: stem 0.35, block 0.55, avgpool 0.75"


def test_outputs_alone_have_no_depth(paper_runs: Path) -> None:
    assert depth_figures(collect_results([paper_runs])) == []
