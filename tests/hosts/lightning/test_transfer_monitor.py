"""A run that is scored while it trains is the run that it would have been."""

import csv
import math
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder

from solo_invariance import OwnTask, TaskConfig, TransferMonitor, TransferSettings, transfer
from solo_invariance.backbones import Architecture, Backbone, BackboneConfig, load_backbone
from solo_invariance.config.composed import compose_command
from solo_invariance.errors import UserError
from solo_invariance.hosts.embedded.best_checkpoint import BestCheckpoint
from solo_invariance.hosts.embedded.pretrain import pretrain
from solo_invariance.hosts.lightning.training_files import count_trained_on
from solo_invariance.measure import feature_statistics, health_of
from solo_invariance.transfer.held_tasks import HeldTasks, TaskScore

_FEW = 24
_WATCH = [
    "+invariance=[monitor,transfer]",
    "invariance.monitor.transforms=[hue]",
    "invariance.monitor.k=2",
    "invariance.monitor.num_images=6",
    "invariance.monitor.every=1",
    "invariance.transfer.every=1",
    f"invariance.transfer.num_images={_FEW}",
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


def _rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def test_the_embedded_hosts_checkpoint_and_losses_are_those_of_a_run_without_it(
    tmp_path: Path, photo_folder: Path
) -> None:
    photos = f"{{name: folder, path: {photo_folder}, label: photos, probe: knn}}"
    watch = [*_WATCH, f"invariance.transfer.tasks=[shape,hue,{photos}]"]
    ends = [_pretrain(tmp_path / name, *more) for name, more in (("plain", []), ("watched", watch))]
    plain, watched = (torch.load(path, weights_only=True) for path in ends)
    assert plain.keys() == watched.keys()
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "epoch", "global_step"):
        assert _equal(plain[part], watched[part]), part
    rows = [_rows(path.parent / "metrics.csv") for path in ends]
    losses = [[row["train_loss"] for row in run if row["train_loss"]] for run in rows]
    assert len(losses[0]) == 3 * 4
    assert losses[0] == losses[1]
    scored = [row for row in rows[1] if row["transfer/shape/accuracy"]]
    assert [(row["epoch"], row["step"]) for row in scored] == [("0", "3"), ("1", "7"), ("2", "11")]
    assert all(row["transfer/photos/accuracy"] and row["transfer/hue/r2"] for row in scored)
    assert sum(bool(row["invariance/hue/similarity"]) for row in rows[1]) == 3
    # What is logged last is what transfer says of the checkpoint.
    few = {"num_train": _FEW, "num_test": _FEW}
    backbone = load_backbone(BackboneConfig(checkpoint=str(ends[1])))
    found = transfer(backbone, [TaskConfig("shape", **few), TaskConfig("hue", **few)], device="cpu")
    assert float(scored[-1]["transfer/shape/accuracy"]) == found["shape"].score.mean
    assert float(scored[-1]["transfer/hue/r2"]) == pytest.approx(found["hue"].score.mean, abs=1e-6)
    knn = transfer(
        backbone, TaskConfig("folder", path=str(photo_folder), num_train=_FEW), TransferSettings("knn"), device="cpu"
    )
    assert float(scored[-1]["transfer/photos/accuracy"]) == knn.only.score.mean


def test_the_last_epoch_is_scored_whatever_every_is(tmp_path: Path) -> None:
    checkpoint = _pretrain(tmp_path, *_WATCH, "invariance.transfer.every=2", "invariance.transfer.tasks=[shape]")
    rows = [row for row in _rows(checkpoint.parent / "metrics.csv") if row["transfer/shape/accuracy"]]
    assert [row["epoch"] for row in rows] == ["1", "2"]


def test_a_run_goes_on_from_one_that_was_not_scored(tmp_path: Path) -> None:
    assert _pretrain(tmp_path, *_WATCH) == _pretrain(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["invariance.transfer.every=0"], "invariance.transfer.every=0: expected at least 1"),
        (["invariance.transfer.tasks=[shpe]"], "invariance.transfer.tasks: there is no 'shpe'; did you mean 'shape'"),
        (
            ["invariance.transfer.tasks=[{name: folder, path: nowhere}]"],
            "invariance.transfer.tasks: folder: nowhere: no such folder of classes",
        ),
        (["invariance.transfer.tasks=[folder]"], "invariance.transfer.tasks: folder: task.path is not set, expected"),
        (["invariance.transfer.probe=knn"], "invariance.transfer.probe=knn: task.name=hue is regression, take ridge"),
        (["+invariance.transfer.evry=2"], "invariance.transfer.evry: there is no such key; did you mean 'every'?"),
        (["invariance.transfer.num_images=3"], "invariance.transfer.tasks: shape: probe=logistic: folds=5 for 3"),
    ],
)
def test_what_is_wrong_stops_before_training(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(message)}") as caught:
        _pretrain(tmp_path, *_WATCH, *overrides)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.ckpt"))


def _plan_scores(monkeypatch: pytest.MonkeyPatch, *scores: float) -> None:
    """Let the backbone's scores on ``shape`` be planned ones, one after the other."""
    planned = iter(scores)

    def score(self: HeldTasks, backbone: Backbone, *rest: Any) -> list[TaskScore]:
        return [TaskScore("shape", "shape/accuracy", next(planned), {})]

    monkeypatch.setattr(HeldTasks, "score", score)


_KEEP = ["checkpoint.monitor=transfer/shape/accuracy", "checkpoint.keep_prev=true"]


@pytest.mark.parametrize(("mode", "best"), [("max", 1), ("min", 2)])
def test_the_embedded_host_keeps_the_best_epochs_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, best: int
) -> None:
    few = ["+invariance=transfer", "invariance.transfer.tasks=[shape]", "invariance.transfer.every=1"]
    _plan_scores(monkeypatch, math.nan, 0.9, 0.3)
    run = [*few, *_KEEP, f"checkpoint.mode={mode}", f"invariance.transfer.num_images={_FEW}"]
    last = _pretrain(tmp_path, *run)
    kept = last.with_name("mocov2plus-latent_scenes-0-best.ckpt")
    expected = last.with_name(f"mocov2plus-latent_scenes-0-ep={best}.ckpt")
    found = torch.load(kept, weights_only=True)
    assert _equal(found["state_dict"], torch.load(expected, weights_only=True)["state_dict"])
    assert load_backbone(str(kept)).num_features == 64
    # Of a run that goes on, the best before counts, whatever comes.
    last.unlink()
    _plan_scores(monkeypatch, 0.6)
    assert _pretrain(tmp_path, *run) == last
    assert torch.load(kept, weights_only=True)["epoch"] == (1 if mode == "max" else 2)


@pytest.mark.parametrize(
    ("monitor", "mode", "best"), [("score", "max", 0.9), ("score", "min", None), ("other", "max", None)]
)
def test_a_run_that_goes_on_knows_the_best_of_the_same_number_alone(
    tmp_path: Path, monitor: str, mode: str, best: float | None
) -> None:
    before = {"monitor": "score", "mode": "max", "best": 0.9}
    torch.save({"state_dict": {}, "callbacks": {"BestCheckpoint": before}}, tmp_path / "best.ckpt")
    checkpoint = BestCheckpoint(tmp_path / "best.ckpt", monitor, mode)
    checkpoint.setup(None, None, "fit")  # type: ignore[arg-type]
    assert checkpoint.state_dict() == {"monitor": monitor, "mode": mode, "best": best}


def test_the_best_checkpoint_is_that_of_a_number_that_is_logged(tmp_path: Path) -> None:
    watch = [*_WATCH, "invariance.transfer.tasks=[shape]"]
    with pytest.raises(UserError, match=r"^checkpoint\.monitor=transfer/shape/r2: nothing logs it; did you mean"):
        _pretrain(tmp_path, *watch, "checkpoint.monitor=transfer/shape/r2")
    assert not list(tmp_path.rglob("*.ckpt"))
    last = _pretrain(tmp_path, "checkpoint.monitor=train_loss", "checkpoint.mode=min")
    rows = _rows(last.parent / "metrics.csv")
    losses = [float(row["train_loss"]) for row in rows if row["train_loss"]]
    ends = losses[3::4]
    assert torch.load(next(tmp_path.rglob("*best.ckpt")), weights_only=True)["epoch"] == ends.index(min(ends))


def test_faiss_that_is_missing_is_said_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"^invariance\.transfer: probe=knn needs faiss: pip install"):
        _pretrain(tmp_path, *_WATCH, "invariance.transfer.tasks=[shape]", "invariance.transfer.probe=knn")
    assert not list(tmp_path.rglob("*.ckpt"))


class _Images(Dataset[Tensor]):
    """Augmented in the workers by draws from all global random states."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.rand(24, 3, 32, 32, generator=generator)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        shift = random.random() + float(np.random.rand())  # noqa: NPY002
        return self.images[index] + torch.rand(1) + shift


class _Method(LightningModule):
    """With dropout, batch normalisation, and draws in training and validation."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"encoder": Architecture("resnet10", {"width": 0.125}).build()})
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 1))

    def _loss(self, images: Tensor) -> Tensor:
        noisy = images + torch.rand_like(images) + random.random() + float(np.random.rand())  # noqa: NPY002
        loss: Tensor = self.head(self.model["encoder"](noisy)).square().mean()
        return loss

    def training_step(self, images: Tensor, batch_idx: int) -> Tensor:
        loss = self._loss(images)
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, images: Tensor, batch_idx: int) -> None:
        self.log("val_loss", self._loss(images))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1)}


def _own_task(count: int = 40) -> OwnTask:
    images = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    half = count // 2
    brightness = images[:, :, :16].float().mean((1, 2, 3))
    return OwnTask.of(images[:half], brightness[:half], images[half:], brightness[half:], label="brightness")


def _fit(
    out: Path, *callbacks: Callback, validated: bool = True, epochs: int = 3, module: Any = None, **options: Any
) -> tuple[Trainer, dict[str, Any]]:
    """Train, and return the Trainer with all that a run ends with."""
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(0)
    module = _Method() if module is None else module
    num_workers = options.pop("num_workers", 0)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=CSVLogger(out, name="", version=""),
        callbacks=[*callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **{"enable_checkpointing": any(isinstance(one, ModelCheckpoint) for one in callbacks), **options},
    )
    loader = DataLoader(_Images(), batch_size=8, shuffle=True, num_workers=num_workers)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # that Lightning meets in torch
        warnings.filterwarnings("ignore", category=PossibleUserWarning)  # advice on workers and validation
        trainer.fit(module, loader, DataLoader(_Images(), batch_size=8) if validated else None)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    numpy = np.random.get_state()  # noqa: NPY002
    return trainer, {
        "weights": module.state_dict(),
        "optimizers": [one.state_dict() for one in trainer.optimizers],
        "metrics": {name: value for name, value in metrics.items() if not name.startswith(("transfer/", "health/"))},
        "random": (torch.get_rng_state(), random.getstate(), numpy[0], np.asarray(numpy[1]).tolist(), list(numpy[2:])),
        "grads": [weight.grad is None for weight in module.parameters()],
        "training": [one.training for one in module.modules()],
    }


@pytest.mark.parametrize("validated", [True, False])
def test_any_programs_run_is_the_same_to_the_last_bit(tmp_path: Path, validated: bool) -> None:
    """With workers that draw from global random states, dropout, batch normalisation, and a validation that draws."""
    monitor = TransferMonitor([_own_task(), "shape"], "model.encoder", every=2, num_images=_FEW, crop_size=32)
    _, plain = _fit(tmp_path / "plain", validated=validated, num_workers=1)
    trainer, watched = _fit(tmp_path / "watched", monitor, validated=validated, num_workers=1)
    for part in plain:
        assert _equal(plain[part], watched[part]), part
    assert "loss_epoch" in plain["metrics"]
    assert set(monitor.names[:2]) <= trainer.callback_metrics.keys()
    rows = [_rows(tmp_path / name / "metrics.csv") for name in ("plain", "watched")]
    ours = ("transfer/", "health/")
    kept = [{key: value for key, value in row.items() if not key.startswith(ours)} for row in rows[1]]
    assert rows[0] == [row for row in kept if any(row[key] for key in row if key not in ("epoch", "step"))]
    scored = [row for row in rows[1] if row["transfer/brightness/r2"]]
    assert [row["epoch"] for row in scored] == ["1", "2"]
    encoder = trainer.lightning_module.model["encoder"]
    backbone = Backbone.of(encoder, crop_size=32)
    expected = transfer(backbone, _own_task(), device="cpu").only
    assert float(trainer.callback_metrics["transfer/brightness/r2"]) == pytest.approx(expected.score.mean, abs=1e-6)


def test_the_health_of_the_features_goes_with_the_scores(tmp_path: Path) -> None:
    trainer, _ = _fit(tmp_path, TransferMonitor([_own_task(200)], "model.encoder", crop_size=32), validated=False)
    backbone = Backbone.of(trainer.lightning_module.model["encoder"], crop_size=32)
    train = _own_task(200).train.images
    features = backbone(torch.stack([train[index] for index in range(100)]).float() / 255)
    for name, value in health_of(feature_statistics(features)).items():
        assert float(trainer.callback_metrics[f"health/brightness/{name}"]) == pytest.approx(value, rel=1e-4)


class _Planted(_Method):
    """Whose backbone tells brightness after the second epoch alone, and is destroyed in the third."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"encoder": _Means()})
        self.head = nn.Linear(4, 1)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        with torch.no_grad():
            self.model["encoder"].signal.fill_((0.01, 1.0, 0.0, 0.003)[self.current_epoch])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.head.parameters(), lr=1e-3)


class _Means(nn.Module):
    """Features: the brightness, as strong as ``signal``, among what is noise to it."""

    def __init__(self) -> None:
        super().__init__()
        self.signal = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        brightness = images[:, :, :16].mean((1, 2, 3))[:, None]
        noise = (images[:, 0, 20, :4] * 1000).sin()
        return noise + self.signal * 100 * brightness


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("every", [1, 2])
def test_the_best_checkpoint_is_selected(tmp_path: Path, validated: bool, every: int) -> None:
    best = ModelCheckpoint(tmp_path, "{epoch}", "transfer/brightness/r2", mode="max", save_top_k=1)
    monitor = TransferMonitor([_own_task(200)], "model.encoder", every=every, crop_size=32)
    _fit(tmp_path, monitor, best, validated=validated, epochs=4, module=_Planted())
    kept = torch.load(best.best_model_path, weights_only=True)
    assert kept["epoch"] == 1
    assert float(kept["state_dict"]["model.encoder.signal"]) == 1
    rows = [row for row in _rows(tmp_path / "metrics.csv") if row["transfer/brightness/r2"]]
    scores = {int(row["epoch"]): float(row["transfer/brightness/r2"]) for row in rows}
    assert float(best.best_model_score) == pytest.approx(scores[1], abs=1e-6)
    assert max(scores, key=lambda epoch: scores[epoch]) == 1
    assert scores[1] > 0.9 > 0.5 > scores[3]


def test_half_precision_weights_are_scored_in_single_precision(tmp_path: Path) -> None:
    monitor = TransferMonitor([_own_task()], "model.encoder", crop_size=32)
    trainer, _ = _fit(tmp_path, monitor, validated=False, epochs=1, precision="bf16-true")
    encoder = trainer.lightning_module.model["encoder"]
    assert next(encoder.parameters()).dtype == torch.bfloat16
    expected = transfer(Backbone.of(encoder.float(), crop_size=32), _own_task(), device="cpu").only.score.mean
    assert float(trainer.callback_metrics["transfer/brightness/r2"]) == pytest.approx(expected, abs=1e-6)


def test_images_that_are_pre_trained_on_get_a_caution(
    tmp_path: Path, photo_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = [
        "data.dataset=custom",
        f"data.train_path={photo_folder / 'train'}",
        "max_epochs=1",
        "optimizer.batch_size=16",
        *_WATCH,
    ]
    photos = f"invariance.transfer.tasks=[{{name: folder, path: {photo_folder}, label: photos}}]"
    _pretrain(tmp_path / "one", *own, photos, "invariance.transfer.num_images=null")
    said = [line for line in capfd.readouterr().err.splitlines() if "caution" in line]
    assert said == [
        "solo-invariance: caution: 48 of the 72 images of photos are pre-trained on, too: its score says how well "
        "these are told apart, and not what transfers to others"
    ]
    _pretrain(tmp_path / "two", *own)
    assert "caution" not in capfd.readouterr().err


def test_what_will_be_done_is_said_in_one_line(
    tmp_path: Path, photo_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photos = {"name": "folder", "path": str(photo_folder), "label": "photos"}
    _fit(tmp_path, TransferMonitor(["hue", photos], "model.encoder", num_images=30, crop_size=64), validated=False)
    (line,) = [one for one in capfd.readouterr().err.splitlines() if "TransferMonitor" in one]
    assert line == (
        "solo-invariance: TransferMonitor: every 5 epochs and after the last: hue/r2 by ridge (30 training and 30 test "
        "images, chance 0), photos/accuracy by logistic (30 training and 24 test images, chance 0.17); 114 images of "
        f"64 px in 1 MB of memory; -> CSVLogger in {tmp_path}/"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ["shpe"]}, "tasks: there is no 'shpe'; did you mean 'shape'?"),
        ({"tasks": "shape"}, "tasks='shape': expected a list, such as ['shape', 'hue']"),
        ({"tasks": [{"name": "hue", "pth": "x"}]}, "tasks: hue: there is no key 'pth'; did you mean 'path'?"),
        ({"tasks": [{"name": "hue", "prob": "ridge"}]}, "tasks: hue: there is no key 'prob'; did you mean 'probe'?"),
        (
            {"tasks": [{"name": "hue", "metrics": "r2"}]},
            "tasks: hue: there is no key 'metrics'; did you mean 'metric'?",
        ),
        ({"every": 0}, "every=0: expected at least 1"),
        ({"every": 2.5}, "every=2.5: expected a whole number"),
        ({"num_images": "many"}, "num_images='many': expected a whole number"),
        ({"probe": "knn"}, "probe=knn: task.name=hue is regression, take ridge or kernel_ridge"),
        ({"backbone": "a..b"}, "backbone is 'a..b', expected the name of an attribute"),
        ({"crop_size": "big"}, "crop_size is 'big', expected a whole number of pixels"),
    ],
)
def test_wrong_arguments_are_refused_when_it_is_made(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(f'TransferMonitor: {message}')}"):
        TransferMonitor(**arguments)


def test_a_module_without_such_a_backbone_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^TransferMonitor: _Method has no encoder to measure; its modules are: model"):
        _fit(tmp_path, TransferMonitor(["shape"], "encoder", crop_size=32), validated=False)


def test_files_of_datasets_are_found_through_subsets_and_lists_of_names(photo_folder: Path) -> None:
    from torch.utils.data import Subset

    from solo_invariance.hosts.lightning.training_files import _files

    folder = ImageFolder(str(photo_folder / "val"))
    paths = {path for path, _ in folder.samples}
    assert set(_files(Subset(folder, [0]))) == paths

    class Named:
        root = photo_folder / "val" / "coffee"
        images = ("0.jpg", "1.jpg")

    assert list(_files(Named())) == [str(photo_folder / "val" / "coffee" / name) for name in ("0.jpg", "1.jpg")]
    assert list(_files(_Images())) == []


def test_images_are_the_same_through_links(photo_folder: Path, tmp_path: Path) -> None:
    """Of files and of folders, on either side."""
    coffee = photo_folder / "val" / "coffee"
    (tmp_path / "files" / "coffee").mkdir(parents=True)
    for file in coffee.iterdir():
        (tmp_path / "files" / "coffee" / f"linked-{file.name}").symlink_to(file)
    (tmp_path / "folders").mkdir()
    (tmp_path / "folders" / "coffee").symlink_to(coffee)
    names = [str(file) for file in coffee.iterdir()]
    for folder in (tmp_path / "files", tmp_path / "folders"):
        linked = ImageFolder(str(folder))
        trainer: Any = SimpleNamespace(train_dataloader=DataLoader(linked))
        assert count_trained_on(trainer, [names, ["elsewhere"]]) == [len(names), 0]
        trainer.train_dataloader = DataLoader(ImageFolder(str(photo_folder / "val")))
        assert count_trained_on(trainer, [[path for path, _ in linked.samples]]) == [len(names)]


def _take_ours(metrics: dict[str, float]) -> dict[str, float]:
    """Take what the watches gave out of metrics, and return what is finite of it."""
    names = [name for name in metrics if name.startswith(("transfer/", "invariance/", "health/"))]
    taken = {name: metrics.pop(name) for name in names}
    return {name: value for name, value in taken.items() if np.isfinite(value)}


@pytest.mark.host
@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_of_solo_learns_that_is_scored_is_the_same_run(
    run_spied: Any, photo_folder: Path, tmp_path: Path, processes: int
) -> None:
    """Of the unmodified main_pretrain.py, with validation, to the last bit of weights, batches and metrics."""
    photos = f"{{name:folder,path:{photo_folder},label:photos,probe:knn}}"
    _, plain, first = run_spied("plain", processes)
    done, watched, last = run_spied("watched", processes, *[*_WATCH, f"invariance.transfer.tasks=[shape,{photos}]"])
    seen, ends = (plain, watched), (first, last)
    assert "solo-invariance: caution: 48 of the 72 images" not in done.stderr  # 24 of 48 are drawn
    assert "solo-invariance: caution: 24 of the 48 images of photos are pre-trained on, too" in done.stderr
    ours = [[_take_ours(metrics) for metrics in rank["metrics"]] for rank in seen[1]]
    assert all(_equal(rank[-1], ours[0][-1]) for rank in ours)
    assert {"transfer/shape/accuracy", "transfer/photos/accuracy"} <= ours[0][-1].keys()
    assert {"train_nce_loss", "val_loss"} <= set(seen[0][0]["metrics"][-1])
    assert _equal(*seen)
    assert _equal(*(torch.load(end, weights_only=True)["state_dict"] for end in ends))
    logs = [_rows(path) for path in (tmp_path / "lightning_logs").rglob("metrics.csv")]
    scored = [[row for row in log if row.get("transfer/shape/accuracy")] for log in logs]
    assert sorted(map(len, scored)) == [0, 2]
    backbone = load_backbone(BackboneConfig(checkpoint=str(ends[1])))
    found = transfer(backbone, TaskConfig("shape", num_train=_FEW, num_test=_FEW), device="cpu").only
    logged = max(scored, key=len)[-1]
    assert float(logged["transfer/shape/accuracy"]) == pytest.approx(found.score.mean, abs=1e-6)


@pytest.mark.host
def test_solo_learn_leaves_with_one_line_where_a_task_is_wrong(
    run_host: Any, photo_folder: Path, tmp_path: Path
) -> None:
    done = run_host(
        "main_pretrain.py",
        "--config-path=scripts/pretrain/cifar",
        "--config-name=mocov2plus",
        "name=wrong",
        "data.dataset=custom",
        f"data.train_path={photo_folder / 'train'}",
        f"data.val_path={photo_folder / 'val'}",
        "augmentations=invariance/default",
        "+invariance.crop_size=32",
        "auto_resume.enabled=False",
        f"checkpoint.dir={tmp_path}",
        "+invariance=transfer",
        "invariance.transfer.tasks=[{name:folder,path:nowhere}]",
        fails=True,
    )
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if "error" in line]
    assert said == [
        "solo-invariance: error: invariance.transfer.tasks: folder: nowhere: no such folder of classes; expected "
        "train/CLASS/*.jpg and test/CLASS/*.jpg (or val), or just CLASS/*.jpg (or .png, ...)"
    ]
    assert not list(tmp_path.rglob("*.ckpt"))


def test_two_processes_share_the_work_and_end_as_without_it(tmp_path: Path) -> None:
    """Two ranks over gloo, whose batch statistics differ, with and without; every rank writes what it ends with."""
    script = tmp_path / "two.py"
    script.write_text(_TWO_PROCESSES)
    with (tmp_path / "said.txt").open("w") as said:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), str(tmp_path)], stdout=said, stderr=said, timeout=180
        )
    said_there = (tmp_path / "said.txt").read_text()
    assert done.returncode == 0, said_there[-3000:]
    plain, watched = (
        [torch.load(tmp_path / name / f"{rank}.pt", weights_only=True) for rank in range(2)]
        for name in ("plain", "watched")
    )
    for rank in range(2):
        for part in ("backbone", "head", "random", "metrics"):
            assert _equal(plain[rank][part], watched[rank][part]), (rank, part)
    scores = [one["scores"] for one in watched]
    assert scores[0] == scores[1]
    assert len(scores[0]) == 3
    assert not _equal(watched[0]["backbone"]["bn1.running_mean"], watched[1]["backbone"]["bn1.running_mean"])
    network = Architecture("resnet10", {"width": 0.125}).build()
    network.load_state_dict(watched[0]["backbone"])
    few = {"num_train": _FEW, "num_test": _FEW}
    tasks = [TaskConfig(name, **few) for name in ("shape", "hue", "position")]
    found = transfer(Backbone.of(network, crop_size=32), tasks, TransferSettings(batch_size=5), device="cpu")
    for name, result in found.items():
        assert scores[0][f"transfer/{name}/{result.metric}"] == pytest.approx(result.score.mean, abs=1e-6)
    # Each has seen and kept about half of the images.
    kept = [one["kept"] for one in watched]
    assert sum(kept) == 2 * _FEW * 3 * 32 * 32
    assert max(kept) < 1.5 * min(kept)
    assert [one["scored"] for one in watched] == [["shape", "position"], ["hue"]]
    assert said_there.count("of memory of each of 2 processes, which share the work; -> ") == 1
    rows = [row for row in _rows(tmp_path / "watched" / "metrics.csv") if row["transfer/hue/r2"]]
    assert [row["epoch"] for row in rows] == ["1", "2"]


_TWO_PROCESSES = """
import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader, Dataset

from solo_invariance import TransferMonitor
from solo_invariance.backbones import Architecture
from solo_invariance.transfer import held_tasks

scored, held = [], []
score_task, hold = held_tasks.score_task, held_tasks.HeldTasks.score

def spied_score(data, *rest):
    scored.append(data.label)
    return score_task(data, *rest)

def spied_hold(self, *rest):
    held.append(self.num_bytes)
    scored.clear()
    return hold(self, *rest)

held_tasks.score_task, held_tasks.HeldTasks.score = spied_score, spied_hold

class Images(Dataset):
    images = torch.rand((16, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    def __len__(self):
        return 16
    def __getitem__(self, index):
        return self.images[index]

class Method(LightningModule):
    def __init__(self, out):
        super().__init__()
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
        scores = {name: value for name, value in metrics.items() if name.startswith("transfer/")}
        metrics = {name: value for name, value in metrics.items() if name.startswith("loss")}
        ends = {"backbone": self.backbone.state_dict(), "head": self.head.state_dict(), "metrics": metrics,
                "scores": scores, "random": torch.get_rng_state(), "kept": held[-1] if held else 0, "scored": scored}
        torch.save(ends, self.out / f"{self.global_rank}.pt")

if __name__ == "__main__":
    for name in ("plain", "watched"):
        out = Path(sys.argv[1]) / name
        torch.manual_seed(0)
        method = Method(out)
        monitor = TransferMonitor(["shape", "hue", "position"], every=2, num_images=24, crop_size=32, batch_size=5)
        os.environ.pop("MASTER_PORT", None)  # a new one for each run
        strategy = DDPStrategy(start_method="fork", process_group_backend="gloo", timeout=timedelta(seconds=60))
        trainer = Trainer(max_epochs=3, accelerator="cpu", devices=2, strategy=strategy, log_every_n_steps=1,
                          logger=CSVLogger(out.parent, name="", version=name), enable_checkpointing=False,
                          callbacks=[monitor] if name == "watched" else [],
                          enable_progress_bar=False, enable_model_summary=False)
        trainer.fit(method, DataLoader(Images(), batch_size=4, shuffle=True))
"""
