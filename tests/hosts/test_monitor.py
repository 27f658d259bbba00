"""A run that is watched is the run that it would have been."""

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from lightning.pytorch import LightningModule, Trainer
from torchvision.datasets import ImageFolder

from solo_invariance.backbones import BackboneConfig, load_backbone
from solo_invariance.config import PretrainConfig
from solo_invariance.data.images import TensorImages
from solo_invariance.errors import UserError
from solo_invariance.hosts.monitor import MonitorCallback, MonitorSettings
from solo_invariance.hosts.monitoring import DatasetImages, unchanged_random_states
from solo_invariance.hosts.plugins import load_plugin
from solo_invariance.hosts.pretrain import pretrain
from solo_invariance.measure import Geometry, InvarianceMeasurement, MeasureSettings

_WATCH = [
    "+invariance=monitor",
    "invariance.monitor.transforms=[rotation,hue]",
    "invariance.monitor.k=4",
    "invariance.monitor.num_images=6",
    "invariance.monitor.reference_images=12",
]


def _pretrain(out: Path, *overrides: str) -> Path:
    ConfigStore.instance().store(name="schema_pretrain", node=PretrainConfig)
    small = [
        "augmentations=invariance/default",
        "backbone.kwargs.width=0.125",
        "data.num_images=32",
        "data.size=32",
        "invariance.crop_size=32",
        "optimizer.batch_size=8",
        "method_kwargs.queue_size=16",
        "max_epochs=3",
        "accelerator=cpu",
        f"checkpoint.dir={out}",
    ]
    with initialize_config_module("solo_invariance.plugin_configs", version_base="1.3"):
        return pretrain(compose("pretrain", overrides=[*small, *overrides]))


def _logged(checkpoint: Path) -> list[dict[str, str]]:
    return _rows(checkpoint.parent / "metrics.csv")


def _rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one == other


def test_weights_checkpoints_metrics_and_random_states_are_those_of_a_run_that_is_not_watched(tmp_path: Path) -> None:
    ends, states = [], []
    for name, overrides in (("plain", []), ("watched", [*_WATCH, "invariance.monitor.every=1"])):
        ends.append(_pretrain(tmp_path / name, *overrides))
        states.append((torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()))  # noqa: NPY002
    plain, watched = (torch.load(path, weights_only=True) for path in ends)
    assert plain.keys() == watched.keys()
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "epoch", "global_step"):
        assert _equal(plain[part], watched[part]), part
    assert _equal(*states)
    losses = [[row["train_loss"] for row in _logged(path) if row["train_loss"]] for path in ends]
    assert len(losses[0]) == 3 * 4
    assert losses[0] == losses[1]


def test_what_is_logged_is_what_measuring_the_checkpoint_gives(tmp_path: Path) -> None:
    checkpoint = _pretrain(tmp_path, *_WATCH, "invariance.monitor.every=2")
    rows = [row for row in _logged(checkpoint) if row["invariance/hue/similarity"]]
    assert [row["step"] for row in rows] == ["8", "12"]  # after the second epoch, and after the last
    from solo_invariance.data.latent_scenes import LatentScenes

    backbone = load_backbone(BackboneConfig(checkpoint=str(checkpoint)))
    scenes = TensorImages(LatentScenes(32, size=32, seed=0).images, 37)
    chosen = torch.stack([scenes[int(i)] for i in np.random.default_rng(0).permutation(32)[:12]])
    settings = MeasureSettings(k=4, num_images=6, geometry=Geometry(37, 32), batch_size=64)
    measurement = InvarianceMeasurement(backbone, TensorImages(chosen), settings)
    for name in ("rotation", "hue"):
        measured = measurement.measure_transform(name, load_plugin("transforms", name), TensorImages(chosen[:6]))
        assert float(rows[-1][f"invariance/{name}/similarity"]) == pytest.approx(
            measured.summary["similarity"]["mean"], abs=1e-5
        )


def test_a_watched_run_goes_on_from_one_that_was_not(tmp_path: Path) -> None:
    first = _pretrain(tmp_path)
    assert _pretrain(tmp_path, *_WATCH) == first


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["invariance.monitor.every=0"], r"monitor\.every=0: expected a whole number of at least 1"),
        (["invariance.monitor.k=many"], r"monitor\.k=many: expected a whole number"),
        (["+invariance.monitor.evry=2"], r"monitor\.evry: there is no such key; there are every"),
        (["invariance.monitor.transforms=[rotatoin]"], "there is no 'rotatoin'; did you mean 'rotation'"),
        (["invariance.monitor.transforms=3"], "expected all, or a list"),
        (["invariance.monitor.data=nowhere"], "nowhere: no such folder of images"),
    ],
)
def test_wrong_keys_stop_before_training(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _pretrain(tmp_path, *_WATCH, *overrides)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(UserError, match=r"invariance\.monitor=yes: expected keys and values"):
        MonitorSettings.from_mapping("yes")


class _Module(LightningModule):
    cfg: Any


@pytest.mark.parametrize("cfg", [None, {}, {"invariance": None}, {"invariance": {"family": "ventral"}}, "monitor"])
def test_other_modules_are_left_alone(cfg: Any) -> None:
    module, callback = _Module(), MonitorCallback()
    module.cfg = cfg
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    callback.setup(trainer, module, "fit")
    callback.on_train_epoch_end(trainer, module)
    assert callback.state_dict() == {}


def test_a_module_without_a_backbone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    module, callback = _Module(), MonitorCallback()
    module.cfg = {"invariance": {"monitor": {}}}
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with pytest.raises(UserError, match="_Module has no backbone to measure"):
        callback.setup(trainer, module, "fit")


def test_a_dataset_is_read_without_its_transform_and_keeps_it(photo_folder: Path) -> None:
    def refuse(image: Any) -> Any:
        raise AssertionError("the run's own transform")

    dataset = ImageFolder(str(photo_folder / "val"), refuse)
    images = DatasetImages(dataset, 40)
    assert len(images) == len(dataset) == 24
    assert all(min(images[index].shape[1:]) == 40 for index in range(0, 24, 5))
    assert dataset.transform is refuse


def test_random_states_are_given_back_after_an_error_too() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state(), random.getstate()
    with pytest.raises(ZeroDivisionError), unchanged_random_states():
        _ = torch.rand(3), random.random(), 1 / 0
    assert _equal((torch.get_rng_state(), random.getstate()), before)


SPIED = Path(__file__).parent / "spied_pretrain.py"


@pytest.mark.host
def test_a_host_run_that_is_watched_is_the_same_run(run_host: Any, photo_folder: Path, tmp_path: Path) -> None:
    """Of the unmodified main_pretrain.py, with validation, to the last bit of weights, batches and metrics."""
    seen, ends = [], []
    for name, overrides in (("plain", []), ("watched", [*_WATCH, "invariance.monitor.every=1"])):
        out = tmp_path / name
        out.mkdir()
        run_host(
            SPIED,
            "--config-path=scripts/pretrain/cifar",
            "--config-name=mocov2plus",
            f"name={name}",
            "data.dataset=custom",
            f"data.train_path={photo_folder / 'train'}",
            f"data.val_path={photo_folder / 'val'}",
            "augmentations=invariance/default",
            "+invariance.crop_size=32",
            "method_kwargs.proj_hidden_dim=32",
            "method_kwargs.proj_output_dim=16",
            "method_kwargs.queue_size=64",
            "max_epochs=2",
            "auto_resume.enabled=False",
            f"checkpoint.dir={out / 'checkpoints'}",
            *overrides,
            SPY_OUT=str(out),
        )
        seen.append(torch.load(out / "rank0.pt", weights_only=True))
        ends.append(torch.load(next((out / "checkpoints").rglob("*ep=1.ckpt")), weights_only=True))
    assert {"train_nce_loss", "val_loss"} <= set(seen[0]["metrics"][-1])
    assert _equal(*seen)
    assert _equal(*(end["state_dict"] for end in ends))
    logs = [_rows(path) for path in (tmp_path / "lightning_logs").rglob("metrics.csv")]
    watched = [[row for row in log if row.get("invariance/rotation/similarity")] for log in logs]
    assert sorted(map(len, watched)) == [0, 2]
