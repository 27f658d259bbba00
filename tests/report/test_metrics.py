import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solo_invariance.report.collect import Results, collect_results
from solo_invariance.report.drawing.colours import NUM_LEVELS
from solo_invariance.report.metrics import Panel, panels
from solo_invariance.results import Estimate

Make = Callable[..., Any]
TOP = NUM_LEVELS - 1


def by_name(results: Results) -> dict[str, Panel]:
    return {panel.name: panel for panel in panels(results)}


def test_the_scale_is_the_same_whatever_is_on_the_page(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    levels = []
    for name, others in {"alone": [], "among": [0.99, -0.4]}.items():
        for index, mean in enumerate([0.5, *others]):
            write_invariance(f"{name}/{index}", f"b{index}", transforms={"hue": make_transform(mean)})
        panel = by_name(collect_results([tmp_path / name]))["similarity"]
        levels.append([panel.scale.level(one) for one in panel.grid.estimates])
    assert levels == [[TOP // 2], [TOP // 2, TOP, 0]]


def test_distances_are_coloured_as_shares_of_that_of_unrelated_images(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    """The root mean square distance of independent whitened features of D numbers is sqrt(2 D)."""
    write_invariance("a", "a", transforms={"hue": make_transform(0.5)})
    scale = by_name(collect_results([tmp_path]))["distance"].scale
    features = np.random.default_rng(0).normal(size=(2, 20_000, 50))
    unrelated = math.sqrt(((features[0] - features[1]) ** 2).sum(axis=1).mean())

    def level(distance: float) -> int:
        return scale.level(Estimate(mean=distance, ci95=(distance, distance)), num_features=50)

    assert [level(0), level(unrelated / 2), level(unrelated), level(9 * unrelated)] == [TOP, TOP // 2, 0, 0]
    assert scale.level(Estimate(mean=unrelated, ci95=(0, 99)), num_features=200) == TOP // 2


def test_every_further_metric_is_a_panel_with_means(
    tmp_path: Path, write_invariance: Make, make_transform: Make, make_view: Make
) -> None:
    def mrr(mean: float) -> dict[str, Any]:
        return {"mrr": {"mean": mean, "ci95": [mean - 0.1, mean + 0.1]}}

    transforms = {
        "hue": make_transform(0.5, "appearance", **mrr(0.3)),
        "blur": make_transform(0.5, "appearance", **mrr(0.5)),
    }
    write_invariance("a", "a", transforms=transforms, views={"pose": make_view(0.5) | mrr(0.9)})
    write_invariance("b", "b", transforms={"hue": make_transform(0.4, "appearance")})
    found = by_name(collect_results([tmp_path]))
    assert list(found) == ["similarity", "distance", "mrr", "similarity_without_identity"]
    panel = found["mrr"]
    assert [(column.name, column.group) for column in panel.grid.columns] == [
        *(("hue", "appearance"), ("blur", "appearance"), ("mean", "appearance"), ("pose", "spatial views"))
    ]
    assert [row.label for row in panel.grid.rows] == ["a"]
    assert [cell.estimate.mean for cell in panel.grid.cells["a"].values()] == pytest.approx([0.3, 0.5, 0.4, 0.9])
    assert (panel.scale.least, panel.scale.most) == (0, 1)


@pytest.mark.parametrize(("difference", "is_shown"), [(0.0, False), (0.1, True)])
def test_similarity_without_the_identity_is_shown_where_it_differs(
    tmp_path: Path, write_invariance: Make, make_transform: Make, difference: float, is_shown: bool
) -> None:
    transform = make_transform(0.5)
    transform["similarity_without_identity"]["mean"] = 0.5 - difference
    write_invariance("a", "a", transforms={"hue": transform})
    assert ("similarity_without_identity" in by_name(collect_results([tmp_path]))) == is_shown


def test_a_strangers_metric_is_on_the_common_scale_if_it_fits(
    tmp_path: Path, write_invariance: Make, make_transform: Make
) -> None:
    metrics = {name: {"mean": mean, "ci95": [mean, mean]} for name, mean in {"within": 0.3, "beyond": 30.0}.items()}
    write_invariance("a", "a", transforms={"hue": make_transform(0.5, **metrics)})
    found = by_name(collect_results([tmp_path]))
    assert (found["within"].scale.least, found["within"].scale.most) == (0, 1)
    assert found["beyond"].scale.least <= 30 <= found["beyond"].scale.most
    assert "this page's own" in found["beyond"].text
