"""A run that is watched is the run that it would have been."""

import copy
import csv
import random
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torchvision.datasets import ImageFolder

from solo_invariance.backbones import Architecture, Backbone, BackboneConfig, InputSpec, Provenance, load_backbone
from solo_invariance.config.composed import compose_command
from solo_invariance.data.images import TensorImages
from solo_invariance.errors import UserError
from solo_invariance.families import Canvas
from solo_invariance.hosts.embedded.pretrain import pretrain
from solo_invariance.hosts.lightning.monitor import Monitor
from solo_invariance.hosts.lightning.monitor_callback import MonitorCallback
from solo_invariance.hosts.lightning.monitor_settings import MonitorSettings
from solo_invariance.hosts.lightning.run_images import RunImages
from solo_invariance.hosts.lightning.watching import unchanged_random_states
from solo_invariance.measure import Geometry, InvarianceMeasurement, MeasureSettings
from solo_invariance.plugins import load_plugin

_NAMES = {f"invariance/{name}/similarity" for name in ("rotation", "hue", "mean_spatial", "mean_appearance")}
_NAMES |= {"health/rankme", "health/alpha_req"}
_WATCH = [
    "+invariance=monitor",
    "invariance.monitor.transforms=[rotation,hue]",
    "invariance.monitor.k=4",
    "invariance.monitor.num_images=6",
    "invariance.monitor.reference_images=12",
]


def _pretrain(out: Path, *overrides: str) -> Path:
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
    return pretrain(compose_command("pretrain", [*small, *overrides]))


def _logged(checkpoint: Path) -> list[dict[str, str]]:
    return _rows(checkpoint.parent / "metrics.csv")


def _rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def _random_states() -> tuple[Any, ...]:
    """The states of torch, Python and NumPy, the place in NumPy's numbers, too."""
    kind, numbers, *place = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state(), random.getstate(), kind, np.asarray(numbers).tolist(), place


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
        states.append(_random_states())
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
    # After the second epoch, and after the last, at the step at which Lightning logs an epoch's numbers.
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "7"), ("2", "11")]
    from solo_invariance.data.latent_scenes.dataset import LatentScenes

    backbone = load_backbone(BackboneConfig(checkpoint=str(checkpoint)))
    scenes = TensorImages(LatentScenes(32, size=32, seed=0).images, 37)
    _assert_measured(rows[-1], backbone, torch.stack([scenes[index] for index in range(32)]))


def _assert_measured(row: dict[str, str], backbone: Backbone, images: Tensor) -> None:
    """Whether what was logged under ``_WATCH`` is what measuring a backbone on images of 37 pixels gives."""
    chosen = images[np.random.default_rng(0).permutation(len(images))[:12]]
    settings = MeasureSettings(k=4, num_images=6, geometry=Geometry(37, 32), batch_size=64)
    measurement = InvarianceMeasurement(backbone, TensorImages(chosen), settings)
    for name in ("rotation", "hue"):
        measured = measurement.measure_transform(name, load_plugin("transforms", name), TensorImages(chosen[:6]))
        assert float(row[f"invariance/{name}/similarity"]) == pytest.approx(
            measured.summary["similarity"]["mean"], abs=1e-5
        )


def test_the_means_are_those_of_a_kind(tiny_backbone: Backbone) -> None:
    images = torch.randint(0, 256, (6, 3, 37, 37), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    names = ["rotation", "scale", "hue"]
    transforms = {name: load_plugin("transforms", name) for name in names}
    monitor = Monitor(images, transforms, InputSpec(32), MonitorSettings(k=2, num_images=6))
    measured = monitor.measure(tiny_backbone)
    numbers = {name.split("/")[1]: value for name, value in measured.items() if name.startswith("invariance/")}
    assert numbers.keys() == {*names, "mean_spatial", "mean_appearance"}
    assert numbers["mean_spatial"] == pytest.approx((numbers["rotation"] + numbers["scale"]) / 2)
    assert numbers["mean_appearance"] == numbers["hue"]
    assert monitor.summary() == "similarity under rotation, scale, hue; k 2; 6 images, whitened by 6"


def test_the_run_images_of_families_are_read_as_files(photo_folder: Path) -> None:
    """The families' canvas takes the place of torchvision's way of reading a file, which the monitor's images need."""
    plain, trained = ImageFolder(str(photo_folder / "train")), ImageFolder(str(photo_folder / "train"))
    canvas = Canvas(32)
    trained.transform, trained.loader = canvas, canvas.load
    for index in (0, 9):
        assert torch.equal(RunImages(trained, 40)[index], RunImages(plain, 40)[index])
    assert trained.loader == canvas.load


def test_two_processes_that_are_watched_are_the_same_and_the_first_measures(tmp_path: Path) -> None:
    """Two ranks over gloo, with and without; every rank writes what it ends with."""
    script = tmp_path / "two.py"
    script.write_text(_TWO_PROCESSES)
    # Into a file: processes that hang would keep a pipe open, and the limit would wait for them.
    with (tmp_path / "said.txt").open("w") as said:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), str(tmp_path)], stdout=said, stderr=said, timeout=120
        )
    assert done.returncode == 0, (tmp_path / "said.txt").read_text()[-3000:]
    plain, watched = (
        [torch.load(tmp_path / name / f"{rank}.pt", weights_only=True) for rank in range(2)]
        for name in ("plain", "watched")
    )
    measured = [_take_measured(end["metrics"]) for end in watched]
    assert measured[0] == pytest.approx(measured[1], rel=0, nan_ok=True)
    assert _equal(plain, watched)
    assert "loss_epoch" in watched[0]["metrics"]
    assert not _equal(watched[0]["random"], watched[1]["random"])
    rows = {path.parent.name: _rows(path) for path in tmp_path.rglob("metrics.csv")}
    assert rows.keys() == {"plain", "watched"}
    assert "invariance/hue/similarity" not in rows["plain"][0]
    logged = [row for row in rows["watched"] if row["invariance/hue/similarity"]]
    assert [row["step"] for row in logged] == ["3", "5"]  # once after the second epoch, and once after the last
    architecture = Architecture("resnet10", {"width": 0.125})
    backbone = Backbone(architecture.build(), architecture, InputSpec(32), Provenance("two processes"))
    backbone.network.load_state_dict(watched[0]["backbone"])
    images = torch.randint(0, 256, (16, 3, 37, 37), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    _assert_measured(logged[-1], backbone, images)
    assert measured[0].keys() == _NAMES
    for name in _NAMES - {"health/alpha_req"}:  # of which 12 images say nothing
        assert measured[0][name] == pytest.approx(float(logged[-1][name]))


def _take_measured(metrics: dict[str, float]) -> dict[str, float]:
    """Take out of a Trainer's ``callback_metrics`` what was measured."""
    return {name: metrics.pop(name) for name in list(metrics) if name.startswith(("invariance/", "health/"))}


# The processes are forked, so that what takes longest, importing, is done once.
_TWO_PROCESSES = """
import os
import sys
import warnings
from datetime import timedelta
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader, Dataset

from solo_invariance.backbones import Architecture

WATCH = {"every": 2, "transforms": ["rotation", "hue"], "k": 4, "num_images": 6, "reference_images": 12}

class Images(Dataset):
    transform = None
    images = torch.randint(0, 256, (16, 3, 37, 37), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    def __len__(self):
        return 16
    def __getitem__(self, index):
        image = self.images[index]
        return image / 255 if self.transform is None else self.transform(image)

class Method(LightningModule):
    def __init__(self, invariance, out):
        super().__init__()
        self.cfg = {"augmentations": [{"crop_size": 32}], "invariance": invariance}
        self.out = out
        self.backbone = Architecture("resnet10", {"width": 0.125}).build()
        self.head = torch.nn.Linear(64, 1)
    def on_train_start(self):
        torch.manual_seed(self.global_rank)
    def training_step(self, images, batch_idx):
        loss = self.head(self.backbone(images + torch.rand_like(images) / 10)).square().mean()
        self.log("loss", loss, on_step=True, on_epoch=True, sync_dist=True)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
    def on_fit_end(self):
        metrics = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        ends = {"backbone": self.backbone.state_dict(), "head": self.head.state_dict(), "metrics": metrics,
                "random": torch.get_rng_state()}
        torch.save(ends, self.out / f"{self.global_rank}.pt")

if __name__ == "__main__":
    for name, invariance in (("plain", {}), ("watched", {"monitor": WATCH})):
        out = Path(sys.argv[1]) / name
        torch.manual_seed(0)
        method = Method(invariance, out)
        os.environ.pop("MASTER_PORT", None)  # a new one for each run
        strategy = DDPStrategy(start_method="fork", process_group_backend="gloo", timeout=timedelta(seconds=60))
        trainer = Trainer(max_epochs=3, accelerator="cpu", devices=2, strategy=strategy, log_every_n_steps=1,
                          logger=CSVLogger(out.parent, name="", version=name), enable_checkpointing=False,
                          enable_progress_bar=False, enable_model_summary=False)
        trainer.fit(method, DataLoader(Images(), batch_size=4, shuffle=True))
"""


def _trainer() -> tuple[Trainer, MonitorCallback]:
    """A Trainer and the callback that it was given for being one."""
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    (callback,) = (one for one in trainer.callbacks if isinstance(one, MonitorCallback))
    return trainer, callback


def test_every_process_is_told_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _Module()
    module.cfg = {"invariance": {"monitor": {}}}
    module.backbone = torch.nn.Identity()
    trainer, callback = _trainer()
    callback.setup(trainer, module, "fit")
    monkeypatch.setattr(Trainer, "world_size", 2)
    monkeypatch.setattr(Trainer, "global_rank", 1)

    def gather(gathered: list[Any], mine: list[Any]) -> None:
        gathered[:] = [[([], ["the first has no images"])], mine]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    with pytest.raises(UserError, match=r"^the first has no images$"):
        callback.on_train_start(trainer, module)


def test_training_goes_on_where_features_are_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Monitor.measure

    def measure_broken(self: Monitor, network: torch.nn.Module) -> dict[str, float]:
        broken = copy.deepcopy(network)
        next(broken.parameters()).data.fill_(torch.nan)
        return measure(self, broken)

    monkeypatch.setattr(Monitor, "measure", measure_broken)
    with pytest.warns(UserWarning, match=r"nothing measured after 3 epochs: .* features are not finite"):
        checkpoint = _pretrain(tmp_path, *_WATCH)
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 3 * 4
    assert "invariance/hue/similarity" not in _logged(checkpoint)[0]


def test_whatever_goes_wrong_in_watching_is_said_once_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Monitor, network: torch.nn.Module) -> dict[str, float]:
        raise ZeroDivisionError("no factor")

    monkeypatch.setattr(Monitor, "measure", fail)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checkpoint = _pretrain(tmp_path, *_WATCH, "invariance.monitor.every=1")
    said = [str(one.message) for one in caught if "nothing measured" in str(one.message)]
    assert said == ["invariance.monitor: nothing measured after 1 epochs: ZeroDivisionError: no factor"]
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 3 * 4


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
    module = _Module()
    module.cfg = cfg
    trainer, callback = _trainer()
    callback.setup(trainer, module, "fit")
    callback.on_train_epoch_end(trainer, module)
    assert callback.state_dict() == {}


def test_a_module_without_a_backbone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _Module()
    module.cfg = {"invariance": {"monitor": {}}}
    trainer, callback = _trainer()
    module.head = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match="_Module has no backbone to measure; its modules are: head"):
        callback.setup(trainer, module, "fit")


def test_a_dataset_is_read_without_its_transform_and_keeps_it(photo_folder: Path) -> None:
    def refuse(image: Any) -> Any:
        raise AssertionError("the run's own transform")

    dataset = ImageFolder(str(photo_folder / "val"), refuse)
    images = RunImages(dataset, 40)
    assert len(images) == len(dataset) == 24
    assert all(min(images[index].shape[1:]) == 40 for index in range(0, 24, 5))
    assert dataset.transform is refuse


def test_random_states_are_given_back_after_an_error_too() -> None:
    torch.manual_seed(0)
    before = _random_states()
    with pytest.raises(ZeroDivisionError), unchanged_random_states():
        _ = torch.rand(3), random.random(), np.random.rand(3), 1 / 0  # noqa: NPY002
    assert _equal(_random_states(), before)


@pytest.mark.host
@pytest.mark.parametrize("processes", [1, 2])
def test_a_host_run_that_is_watched_is_the_same_run(run_spied: Any, tmp_path: Path, processes: int) -> None:
    """Of the unmodified main_pretrain.py, with validation, to the last bit of weights, batches and metrics."""
    _, plain, first = run_spied("plain", processes)
    _, watched, last = run_spied("watched", processes, *[*_WATCH, "invariance.monitor.every=1"])
    seen, ends = (plain, watched), (first, last)
    for rank in seen[1]:
        taken = [_take_measured(metrics) for metrics in rank["metrics"]]
        assert taken[-1].keys() == _NAMES
    assert {"train_nce_loss", "val_loss"} <= set(seen[0][0]["metrics"][-1])
    assert _equal(*seen)
    assert _equal(*(torch.load(end, weights_only=True)["state_dict"] for end in ends))
    logs = [_rows(path) for path in (tmp_path / "lightning_logs").rglob("metrics.csv")]
    measured = [[row for row in log if row.get("invariance/rotation/similarity")] for log in logs]
    assert sorted(map(len, measured)) == [0, 2]
