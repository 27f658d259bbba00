import json
import os
import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DistributedSampler

from solo_invariance.backbones import Architecture, BackboneConfig, load_backbone
from solo_invariance.cli import COMMANDS
from solo_invariance.config.composed import compose_command, plain, schema_of
from solo_invariance.config.kinds import command_behind, open_mappings
from solo_invariance.config.pretrain import (
    CheckpointConfig,
    InvarianceConfig,
    OptimizerConfig,
    PretrainBackboneConfig,
    PretrainConfig,
    PretrainDataConfig,
    SchedulerConfig,
)
from solo_invariance.errors import UserError
from solo_invariance.hosts.embedded.methods import MoCoV2Plus, build_method, warmup_cosine
from solo_invariance.hosts.embedded.pretrain import (
    FolderImages,
    IndexedDataset,
    _claim_directory,
    _last_readable,
    _run_directory,
    first_not_finite,
    pretrain,
)


def _config(out: Path, *overrides: str) -> DictConfig:
    small = [
        "backbone.kwargs.width=0.125",
        "data.num_images=32",
        "data.size=32",
        "invariance.crop_size=32",
        "optimizer.batch_size=8",
        "max_epochs=2",
        "accelerator=cpu",
        f"checkpoint.dir={out}",
    ]
    queue = [] if "method=simclr" in overrides else ["method_kwargs.queue_size=16"]
    return compose_command("pretrain", [*small, *queue, *overrides])


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


@pytest.mark.parametrize(("seed", "workers"), [(5, 0), (11, 1)])
def test_an_epochs_order_follows_from_the_seed_and_the_epoch(
    tmp_path: Path, seed: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is a permutation by a generator of seed + epoch, whether the run went on or was never stopped."""
    seen: list[list[int]] = []
    draw = DistributedSampler.__iter__

    def note(self: DistributedSampler[Any]) -> Iterator[int]:
        seen.append(list(draw(self)))
        return iter(seen[-1])

    def stop(what: str, done: int, total: int) -> None:
        if done == 5:  # in the middle of the second epoch
            raise RuntimeError("stopped")

    monkeypatch.setattr(DistributedSampler, "__iter__", note)
    config = _config(tmp_path, f"seed={seed}", f"data.num_workers={workers}")
    orders = [torch.randperm(32, generator=torch.Generator().manual_seed(seed + epoch)).tolist() for epoch in (0, 1)]
    with pytest.raises(RuntimeError, match="stopped"):
        pretrain(config, stop)
    assert seen == orders
    pretrain(config)
    assert seen[2:] == orders[1:]


def test_how_fast_a_run_is_and_what_watches_it_are_no_part_of_it(tmp_path: Path) -> None:
    path = pretrain(_config(tmp_path))
    assert pretrain(_config(tmp_path, "data.num_workers=1", "checkpoint.keep_prev=true", "accelerator=auto")) == path
    assert pretrain(_config(tmp_path, "invariance.monitor={transforms: hue}")) == path
    assert [one.name for one in path.parent.parent.iterdir()] == ["0"]


def test_the_last_checkpoint_is_that_of_the_last_epoch(tmp_path: Path) -> None:
    for epoch in (2, 9, 10):
        torch.save({"state_dict": {"weight": torch.zeros(1)}}, tmp_path / f"a-ep=1-0-ep={epoch}.ckpt")
    assert _last_readable(tmp_path) == tmp_path / "a-ep=1-0-ep=10.ckpt"


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
        ("method_kwargs.temprature=0.1", r"method_kwargs\.temprature: method=mocov2plus has no such key, it has"),
        ("method_kwargs.temperature=hot", r"method_kwargs\.temperature=hot: expected a number"),
        ("accelerator=tpu", "accelerator=tpu, precision=32-true: "),
        ("accelerator=abacus", "accelerator=abacus, precision=32-true: "),
        ("seed=4294967296", "seed=4294967296: expected a whole number from 0 to 4294967295"),
        ("data.seed=-1", "data.seed=-1: expected a whole number from 0"),
        ("optimizer.lr=nan", "optimizer.lr=nan: expected a finite number"),
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
    (tmp_path / "out").mkdir()
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
    assert not [*tmp_path.rglob("args.json")]


def test_the_parts_of_a_dataset_are_no_classes(tmp_path: Path, photo_folder: Path) -> None:
    with pytest.raises(UserError, match=r"parts of a dataset; name the one to train on, data\.train_path=.*/train$"):
        pretrain(_config(tmp_path, "data.dataset=custom", f"data.train_path={photo_folder}"))
    assert not [*tmp_path.iterdir()]


def test_labels_are_those_of_the_folders_links_and_all(tmp_path: Path, photo_folder: Path) -> None:
    root = tmp_path / "subset"
    (root / "later" / ".ipynb_checkpoints").mkdir(parents=True)
    shutil.copy(photo_folder / "val" / "coffee" / "0.jpg", root / "later")
    shutil.copy(photo_folder / "val" / "coffee" / "1.jpg", root / "later" / ".ipynb_checkpoints")
    (root / "later" / "Thumbs.db").touch()
    (root / "later" / "up").symlink_to(root)
    (root / "first").symlink_to(photo_folder / "val" / "rocket")
    (root / ".trash").mkdir()
    images = FolderImages.of(root, str)
    assert [images[index] for index in range(len(images))] == [
        *((str(root / "first" / f"{index}.jpg"), 0) for index in range(4)),
        (str(root / "later" / "0.jpg"), 1),
    ]
    assert {label for _, label in FolderImages.of(root, str, labelled=False)} == {-1}


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"checkpoint\.dir: .*cannot be written"):
        pretrain(_config(tmp_path / "file"))


@pytest.mark.parametrize(
    ("overrides", "num_features"),
    [
        ([], 128),
        (["backbone.name=resnet10"], 512),
        (["backbone.name=resnet18"], 512),
        (["backbone.name=resnet18", "backbone.kwargs={}"], 512),
        (["backbone.name=resnet18w3"], 1536),
        (["backbone.name=resnet18", "backbone.kwargs.width=0.5"], 256),
        (["backbone.kwargs.width=0.5"], 256),
        (["+recipe=mocov2_imagenet", "backbone.name=resnet50w3"], 6144),
        (["+recipe=mocov2_imagenet", "backbone.name=resnet10w025"], 128),
        (["+recipe=mocov2_imagenet_x3", "backbone.name=resnet18"], 512),
    ],
)
def test_a_backbones_name_means_what_it_says(overrides: list[str], num_features: int) -> None:
    cfg = compose_command("pretrain", overrides)
    with torch.device("meta"):
        assert Architecture(cfg.backbone.name, plain(cfg.backbone.kwargs)).build().inplanes == num_features


def test_a_name_means_the_same_in_python(tmp_path: Path) -> None:
    settings = PretrainConfig(
        backbone=PretrainBackboneConfig("resnet10"),
        method="simclr",
        data=PretrainDataConfig(num_images=2, size=32),
        invariance=InvarianceConfig(family="ventral", crop_size=32),
        optimizer=OptimizerConfig(name="adamw", batch_size=2),
        scheduler=SchedulerConfig(warmup_epochs=0),
        checkpoint=CheckpointConfig(dir=str(tmp_path)),
        max_epochs=1,
        accelerator="cpu",
    )
    path = pretrain(settings)
    assert path.name == "simclr-latent_scenes-0-ep=0.ckpt"
    assert load_backbone(path).num_features == 512
    args = json.loads((path.parent / "args.json").read_text())
    assert args["method_kwargs"] == {"proj_hidden_dim": 256, "proj_output_dim": 128, "temperature": 0.2}
    assert (args["optimizer"]["lr"], args["optimizer"]["weight_decay"]) == (0.001, 0.01)


@pytest.mark.parametrize("command", [one for one in COMMANDS if command_behind(one) != "study"])  # which has presets
def test_no_configuration_has_settings_of_one_choice_alone(command: str) -> None:
    """They would stay when another is chosen: mappings that may have any keys are merged."""
    cfg = compose_command(command)
    for key in open_mappings(schema_of(command)):
        assert OmegaConf.select(cfg, key) == {}, key


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], (0.3, 1e-4)),
        (["optimizer.name=adam"], (1e-3, 0.0)),
        (["optimizer.name=adamw"], (1e-3, 1e-2)),
        (["optimizer.name=adamw", "optimizer.lr=0.3", "optimizer.weight_decay=0"], (0.3, 0)),
        (["+recipe=mocov2"], (0.03, 1e-4)),
    ],
)
def test_the_learning_rate_is_the_optimisers_own(tmp_path: Path, overrides: list[str], expected: Any) -> None:
    cfg = _config(tmp_path, *overrides, *(["method_kwargs.bn_groups=4"] if "+recipe=mocov2" in overrides else []))
    build_method(cfg)
    assert (cfg.optimizer.lr, cfg.optimizer.weight_decay) == expected


def test_a_runs_name_is_of_its_method_and_its_data(tmp_path: Path) -> None:
    assert _config(tmp_path).name == "mocov2plus-latent_scenes"
    assert _config(tmp_path, "method=simclr", "data.dataset=cifar10").name == "simclr-cifar10"
    assert _config(tmp_path, "method=simclr", "name=mine").name == "mine"


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
        ("method_kwargs.temperature=0", r"method_kwargs\.temperature=0: expected a positive number"),
    ],
)
def test_values_out_of_range_are_named(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pretrain(_config(tmp_path / "out", *override.split()))


@pytest.mark.parametrize("where", ["the loss is nan in epoch 1, step 4", "momentum_backbone.bn1.running_mean is not"])
def test_training_that_diverges_ends_with_a_line_and_leaves_the_last_good_checkpoint(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss that is not finite, and weights that are not though every loss was."""
    loss = MoCoV2Plus.loss

    def diverge(self: MoCoV2Plus, crops: list[torch.Tensor]) -> torch.Tensor:
        found = loss(self, crops)
        if "loss" in where and self.global_step == 4:
            return found * torch.nan
        if self.global_step == 7:  # the last of the second epoch
            self.momentum_backbone.bn1.running_mean.fill_(torch.inf)
        return found

    monkeypatch.setattr(MoCoV2Plus, "loss", diverge)
    config = _config(tmp_path, "max_epochs=3")
    for _ in range(2):  # again, where it is taken up
        with pytest.raises(UserError, match=f"^training diverged: {where}.* of the time before: .*ep=0.ckpt; try a sm"):
            pretrain(config)
        (left,) = tmp_path.rglob("*.ckpt")
        assert first_not_finite(_state(left)["state_dict"]) is None
    assert not list(tmp_path.rglob("*.unfinished"))
    monkeypatch.setattr(MoCoV2Plus, "loss", loss)
    whole = pretrain(_config(tmp_path / "whole", "max_epochs=3"))
    assert torch.equal(_weights(pretrain(config)), _weights(whole))


def _weights(path: Path) -> torch.Tensor:
    return torch.cat([weight.flatten().double() for weight in _state(path)["state_dict"].values()])


def test_training_that_diverges_at_once_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = MoCoV2Plus.loss
    monkeypatch.setattr(MoCoV2Plus, "loss", lambda self, crops: loss(self, crops) / 0)
    with pytest.raises(UserError, match="the loss is inf in epoch 0, step 0; no checkpoint was written"):
        pretrain(_config(tmp_path))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_checkpoint_that_is_not_finite_is_not_gone_on_from(tmp_path: Path) -> None:
    config = _config(tmp_path, "checkpoint.keep_prev=true")
    path = pretrain(config)
    expected, broken = _weights(path), _state(path)
    broken["state_dict"]["backbone.bn1.weight"][0] = torch.nan
    torch.save(broken, path)
    with pytest.warns(UserWarning, match=r"passed over: .*ep=1\.ckpt: backbone\.bn1\.weight is not finite"):
        assert torch.equal(_weights(pretrain(config)), expected)


@pytest.mark.parametrize("state", [None, {}, [1]])
def test_a_checkpoint_without_weights_is_not_gone_on_from(tmp_path: Path, state: Any) -> None:
    config = _config(tmp_path, "checkpoint.keep_prev=true")
    path = pretrain(config)
    expected = _weights(path)
    torch.save({**_state(path), "state_dict": state}, path)
    with pytest.warns(UserWarning, match=r"passed over: .*ep=1\.ckpt: there are no weights in it"):
        assert torch.equal(_weights(pretrain(config)), expected)


def test_weights_of_eight_bits_can_be_looked_at() -> None:
    weights = torch.ones(2).to(torch.float8_e4m3fn)
    assert first_not_finite({"a": weights}) is None
    assert first_not_finite({"a": weights, "b": (weights.float() * torch.nan).to(weights.dtype)}) == "b"


def test_a_checkpoint_of_tensors_without_numbers_is_not_gone_on_from(tmp_path: Path) -> None:
    config = _config(tmp_path, "checkpoint.keep_prev=true")
    path = pretrain(config)
    expected, broken = _weights(path), _state(path)
    broken["state_dict"]["backbone.bn1.weight"] = torch.eye(2).to_sparse()
    torch.save(broken, path)
    with pytest.warns(
        UserWarning, match=r"passed over: .*ep=1\.ckpt: backbone\.bn1\.weight is a tensor of kind sparse"
    ):
        assert torch.equal(_weights(pretrain(config)), expected)


@pytest.mark.parametrize("damage", [{"optimizer_states": None}, {"loops": {}}, {"lr_schedulers": [7]}])
def test_a_checkpoint_that_training_cannot_go_on_from_is_one_line(tmp_path: Path, damage: dict[str, Any]) -> None:
    config = _config(tmp_path, "checkpoint.keep_prev=true")
    pretrain(config).unlink()
    (path,) = tmp_path.rglob("*ep=0.ckpt")
    torch.save({**_state(path), **damage}, path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"ep=0\.ckpt: training does not go on from it \(.*\); remove it"):
        pretrain(config)
    assert path.read_bytes() == before


def test_an_error_of_training_that_went_on_is_not_laid_to_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(tmp_path, "checkpoint.keep_prev=true")
    pretrain(config).unlink()

    def fail(self: MoCoV2Plus, crops: list[torch.Tensor]) -> torch.Tensor:
        raise ZeroDivisionError("of a method of one's own")

    monkeypatch.setattr(MoCoV2Plus, "loss", fail)
    with pytest.raises(ZeroDivisionError):
        pretrain(config)


def test_a_folder_in_a_checkpoints_place_is_refused_before_training(tmp_path: Path) -> None:
    config = _config(tmp_path)
    path = pretrain(config)
    path.unlink()
    path.mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"ep=1\.ckpt: is a directory"):
        pretrain(config)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.batch_size=1"], r"optimizer\.batch_size=1: expected at least 2"),
        (["method=simclr", "optimizer.batch_size=1"], r"optimizer\.batch_size=1: expected at least 2"),
        (["+optimizer.kwargs.momentum=-1"], "optimizer: sgd does not take these settings: Invalid momentum value: -1"),
        (["method_kwargs.temperature=-1"], r"method_kwargs\.temperature=-1: expected a positive number"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        pretrain(_config(tmp_path / "runs", *overrides))
    assert not (tmp_path / "runs").exists()


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
    build_method(cfg)  # fills in what the run's arguments say of the method
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


def test_a_process_that_reads_images_and_is_ended_from_outside_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IndexedDataset, "__getitem__", lambda self, index: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UserError, match=r"^data\.num_workers=1: a process that reads images was ended from outside"):
        pretrain(_config(tmp_path, "data.num_workers=1"))
    assert not [*tmp_path.rglob("args.json")]


def test_being_asked_to_end_passes_through_lightning(tmp_path: Path) -> None:
    def ask(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(_config(tmp_path), ask)
