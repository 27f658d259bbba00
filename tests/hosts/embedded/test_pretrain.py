import json
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from solo_invariance.backbones import BackboneConfig, load_backbone
from solo_invariance.command_process import Terminated
from solo_invariance.config.composed import plain
from solo_invariance.config.pretrain import PretrainConfig
from solo_invariance.errors import UserError
from solo_invariance.hosts.embedded.methods import warmup_cosine
from solo_invariance.hosts.embedded.pretrain import _claim_directory, _run_directory, pretrain


def _config(out: Path, *overrides: str) -> DictConfig:
    ConfigStore.instance().store(name="schema_pretrain", node=PretrainConfig)
    small = [
        "backbone.kwargs.width=0.125",
        "data.num_images=32",
        "data.size=32",
        "invariance.crop_size=32",
        "optimizer.batch_size=8",
        "method_kwargs.queue_size=16",
        "max_epochs=2",
        "accelerator=cpu",
        f"checkpoint.dir={out}",
    ]
    with initialize_config_module("solo_invariance.config", version_base="1.3"):
        return compose("pretrain", overrides=[*small, *overrides])


def _state(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("family", ["default", "ventral", "dorsal"])
def test_a_run_writes_what_a_host_writes(tmp_path: Path, family: str) -> None:
    path = pretrain(_config(tmp_path, f"augmentations=invariance/{family}", f"name={family}"))
    assert path == tmp_path / "mocov2plus" / "0" / f"{family}-0-ep=1.ckpt"
    args = json.loads((path.parent / "args.json").read_text())
    assert args["augmentations"][0]["family"] == family
    assert args["augmentations"][0]["crop_size"] == 32
    backbone = load_backbone(BackboneConfig(checkpoint=str(path)))
    assert (backbone.provenance.label, backbone.num_features) == (family, 64)
    assert sorted(p.name for p in path.parent.glob("*.ckpt")) == [path.name]


def test_the_learning_rate_rises_and_falls() -> None:
    factor = warmup_cosine(10, 110, 0.1, 0.01)
    assert [factor(step) for step in (0, 5, 10, 60, 110, 200)] == pytest.approx([0.1, 0.55, 1, 0.505, 0.01, 0.01])
    assert warmup_cosine(0, 10, 0.1, 0.0)(0) == 1


@pytest.mark.parametrize(
    "method", [[], ["method=simclr"], ["+recipe=mocov2", "method_kwargs.bn_groups=2", "optimizer.lr=0.3"]]
)
def test_training_lowers_the_loss(tmp_path: Path, method: list[str]) -> None:
    path = pretrain(
        _config(tmp_path, "max_epochs=12", "augmentations=invariance/ventral", "scheduler.warmup_epochs=0", *method)
    )
    lines = (path.parent / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("train_loss")
    losses = [float(line.split(",")[column]) for line in lines[1:]]
    assert len(losses) == 12 * 4
    # MoCo's first losses are low because its queue begins with noise: leave them out.
    assert sum(losses[-16:]) < sum(losses[4:20]) - 16 * 0.05


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path: Path, workers: int) -> None:
    whole = pretrain(_config(tmp_path / "whole", "max_epochs=3", "checkpoint.keep_prev=true"))

    class Interrupted(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        if done == 6:  # in the middle of the second epoch
            raise Interrupted

    config = ["max_epochs=3", f"data.num_workers={workers}"]
    with pytest.raises(Interrupted):
        pretrain(_config(tmp_path / "parts", *config), stop)
    begun = sorted((tmp_path / "parts").rglob("*.ckpt"))
    assert [p.name.rpartition("=")[2] for p in begun] == ["0.ckpt"]
    resumed = pretrain(_config(tmp_path / "parts", *config))
    assert resumed.parent == begun[0].parent
    for name, value in _state(whole)["state_dict"].items():
        torch.testing.assert_close(_state(resumed)["state_dict"][name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_a_finished_run_is_not_repeated_and_another_gets_its_own_directory(tmp_path: Path) -> None:
    first = pretrain(_config(tmp_path))
    written = first.stat().st_mtime_ns
    assert pretrain(_config(tmp_path)) == first
    assert first.stat().st_mtime_ns == written
    assert pretrain(_config(tmp_path, "seed=6")).parent.name == "1"
    assert pretrain(_config(tmp_path, "auto_resume.enabled=false")).parent.name == "2"


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    states = [_state(pretrain(_config(tmp_path / str(run))))["state_dict"] for run in range(2)]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, atol=0, rtol=0, msg=name)


@pytest.mark.parametrize("labelled", [True, False])
def test_a_folder_of_photographs(tmp_path: Path, photo_folder: Path, labelled: bool) -> None:
    path = photo_folder / "train" if labelled else photo_folder / "train" / "coffee"
    overrides = ["data.dataset=custom", f"data.train_path={path}", "max_epochs=1", "data.num_workers=1"]
    assert pretrain(_config(tmp_path, *overrides)).is_file()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method=byol", "method=byol: the embedded host has mocov2, mocov2plus, simclr"),
        ("method_kwargs.temperature=null", r"method_kwargs\.temperature is missing"),
        ("optimizer.name=lars", "optimizer.name=lars: choose from"),
        ("+optimizer.kwargs.nesterof=true", r"optimizer\.kwargs\.nesterof"),
        ("optimizer.batch_size=64", "batch_size=64 is larger than the data, 32 images"),
        ("data.dataset=imagenet", "data.dataset=imagenet: choose from|data.train_path is missing"),
        ("backbone.name=resnet11", "unknown backbone 'resnet11'"),
        ("devices=2", "devices=2: the embedded host trains on one device"),
    ],
)
def test_wrong_keys_are_named_and_leave_no_trace(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pretrain(_config(tmp_path / "out", override))
    assert not (tmp_path / "out").exists()


def test_a_truncated_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    arguments = ["max_epochs=3", "checkpoint.keep_prev=true"]
    last = pretrain(_config(tmp_path, *arguments))
    whole = _state(last)["state_dict"]
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=r"passed over: .*ep=2\.ckpt: cannot be read"):
        again = pretrain(_config(tmp_path, *arguments))
    assert again == last
    for name, value in _state(again)["state_dict"].items():
        torch.testing.assert_close(value, whole[name], atol=1e-5, rtol=1e-4, msg=name)


def test_two_runs_that_start_together_get_a_directory_each(tmp_path: Path) -> None:
    claimed = [_claim_directory(tmp_path / "runs", {"name": name}) for name in ("a", "b")]
    assert [path.name for path in claimed] == ["0", "1"]
    assert [json.loads((path / "args.json").read_text())["name"] for path in claimed] == ["a", "b"]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_broken_image_is_named(tmp_path: Path, photo_folder: Path, workers: int, labelled: bool) -> None:
    root = tmp_path / "photos"
    shutil.copytree(photo_folder / "train", root)
    broken = next(root.rglob("3.jpg"))
    broken.write_bytes(broken.read_bytes()[:200])
    overrides = [
        "data.dataset=custom",
        f"data.train_path={root}",
        f"data.num_workers={workers}",
        f"data.no_labels={not labelled}",
    ]
    with pytest.raises(UserError, match=r"3\.jpg: not a readable image") as error:
        pretrain(_config(tmp_path / "out", *overrides))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(broken))


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"checkpoint\.dir: .*cannot be written"):
        pretrain(_config(tmp_path / "file"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("max_epochs=0", "max_epochs=0: expected at least 1"),
        ("optimizer.lr=0", "optimizer.lr=0"),
        ("scheduler.name=step", "scheduler.name=step: choose from warmup_cosine, none"),
        ("scheduler.interval=batch", "scheduler.interval=batch: choose from step, epoch"),
        ("method=mocov2", r"momentum.base_tau and momentum.final_tau differ"),
        ("method_kwargs.bn_groups=3 +recipe=mocov2", r"bn_groups=3: does not divide optimizer.batch_size=8"),
        ("method_kwargs.bn_groups=8 +recipe=mocov2", r"bn_groups=8: .* groups of two or more"),
        ("momentum.base_tau=7", r"momentum\.base_tau=7.*lies in \[0, 1\]"),
        ("name=x/y", "has no /"),
        ("checkpoint.enabled=false", r"checkpoint\.enabled=false"),
        ("precision=foo", "precision=foo"),
        ("method_kwargs.temperature=0", "method=mocov2plus cannot be built with method_kwargs"),
    ],
)
def test_values_out_of_range_are_named(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pretrain(_config(tmp_path / "out", *override.split()))


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"ep=0\.ckpt: cannot be written \(File too large\)$"):
            pretrain(_config(tmp_path / "out"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="precision=a"):
        pretrain(_config(tmp_path / "out", "precision=a"))
    assert list(tmp_path.iterdir()) == []


def test_two_that_go_on_with_the_same_run_are_one_too_many(tmp_path: Path) -> None:
    cfg = _config(tmp_path)
    with _run_directory(cfg, plain(cfg)) as (directory, _):
        with pytest.raises(UserError, match=r"out=.*/0: another run is at work there"):
            pretrain(cfg)
        assert (directory / "args.json").is_file()  # which is the other's
    assert not directory.exists()


def test_what_is_no_checkpoint_of_ours_is_passed_by(tmp_path: Path) -> None:
    path = pretrain(_config(tmp_path))
    for name in ("best.ckpt", "mine-ep=last.ckpt"):
        (path.parent / name).write_bytes(b"x")
    (path.parent.parent / "7").mkdir()
    (path.parent.parent / "7" / "args.json").write_bytes(b"\xff\xfe[")
    assert pretrain(_config(tmp_path)) == path


@pytest.mark.parametrize("asked", [KeyboardInterrupt(), Terminated(15)])
def test_being_asked_to_end_passes_through_lightning(tmp_path: Path, asked: KeyboardInterrupt) -> None:
    def ask(what: str, done: int, total: int) -> None:
        raise asked

    with pytest.raises(KeyboardInterrupt) as raised:
        pretrain(_config(tmp_path), ask)
    assert raised.value is asked
