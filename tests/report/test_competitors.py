"""Who competes: not layers, not random weights, not a score at chance; and distances of other widths by their ratio."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solo_invariance.report.caveats import caveats
from solo_invariance.report.collect import Results, collect_results
from solo_invariance.report.columns import Column
from solo_invariance.report.grids import Grid, invariance_grid, mean_ranks, transfer_grid
from solo_invariance.report.headline import headline
from solo_invariance.report.layers import layer_curves
from solo_invariance.report.notes import notes
from solo_invariance.report.paired import comparable_distance
from tests.report.planted import scores, write_measured, write_scored

ROTATION = Column("rotation", "spatial")


def said(results: Results) -> str:
    return " ".join("".join(parts) for parts in headline(results))


def marks(grid: Grid, column: Column) -> dict[str, str]:
    return {label: row[column].mark for label, row in grid.cells.items()}


def _layer(name: str | None, depth: int | None = None, untrained: bool = False) -> dict[str, Any]:
    return {"layer": name, "depth": depth, "untrained": untrained}


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    """Three layers of one backbone and their untrained twins, which are the most invariant, beside another backbone."""
    for place, (name, depth) in enumerate((("avgpool", 60), ("layer3", 30), ("layer4", 45))):
        out = tmp_path / "net" / name
        write_measured(out, f"net {name}", {"rotation": scores(0) - place / 10}, backbone=_layer(name, depth))
        twin = tmp_path / "net" / "untrained" / name
        write_measured(
            twin, f"net {name} (untrained)", {"rotation": scores(0) + 0.3}, backbone=_layer(name, depth, True)
        )
    write_measured(tmp_path / "other", "other", {"rotation": scores(0) - 0.3}, backbone=_layer(None))
    return tmp_path


def test_layers_are_a_curve_in_the_order_of_their_depth(layers: Path) -> None:
    results = collect_results([layers])
    assert [(row.label, row.role) for row in results.rows] == [
        ("other", "backbone"),
        *((f"net {name}", "layer") for name in ("layer3", "layer4", "avgpool")),
        *((f"net {name} (untrained)", "untrained") for name in ("layer3", "layer4", "avgpool")),
    ]
    (curve,) = layer_curves(results)
    assert (curve.label, curve.layers) == ("net", ("layer3", "layer4", "avgpool"))
    expected = [scores(0).mean() - shift for shift in (0.1, 0.2, 0.0)]
    assert [one and one.mean for one in curve.similarity["spatial"]] == pytest.approx(expected)
    assert [one and one.mean for one in curve.untrained["spatial"]] == pytest.approx([scores(0).mean() + 0.3] * 3)


def test_layers_and_twins_get_no_mark(layers: Path) -> None:
    results = collect_results([layers])
    assert set(marks(invariance_grid(results, "similarity"), ROTATION).values()) == {""}
    assert said(results) == (
        "other was measured on its invariance to spatial changes (mean similarity 0.20 over 1 transform). "
        "3 layers of net are in the order of their depth and not compared."
    )


def test_what_the_file_calls_untrained_is_whatever_its_label(tmp_path: Path) -> None:
    write_measured(tmp_path / "a", "a", {"rotation": scores(0)}, backbone=_layer(None, None, True))
    write_measured(tmp_path / "b", "b", {"rotation": scores(0) - 0.1})
    assert [(row.label, row.role) for row in collect_results([tmp_path]).rows] == [
        ("b", "backbone"),
        ("a", "untrained"),
    ]


def test_an_untrained_twin_is_a_baseline(tmp_path: Path) -> None:
    write_measured(tmp_path / "a", "a", {"rotation": scores(0)})
    write_measured(
        tmp_path / "a" / "untrained", "a (untrained)", {"rotation": scores(0) + 0.3}, backbone=_layer(None, None, True)
    )
    write_measured(tmp_path / "b", "b", {"rotation": scores(0) - 0.1})
    results = collect_results([tmp_path])
    assert marks(invariance_grid(results, "similarity"), ROTATION) == {"a": "best", "b": "", "a (untrained)": ""}
    assert said(results) == (
        "a is the most invariant to spatial changes (mean similarity 0.50 over 1 transform; b is 0.10 [0.10, 0.10] "
        "behind; untrained 0.80)."
    )


def _predictions(targets: np.ndarray, count: int) -> np.ndarray:
    return np.where(np.arange(len(targets)) < count, targets, (targets + 1) % 10)


def test_a_score_at_chance_never_wins_and_is_not_ranked_before_others(tmp_path: Path) -> None:
    """On the first task both are at chance, on the second one of them is."""
    targets = np.random.default_rng(0).integers(0, 10, 200)
    for label, counts in {"a": (24, 120), "b": (20, 24)}.items():
        for task, count in zip(("x", "y"), counts, strict=True):
            write_scored(tmp_path / label / task, label, task, _predictions(targets, count), targets)
    results = collect_results([tmp_path])
    grid = transfer_grid(results)
    assert marks(grid, Column("x", "tasks", "accuracy")) == {"a": "chance", "b": "chance"}
    assert marks(grid, Column("y", "tasks", "accuracy")) == {"a": "", "b": "chance"}
    assert [column.name for column in grid.ranked] == ["y"]
    assert mean_ranks(grid) == {"a": 1.0, "b": 2.0}
    assert "Not above chance, or not above random weights, by the 95 % interval" in " ".join(notes(results))
    assert "x: a, b; y: b." in " ".join(notes(results))


def test_an_r2_around_zero_is_at_chance(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    targets = draw.normal(size=200)
    for label in ("a", "b"):
        write_scored(tmp_path / label, label, "hue", draw.normal(0, 0.05, 200), targets, "r2")
    results = collect_results([tmp_path])
    assert marks(transfer_grid(results), Column("hue", "tasks", "R²")) == {"a": "chance", "b": "chance"}
    assert mean_ranks(transfer_grid(results)) == {}
    assert "On no task that every backbone was scored on is one above chance, so they are not ranked." in caveats(
        results
    )
    assert said(results) == ""


def test_what_random_weights_score_as_well_never_wins(tmp_path: Path) -> None:
    """The trained backbone is far above chance, and one image ahead of random weights."""
    targets = np.random.default_rng(0).integers(0, 10, 200)
    write_scored(tmp_path / "a", "a", "shape", _predictions(targets, 121), targets)
    write_scored(tmp_path / "b", "b", "shape", _predictions(targets, 160), targets)
    random = {"backbone": {"name": "random:resnet10"}}
    nothing = {"name": "resnet10", "checkpoint": None, "num_features": 128}
    write_scored(tmp_path / "r", "r", "shape", _predictions(targets, 120), targets, config=random, backbone=nothing)
    results = collect_results([tmp_path])
    grid = transfer_grid(results)
    assert marks(grid, Column("shape", "tasks", "accuracy")) == {"a": "chance", "b": "", "r": ""}
    assert mean_ranks(grid) == {"a": 2.0, "b": 1.0}


def test_networks_of_random_weights_alone_are_compared(tmp_path: Path) -> None:
    targets = np.random.default_rng(0).integers(0, 10, 200)
    for label, count in (("a", 150), ("b", 100)):
        config = {"backbone": {"name": f"random:{label}"}}
        nothing = {"name": label, "checkpoint": None, "num_features": 128}
        write_scored(
            tmp_path / label, label, "shape", _predictions(targets, count), targets, config=config, backbone=nothing
        )
    assert mean_ranks(transfer_grid(collect_results([tmp_path]))) == {"a": 1.0, "b": 2.0}


def test_distances_of_other_widths_are_divided_by_that_of_independent_images(tmp_path: Path) -> None:
    """The wide one is farther away in standard deviations, and nearer as a share of what independent images are."""
    far = np.random.default_rng(0).normal(0, 0.1, 200)
    for label, width, distance in (("narrow", 64, 8.0), ("wide", 512, 16.0)):
        distances = {"rotation": distance * (1 + far)}
        backbone = {"num_features": width}
        write_measured(tmp_path / label, label, {"rotation": scores(0)}, distances=distances, backbone=backbone)
    results = collect_results([tmp_path])
    assert set(marks(invariance_grid(results, "distance"), ROTATION).values()) == {""}
    assert comparable_distance(results.rows) == "relative_distance"
    grid = invariance_grid(results, "relative_distance")
    assert marks(grid, ROTATION) == {"narrow": "", "wide": "best"}
    assert grid.cells["wide"][ROTATION].estimate.mean == pytest.approx(16 * (1 + far.mean()) / math.sqrt(2 * 512))
    difference = grid.cells["narrow"][ROTATION].difference
    assert difference is not None
    assert difference.mean == pytest.approx((1 + far.mean()) * (8 / math.sqrt(128) - 16 / math.sqrt(1024)))


def test_the_distance_of_independent_whitened_features_is_the_root_of_twice_their_number() -> None:
    draw = np.random.default_rng(0).normal(size=(2, 4000, 64))
    assert np.sqrt((np.linalg.norm(draw[0] - draw[1], axis=1) ** 2).mean()) == pytest.approx(
        math.sqrt(2 * 64), rel=0.01
    )


def test_similarity_and_distance_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    """The features of a are longer: it turns them less, and is farther away."""
    for label, similarity, distance in (("a", 0.1, 2.0), ("b", 0.0, 1.0)):
        distances = {"rotation": np.full(200, distance) + scores(1)}
        write_measured(tmp_path / label, label, {"rotation": scores(0) + similarity}, distances=distances)
    (caution,) = caveats(collect_results([tmp_path]))
    assert caution == (
        "Similarity and distance disagree: rotation, a minus b: similarity +0.100 [0.100, 0.100], distance +1.000 "
        "[1.000, 1.000]. Believe similarity on whether a backbone is invariant; the note on which metric to take says "
        "why."
    )
    assert any(note.startswith("Which metric when:") for note in notes(collect_results([tmp_path])))
