"""A tiny study on real processes: killed and gone on with, by several processes, with checkpoints from elsewhere."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TINY = """
name: tiny
says: seconds
seeds: [0, 1]
arms:
  ventral: {family: ventral}
  dorsal: {family: dorsal}
  sensitive: {family: ventral, pretrain: {invariance: {sensitive: [resized_crop]}}}
  untrained: {role: untrained}
shaped:
  erased: {of: ventral, mode: erase, transforms: [hue], k: 2}
fusions: {V+O: [ventral, dorsal]}
width: 16
pretrain:
  max_epochs: 2
  data: {num_images: 64, size: 32}
  backbone: {name: resnet10w025}
  invariance: {crop_size: 32}
  optimizer: {batch_size: 32}
measure:
  data: {num_images: 40, size: 32, num_groups: 4, num_views: 3}
  transforms: [rotation, hue]
  views: [pose]
  k: 2
  num_images: 12
tasks: [hue]
task: {num_train: 60, num_test: 40, size: 32}
fuse_reference: {num_images: 140, size: 32}
shape_reference: {num_images: 40, size: 32}
claims:
  ventral ignores space:
    {finding: 1a, says: it does, of: invariance/spatial, arm: ventral, against: dorsal, smallest: 0.02}
"""


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("presets")
    (folder / "study").mkdir()
    (folder / "study" / "tiny.yaml").write_text(TINY)
    return folder


@pytest.fixture(scope="module")
def start(presets: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.Popen[str]]:
    """Start the command on the tiny study, in a process of its own, with a cache of its own."""
    cache = tmp_path_factory.mktemp("cache")

    def run(*arguments: str, within: Path | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "solo_invariance.cli", "study", "--config-dir", str(presets), "study=tiny"]
        environment = {**os.environ, "OMP_NUM_THREADS": "2", "SOLO_INVARIANCE_CACHE": str(cache)}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*command, "device=cpu", *arguments], env=environment, cwd=within, stdout=pipe, stderr=pipe, text=True
        )

    return run


@pytest.fixture(scope="module")
def in_one_go(start: Callable[..., subprocess.Popen[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    process = start("devices=1", "out=out", within=folder)
    said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return folder / "out"


def _numbers(out: Path) -> dict[str, Any]:
    content = json.loads((out / "study.json").read_text())
    return {key: value for key, value in content.items() if key not in ("timings", "machine", "hours")}


def test_a_study_that_was_killed_twice_ends_with_the_same_numbers_by_two_processes(
    in_one_go: Path, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    for reached in ("pretrain/**/*.ckpt", "transfer/**/transfer.json"):
        process = start("devices=2", f"out={tmp_path}")
        until = time.monotonic() + 240
        while not any(tmp_path.glob(reached)) and time.monotonic() < until and process.poll() is None:
            time.sleep(0.05)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (tmp_path / "study.json").exists()
    process = start("devices=2", f"out={tmp_path}")
    said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert _numbers(tmp_path) == _numbers(in_one_go)


def test_a_study_holds_every_arm_and_names_no_folder_of_the_machine(in_one_go: Path) -> None:
    content = _numbers(in_one_go)
    assert {name: arm["role"] for name, arm in content["arms"].items()} == {
        "ventral": "trained",
        "dorsal": "trained",
        "sensitive": "trained",
        "untrained": "untrained",
        "erased": "shaped",
        "V+O": "fusion",
    }
    assert content["arms"]["erased"]["members"] == ["ventral"]
    assert content["arms"]["V+O"]["num_features"] == 2 * content["arms"]["ventral"]["num_features"]
    quantities = {"invariance/rotation", "invariance/hue", "views/pose", "score/hue", "projected/hue"}
    for arm in content["arms"]:
        assert {*content["numbers"][arm]} == quantities
        assert [one["seeds"] for one in content["numbers"][arm]["score/hue"]] == [[0], [1]]
    scores = {arm: content["numbers"][arm]["score/hue"][0]["value"] for arm in ("ventral", "sensitive", "erased")}
    assert len({*scores.values()}) == 3  # of other weights, and of other features
    first, second = (one["value"] for one in content["numbers"]["untrained"]["score/hue"])
    assert first != second  # other weights by another seed
    assert str(in_one_go) not in (in_one_go / "study.json").read_text()
    assert (in_one_go / "study.html").is_file()
    assert (in_one_go / "report.html").is_file()


def test_checkpoints_from_elsewhere_are_not_trained_and_give_the_same_numbers(
    in_one_go: Path, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    given = sorted(map(str, in_one_go.glob("pretrain/**/*.ckpt")))
    assert len(given) == 6
    process = start("devices=1", f"out={tmp_path}", f"study.checkpoints=[{','.join(given)}]")
    said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert not (tmp_path / "pretrain").exists()
    assert _numbers(tmp_path)["numbers"] == _numbers(in_one_go)["numbers"]


def test_results_of_other_settings_are_refused_before_a_seed_is_added(
    in_one_go: Path, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    shutil.copytree(in_one_go, tmp_path / "out")
    process = start("devices=1", "out=out", "seeds=[0,1,2]", "study.measure.k=3", within=tmp_path)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "holds results of another run (k: 2 there, 3 now)" in err
    assert not (tmp_path / "out" / "pretrain" / "ventral" / "2").exists()


@pytest.mark.parametrize("launcher", [(), ("-m", "hydra/launcher=joblib")])
def test_results_of_backbones_that_were_trained_otherwise_are_refused_before_any_is_trained(
    in_one_go: Path, start: Callable[..., subprocess.Popen[str]], tmp_path: Path, launcher: tuple[str, ...]
) -> None:
    shutil.copytree(in_one_go, tmp_path / "out")
    process = start(*launcher, "devices=1", "out=out", "study.pretrain.max_epochs=3", within=tmp_path)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2, err
    assert "out=out: holds results of ventral seed 0, and no pretrain/ventral/0 as it is set now" in err
    assert [one.name for one in (tmp_path / "out" / "pretrain" / "ventral" / "0").glob("*/[0-9]*")] == ["0"]


def test_what_the_seeds_are_too_few_for_is_left_out_and_what_was_expected_of_it_is_not_met(
    in_one_go: Path, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    shutil.copytree(in_one_go, tmp_path / "moved")  # as from another machine
    claim = "{finding: '3', says: it does, of: score/hue, arm: V+O, against: V+V+V, smallest: 0.02}"
    added = ("study.ensembles={V+V+V: ventral}", f"study.claims={{fusion beats three ventrals: {claim}}}")
    expected = "expect=[fusion beats three ventrals]"
    process = start("devices=1", f"out={tmp_path}/moved", "seeds=[0,1]", *added, expected)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1, err  # all of it is written all the same
    assert "expect: 1 of 1 claims do not hold, or are undecided: fusion beats three ventrals: undecided" in err
    content = _numbers(tmp_path / "moved")
    assert content["numbers"] == _numbers(in_one_go)["numbers"]
    assert "V+V+V" not in content["arms"]
    (judged,) = (one for one in content["claims"] if one["name"] == "fusion beats three ventrals")
    assert (judged["verdict"], judged.get("effect")) == ("undecided", None)
