import json
from pathlib import Path

import numpy as np
import pytest


def _arguments(checkpoint: Path, out: Path, task: str, *more: str) -> list[str]:
    return [
        "transfer",
        f"backbone.checkpoint={checkpoint}",
        f"task.name={task}",
        "task.num_train=80",
        "task.num_test=40",
        "task.size=32",
        "device=cpu",
        f"out={out}",
        *more,
    ]


@pytest.mark.parametrize(
    ("task", "metric", "probe"),
    [
        ("shape", "accuracy", "logistic"),
        ("hue", "r2", "ridge"),
        ("position", "r2", "ridge"),
        ("rotation", "r2", "ridge"),
    ],
)
def test_the_result_has_what_the_contract_says(cli, host_checkpoint, tmp_path: Path, task, metric, probe) -> None:
    code, printed, err = cli(*_arguments(host_checkpoint("ventral"), tmp_path / "out", task))
    assert code == 0, err
    result = json.loads((tmp_path / "out" / "transfer.json").read_text())
    assert [result[key] for key in ("schema", "task", "metric", "probe", "folds")] == [1, task, metric, probe, 5]
    low, high = result["ci95"]
    assert low <= result["score"] <= high
    assert result["penalty"] > 0
    assert f"{result['score']:.3f}" in printed
    arrays = np.load(tmp_path / "out" / "transfer.npz")
    assert len(arrays["predictions"]) == 40
    if metric == "accuracy":
        assert (arrays["predictions"] == arrays["targets"]).mean() == pytest.approx(result["score"])


def test_a_finished_result_is_kept_and_another_configuration_refused(cli, host_checkpoint, tmp_path: Path) -> None:
    checkpoint, out = host_checkpoint(), tmp_path / "out"
    cli(*_arguments(checkpoint, out, "hue"))
    before = (out / "transfer.json").read_bytes()
    code, _, _ = cli(*_arguments(checkpoint, out, "hue", "batch_size=13"))
    assert code == 0
    assert (out / "transfer.json").read_bytes() == before
    code, _, err = cli(*_arguments(checkpoint, out, "shape"))
    assert code == 2
    assert "task.name: hue there, shape now" in err


def test_colour_is_read_off_the_pixels_better_than_chance(cli, tmp_path: Path) -> None:
    """A random backbone's features keep the hue of the background: the whole path from images to score works."""
    arguments = [
        "transfer",
        "backbone.name=random:resnet10",
        "+backbone.kwargs.width=0.125",
        "backbone.crop_size=32",
        "task.name=hue",
        "task.num_train=300",
        "task.num_test=100",
        "task.size=32",
        "device=cpu",
        f"out={tmp_path / 'out'}",
    ]
    assert cli(*arguments)[0] == 0
    assert json.loads((tmp_path / "out" / "transfer.json").read_text())["ci95"][0] > 0
