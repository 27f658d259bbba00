"""Tables of measuring and scoring, at the widths of terminals."""

from collections.abc import Callable
from typing import Any

import pytest

from solo_invariance.commands import tables
from solo_invariance.commands.tables import (
    blocks_of,
    multiplicity,
    print_comparison,
    print_measured,
    print_measured_layers,
    print_scores,
)
from solo_invariance.commands.terminal import _Console
from solo_invariance.results import Estimate, InvarianceComparison, InvarianceResult, TransferResult


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., list[str]]:
    """Print something to a terminal of some columns and return its lines."""

    def run(width: int, show: Callable[[Any], None], what: Any) -> list[str]:
        monkeypatch.setattr(tables, "console", _Console(markup=False, emoji=False, width=width))
        show(what)
        return capsys.readouterr().out.splitlines()

    return run


def _estimate(mean: float, half: float = 0.02) -> dict[str, Any]:
    return {"mean": mean, "ci95": [mean - half, mean + half]}


def _common(label: str) -> dict[str, Any]:
    return {
        "schema": 1,
        "label": label,
        "backbone": {"name": "resnet10", "num_features": 64},
        "config": {"target_se": 0.002},
        "versions": {},
        "seed": 0,
        "timings": {},
    }


def _invariance(make_transform, **changes: Any) -> InvarianceResult:
    metrics = {"chance_corrected_similarity": _estimate(0.25), "recall_at_1": _estimate(0.5)}
    transforms = {
        "rotation": make_transform(0.2, "spatial", **metrics),
        "brightness": make_transform(0.7, "appearance", **metrics),
        "shear": make_transform(0.4, "spatial", **metrics),
        "hue": make_transform(0.8, "appearance", **metrics),
    }
    content = _common("a") | {"kind": "invariance", "protocol": "clean", "num_images": 96, "k": 16}
    return InvarianceResult.from_content(content | {"transforms": transforms} | changes)


@pytest.mark.parametrize("width", [80, 160])
def test_kinds_stand_apart_with_their_means(printed, make_transform, width: int) -> None:
    lines = printed(width, print_measured, _invariance(make_transform))
    assert max(map(len, lines)) <= width
    assert lines[0] == "a: invariance on 96 images, k 16, protocol clean"
    names = [line.split()[0] for line in lines if line[:1] != "─" and line.strip()]
    first = names.index("spatial")
    assert names[first : first + 8] == [
        "spatial",
        "rotation",
        "shear",
        "mean",
        "appearance",
        "brightness",
        "hue",
        "mean",
    ]
    means = [line for line in lines if line.startswith("  mean")]
    assert "0.300 [0.280, 0.320]" in means[0]
    assert "0.750 [0.730, 0.770]" in means[1]
    # Headings are whole words on whole lines, whatever stands below them.
    heading = " ".join(" ".join(lines).split())
    for word in ("similarity", "distance", "chance corrected", "recall at 1"):
        assert word in heading


def test_a_kind_of_one_change_has_no_mean(make_transform) -> None:
    result = _invariance(make_transform)
    (block,) = blocks_of({"hue": result.transforms["hue"]}, {})
    assert (block.title, list(block.entries), block.mean) == ("appearance", ["hue"], {})


def test_the_means_are_those_of_the_report(make_transform, write_invariance, tmp_path) -> None:
    from solo_invariance.report import collect_results
    from solo_invariance.report.grids import invariance_grid

    result = _invariance(make_transform)
    write_invariance("run", "a", transforms=result.as_content()["transforms"])
    grid = invariance_grid(collect_results([tmp_path / "run"]), "similarity")
    expected = {column.group: cell.estimate for column, cell in grid.cells["a"].items() if column.is_mean}
    found = {block.title: block.mean["similarity"] for block in blocks_of(result.transforms, {})}
    assert found == expected


def test_what_the_adaptive_budget_drew_and_reached_is_said(printed, make_transform) -> None:
    transforms = {
        name: make_transform(0.5, kind, num_images=images, num_views=4 * images)
        for name, kind, images in (("rotation", "spatial", 128), ("shear", "spatial", 300), ("hue", "appearance", 200))
    }
    for entry, error in zip(transforms.values(), (0.0011, 0.0031, 0.0019), strict=True):
        entry["similarity"]["standard_error"] = error
    transforms["shear"]["target_reached"] = False
    lines = printed(160, print_measured, _invariance(make_transform, transforms=transforms, budget="adaptive"))
    assert (
        "drawn: 128 to 300 images a transform, 2,512 views; largest standard error: spatial 0.0031 (shear), "
        "appearance 0.0019 (hue), asked for: 0.002"
    ) in lines
    assert "target_se was not reached for shear: more images are needed" in lines


def test_differences_that_exclude_zero_are_marked_and_counted(printed) -> None:
    entries = {
        "rotation": {"kind": "spatial", "num_images": 40, "similarity": _estimate(0.1), "distance": _estimate(-0.1)},
        "hue": {"kind": "appearance", "num_images": 40, "similarity": _estimate(-0.01), "distance": _estimate(0.02)},
    }
    content = {"schema": 1, "kind": "comparison", "label": "a", "against": {"label": "b", "out": "x"}, "seed": 0}
    comparison = InvarianceComparison.from_content(content | {"transforms": entries})
    lines = printed(80, print_comparison, comparison)
    assert lines[0] == "a minus b: paired differences on 40 images"
    row = next(line for line in lines if line.startswith("  rotation"))
    assert "+0.100 [+0.080, +0.120]*" in row
    assert "-0.100 [-0.120, -0.080]*" in row
    assert "*" not in next(line for line in lines if line.startswith("  hue"))
    assert any(line.startswith("* the 95 % interval excludes 0: 2 of 4; were there no difference") for line in lines)


def test_as_many_as_one_in_twenty_are_expected_by_chance() -> None:
    differences = [Estimate(mean=0.1, ci95=(-0.1, 0.3))] * 39 + [Estimate(mean=0.1, ci95=(0.01, 0.2))]
    assert multiplicity(differences).endswith("excludes 0: 1 of 40; were there no difference at all, about 2 would")


def _score(task: str, **changes: Any) -> TransferResult:
    content = _common("a") | {
        "kind": "transfer",
        "task": task,
        "metric": "accuracy",
        "score": 0.532,
        "ci95": [0.501, 0.563],
        "penalty": 10.0,
        "folds": 5,
        "probe": "logistic",
        "num_train": 2000,
        "num_test": 1000,
        "chance": 0.125,
        "details": {"smallest_penalty": 1e-6, "largest_penalty": 1e5},
    }
    return TransferResult.from_content(content | changes)


def test_scores_are_a_table_with_chance_and_what_was_chosen(printed) -> None:
    knn = {"probe": "knn", "penalty": None, "details": {"k": 20}}
    kernel = {"probe": "kernel_ridge", "penalty": None, "details": {"alpha": [0.1, 0.01], "gamma": [1e-3, 1e-3]}}
    results = [
        _score("shape"),
        _score("edge", penalty=1e5),
        _score("neighbours", **knn),
        _score("position", metric="r2", chance=0.0, outputs={"x": 0.61, "y": -0.2}, **kernel),
    ]
    lines = printed(160, print_scores, results)
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert lines[0] == "a: transfer; higher is better"
    for word in ("accuracy", "0.532 [0.501, 0.563]", "0.125", "logistic, penalty 10 ", "2000/1000"):
        assert word in rows["shape"]
    assert "penalty 1e+05!" in rows["edge"]
    assert "knn, k 20" in rows["neighbours"]
    assert "kernel ridge, penalty 0.01 to 0.1, width 0.001" in rows["position"]
    assert "0.610" in rows["x"]
    assert "−0.200" in rows["y"]  # noqa: RUF001
    assert "! the smallest or the largest penalty that was tried: a better one may lie beyond" in lines
    assert "!" not in rows["shape"]


def test_scores_fit_eighty_columns_and_many_outputs_are_cut(printed) -> None:
    outputs = {f"landmark_{index}": 0.5 for index in range(200)}
    lines = printed(80, print_scores, [_score("causal3dident_rotation_theta", outputs=outputs)])
    assert max(map(len, lines)) <= 80
    assert sum("landmark_" in line for line in lines) == 12
    assert any("and 188" in line for line in lines)
    assert any("0.532 [0.501, 0.563]" in line for line in lines)


@pytest.mark.parametrize("matched", [False, True])
def test_many_layers_are_one_table_of_means(printed, make_transform, matched: bool) -> None:
    def layer(index: int) -> InvarianceResult:
        further = {"width_matched_similarity": _estimate(index / 20)} if matched else {}
        transforms = {
            "rotation": make_transform(index / 10, "spatial", **further),
            "shear": make_transform(index / 10 + 0.2, "spatial", **further),
            "hue": make_transform(0.9, "appearance", **further),
        }
        return _invariance(make_transform, label=f"layer{index}", transforms=transforms, cautions=["few images"])

    lines = printed(100, print_measured_layers, [layer(index) for index in range(1, 6)])
    assert lines[0] == "5 layers and twins: invariance on 96 images, k 16, protocol clean"
    rows = {line.split()[0]: line.split()[1] for line in lines if line.startswith("layer") and len(line.split()) > 2}
    expected = {f"layer{i}": f"{i / 20 if matched else i / 10 + 0.1:.3f}" for i in range(1, 6)}
    assert {name: rows[name] for name in expected} == expected
    assert ("width matched" in " ".join(lines)) == matched
    assert sum("few images" in line for line in lines) == 1
    few = printed(100, print_measured_layers, [layer(index) for index in range(1, 5)])
    assert sum("protocol clean" in line for line in few) == 4
