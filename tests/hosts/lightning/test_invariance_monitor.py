"""A monitor in Trainers of other people's modules, which have no configuration."""

import copy
import csv
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

from solo_invariance import InvarianceMonitor, MeasureSettings, OwnTask, TransferMonitor, UserError, measure
from solo_invariance.hosts.lightning.monitor import Monitor
from solo_invariance.measure import Geometry

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(num_workers|GPU available|LeafSpec|isinstance.treespec|Skipping val loop).*"
)

IMAGES = torch.randint(0, 256, (24, 3, 37, 37), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
WATCH: dict[str, Any] = {
    "transforms": ["rotation", "hue"],
    "k": 4,
    "num_images": 6,
    "reference_images": 12,
    "data": IMAGES,
    "crop_size": 32,
    "every": 1,
}
HUE = "invariance/hue/similarity"


class Photographs(Dataset[Any]):
    """Images that a transform is applied to, as torchvision's datasets do."""

    def __init__(self, images: Tensor = IMAGES, transform: Any = None) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image = self.images[index]
        return (image[:, :32, :32] / 255 if self.transform is None else self.transform(image)), 0


class Method(LightningModule):
    """Trains a small convolution, with noise that the global random state draws."""

    def __init__(self, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = backbone or nn.Sequential(
            nn.Conv2d(3, 8, 5, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.head = nn.LazyLinear(1)
        with torch.no_grad():
            self.head(self._features(torch.zeros(2, 3, 32, 32)))

    def _features(self, images: Tensor) -> Tensor:
        output = self.backbone(images)
        return (output if isinstance(output, Tensor) else output["map"]).flatten(1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images = batch[0]
        loss = (self.head(self._features(images + torch.rand_like(images))) - 1).square().mean()
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.head(self._features(batch[0])).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fit(
    tmp_path: Path,
    *callbacks: Any,
    module: LightningModule | None = None,
    validated: bool = False,
    kind: Any = Trainer,
    **arguments: Any,
) -> Any:
    """Train, and return the Trainer."""
    torch.manual_seed(0)
    module = module or Method()
    settings: dict[str, Any] = {"max_epochs": 3, "log_every_n_steps": 1, "logger": CSVLogger(tmp_path, name="logs")}
    settings |= dict.fromkeys(("enable_progress_bar", "enable_model_summary"), False)
    if not any(isinstance(one, ModelCheckpoint) for one in callbacks):
        settings["enable_checkpointing"] = False
    trainer = kind(callbacks=list(callbacks), accelerator="cpu", default_root_dir=tmp_path, **settings | arguments)
    loaders = [DataLoader(Photographs(), batch_size=6, shuffle=True)]
    loaders += [DataLoader(Photographs(), batch_size=12)] if validated else []
    trainer.fit(module, *loaders)
    return trainer


def rows(tmp_path: Path) -> list[dict[str, str]]:
    """What was measured, as it was logged."""
    (file,) = tmp_path.rglob("metrics.csv")
    return [row for row in csv.DictReader(file.read_text().splitlines()) if row.get(HUE)]


def hue_of(backbone: nn.Module) -> float:
    """What measuring a backbone by itself gives, on the monitor's images."""
    chosen = IMAGES[np.random.default_rng(0).permutation(len(IMAGES))[:12]]
    settings = MeasureSettings(k=4, num_images=6, geometry=Geometry(37, 32))
    result = measure(backbone, chosen[:6], ["rotation", "hue"], settings, reference=chosen, device="cpu").only
    return result.transforms["hue"].similarity.mean


def saved_backbone(path: str | Path) -> nn.Module:
    method = Method()
    method.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    return method.backbone


@pytest.mark.parametrize("validated", [False, True])
def test_the_run_is_that_of_one_that_is_not_watched(tmp_path: Path, validated: bool) -> None:
    ends = []
    for name, monitors in (("plain", []), ("watched", [InvarianceMonitor(**WATCH)])):
        checkpoint = ModelCheckpoint(str(tmp_path / name / "saved"), filename="end")
        trainer = fit(tmp_path / name, *monitors, checkpoint, validated=validated)
        content = torch.load(tmp_path / name / "saved" / "end.ckpt", weights_only=True)
        states = content.pop("callbacks")
        assert [key.split("{")[0] for key in states] == ["ModelCheckpoint"]
        own = {key: value for key, value in trainer.callback_metrics.items() if "loss" in key}
        metrics = {key: float(value) for key, value in own.items()}
        assert len(trainer.callback_metrics) == len(own) + (6 if monitors else 0)
        ends.append([content, metrics, torch.get_rng_state(), np.random.get_state()[2]])  # noqa: NPY002
    assert str(ends[0]) == str(ends[1])
    for part in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(ends[0][0][part], ends[1][0][part], atol=0, rtol=0)
    assert torch.equal(ends[0][2], ends[1][2])
    assert ("val_loss" in ends[1][1]) == validated


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize(
    ("validated", "arguments"),
    [(False, {}), (True, {}), (True, {"val_check_interval": 0.5}), (True, {"check_val_every_n_epoch": 2})],
)
@pytest.mark.parametrize("on_train_epoch_end", [None, True])
def test_a_checkpoint_is_chosen_by_the_number_of_the_weights_in_it(
    tmp_path: Path, every: int, validated: bool, arguments: Any, on_train_epoch_end: bool | None
) -> None:
    best = ModelCheckpoint(str(tmp_path / "saved"), "best", HUE, mode="max", save_on_train_epoch_end=on_train_epoch_end)
    three = ModelCheckpoint(str(tmp_path / "three"), "{epoch}", HUE, mode="min", save_top_k=3)
    fit(
        tmp_path,
        best,
        three,
        InvarianceMonitor(**{**WATCH, "every": every}),
        validated=validated,
        max_epochs=4,
        **arguments,
    )
    logged = {row["epoch"]: float(row[HUE]) for row in rows(tmp_path)}
    assert list(logged) == (["0", "1", "2", "3"] if every == 1 else ["1", "3"])
    for path, number in {best.best_model_path: best.best_model_score, **three.best_k_models}.items():
        if torch.isfinite(torch.as_tensor(number)):  # else no epoch that was measured is left to take the place
            epoch = torch.load(path, weights_only=True)["epoch"]
            assert float(number) == pytest.approx(logged[str(epoch)])  # type: ignore[arg-type]
            assert hue_of(saved_backbone(path)) == pytest.approx(float(number), abs=1e-5)  # type: ignore[arg-type]
    at_ends = {"1", "3"} if "check_val_every_n_epoch" in arguments and not on_train_epoch_end else set(logged)
    assert float(best.best_model_score) == pytest.approx(max(logged[one] for one in at_ends))  # type: ignore[arg-type]


def test_numbers_stand_where_lightning_logs_those_of_the_epoch(tmp_path: Path) -> None:
    """Also where two optimisers take two steps a batch."""

    class Two(Method):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
            for optimizer in self.optimizers():  # type: ignore[union-attr]
                self.manual_backward(super().training_step(batch, batch_idx))
                optimizer.step()
                optimizer.zero_grad()

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(part.parameters(), lr=0.1) for part in (self.backbone, self.head)]

    for module, validated in ((Two(), False), (Two(), True), (Method(), True)):
        folder = tmp_path / f"{type(module).__name__}{validated}"
        fit(folder, InvarianceMonitor(**WATCH), module=module, validated=validated)
        (file,) = folder.rglob("metrics.csv")
        logged = list(csv.DictReader(file.read_text().splitlines()))
        steps = [row["step"] for row in logged if row["loss_epoch"]]
        assert [row["step"] for row in rows(folder)] == steps == ["3", "7", "11"]


@pytest.mark.parametrize(("validated", "divergence"), [(False, None), (True, None), (True, -0.5)])
def test_early_stopping_is_patient_in_epochs_that_are_not_measured(
    tmp_path: Path, validated: bool, divergence: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter([0.1, 0.2, 0.3, 0.25, 0.2, 0.1])
    monkeypatch.setattr(Monitor, "measure", lambda *_: {HUE: next(numbers)})
    early = EarlyStopping(HUE, mode="max", patience=3, divergence_threshold=divergence)
    best = ModelCheckpoint(str(tmp_path / "saved"), "best", HUE, mode="max")
    monitor = InvarianceMonitor(**{**WATCH, "every": 2})
    trainer = fit(tmp_path, early, monitor, best, validated=validated, max_epochs=20)
    # Measured after 2, 4 and 6; 7, 8 and 9 are no better; the last weights are measured, too.
    assert [int(row["epoch"]) + 1 for row in rows(tmp_path)] == [2, 4, 6, 8, 9]
    assert trainer.current_epoch == 9
    assert float(best.best_model_score) == pytest.approx(0.3)  # type: ignore[arg-type]


def test_the_last_weights_are_measured_however_a_run_ends(tmp_path: Path) -> None:
    monitor = InvarianceMonitor(**{**WATCH, "every": 100})
    trainer = fit(tmp_path, monitor, max_epochs=-1, max_steps=6)
    assert [row["step"] for row in rows(tmp_path)] == ["5"]
    assert float(trainer.callback_metrics[HUE]) == pytest.approx(hue_of(trainer.lightning_module.backbone), abs=1e-5)


def test_the_last_weights_are_measured_in_time_for_a_checkpoint(tmp_path: Path) -> None:
    """Of a run that ends by steps, at the end of an epoch and before."""
    for steps in (6, 8):
        best = ModelCheckpoint(str(tmp_path / f"{steps}"), "best", HUE, mode="max")
        monitor = InvarianceMonitor(**{**WATCH, "every": 100})
        fit(tmp_path / f"logs{steps}", monitor, best, max_epochs=-1, max_steps=steps)
        assert hue_of(saved_backbone(best.best_model_path)) == pytest.approx(float(best.best_model_score), abs=1e-5)  # type: ignore[arg-type]


def test_the_last_weights_are_measured_in_time_where_a_callback_stops_the_run(tmp_path: Path) -> None:
    """As those of ``max_time`` do, within an epoch."""

    class Stopping(Callback):
        def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
            trainer.should_stop = trainer.global_step == 6

    best = ModelCheckpoint(str(tmp_path / "saved"), "best", HUE, mode="max")
    trainer = fit(tmp_path, InvarianceMonitor(**{**WATCH, "every": 100}), best, Stopping(), max_epochs=20)
    assert trainer.global_step == 6
    assert hue_of(saved_backbone(best.best_model_path)) == pytest.approx(float(best.best_model_score), abs=1e-5)  # type: ignore[arg-type]


def test_what_is_measured_in_a_validation_may_need_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation runs without them, and a probe is fitted by them."""

    def fitted(self: Monitor, network: nn.Module) -> dict[str, float]:
        kept.append(torch.zeros(2, requires_grad=True))
        for one in kept:
            (one.square().sum() + one.sum()).backward()
        return {HUE: float(kept[0].grad.sum())}  # type: ignore[union-attr]

    kept: list[Tensor] = []
    monkeypatch.setattr(Monitor, "measure", fitted)
    trainer = fit(tmp_path, InvarianceMonitor(**WATCH), validated=True)
    assert float(trainer.callback_metrics[HUE]) == 6


def test_what_fails_leaves_nothing_that_a_checkpoint_could_be_chosen_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Monitor.measure, iter(range(3))

    def second_fails(self: Monitor, network: nn.Module) -> dict[str, float]:
        if next(calls) == 1:
            raise OSError("the disk is full")
        return real(self, network)

    monkeypatch.setattr(Monitor, "measure", second_fails)
    every = ModelCheckpoint(str(tmp_path / "saved"), "{epoch}", HUE, mode="max", save_top_k=2)
    with pytest.warns(UserWarning, match="InvarianceMonitor: nothing measured after 2 epochs: OSError: the disk is f"):
        fit(tmp_path, InvarianceMonitor(**WATCH), every)
    assert {Path(path).name for path in every.best_k_models} == {"epoch=0.ckpt", "epoch=2.ckpt"}


def test_the_backbone_lies_where_a_dotted_name_says(tmp_path: Path) -> None:
    class Nested(Method):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.ModuleDict({"encoder": self.backbone})

    trainer = fit(tmp_path, InvarianceMonitor(**WATCH, backbone="model.encoder"), module=Nested())
    assert float(rows(tmp_path)[-1][HUE]) == pytest.approx(hue_of(trainer.lightning_module.backbone), abs=1e-5)
    for name, message in (
        ("model.encodr", "ModuleDict has no encodr to measure; its modules are: encoder"),
        ("modell", "Nested has no modell to measure; its modules are: backbone, head, model"),
    ):
        with pytest.raises(UserError, match=message):
            fit(tmp_path, InvarianceMonitor(**WATCH, backbone=name), module=Nested())


def test_a_module_may_make_its_backbone_late(tmp_path: Path) -> None:
    class Late(Method):
        def configure_model(self) -> None:
            if self.backbone is None:
                self.backbone = self.made

    Late.configure_model.__module__ = "mylab.core.module"  # wherever it is written
    module = Late()
    module.made, module.backbone = module.backbone, None  # type: ignore[assignment]
    fit(tmp_path, InvarianceMonitor(**WATCH), module=module)
    assert len(rows(tmp_path)) == 3
    broken = Late()
    broken.made, broken.backbone = None, None  # type: ignore[assignment]
    with pytest.raises(UserError, match="Late has no backbone to measure"):
        fit(tmp_path / "broken", InvarianceMonitor(**WATCH), module=broken)


class Maps(nn.Module):
    """A backbone whose output is not features (N, D)."""

    def __init__(self, side: int, wrap: Any = lambda maps: maps) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 5), nn.AdaptiveAvgPool2d(side))
        self.wrap = wrap

    def forward(self, images: Tensor) -> Any:
        return self.wrap(self.layers(images))


def test_maps_of_one_pixel_are_features(tmp_path: Path) -> None:
    trainer = fit(tmp_path, InvarianceMonitor(**WATCH), module=Method(Maps(1)))
    flat = nn.Sequential(trainer.lightning_module.backbone, nn.Flatten())
    assert float(rows(tmp_path)[-1][HUE]) == pytest.approx(hue_of(flat), abs=1e-5)


@pytest.mark.parametrize(
    ("backbone", "message", "features"),
    [
        (Maps(2), r"a tensor \(1, 8, 2, 2\), .* lambda output: output.flatten\(2\).mean\(2\)", lambda o: o.flatten(1)),
        (
            Maps(2, lambda maps: {"map": maps}),
            r"a dict, .* lambda output: output\['map'\]",
            lambda o: o["map"].flatten(1),
        ),
    ],
)
def test_other_outputs_are_refused_before_training_and_made_features_by_a_function(
    tmp_path: Path, backbone: nn.Module, message: str, features: Any
) -> None:
    module = Method(backbone)
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(UserError, match=f"^InvarianceMonitor: the backbone gives {message}"):
        fit(tmp_path / "refused", InvarianceMonitor(**WATCH), module=module)
    torch.testing.assert_close(dict(module.state_dict()), dict(before))
    trainer = fit(tmp_path / "made", InvarianceMonitor(**WATCH, features=features), module=module)

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = trainer.lightning_module.backbone

        def forward(self, images: Tensor) -> Tensor:
            return features(self.network(images))  # type: ignore[no-any-return]

    assert float(rows(tmp_path / "made")[-1][HUE]) == pytest.approx(hue_of(Made()), abs=1e-5)


@pytest.mark.parametrize("monitor", [InvarianceMonitor, TransferMonitor])
def test_a_part_of_the_run_that_makes_features_goes_on_training(tmp_path: Path, monitor: Any) -> None:
    class Projected(Method):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Sequential(nn.Linear(32, 16), nn.Dropout(0.2))
            self.head = nn.Linear(16, 1)

        def _features(self, images: Tensor) -> Tensor:
            features = super()._features(images)
            return self.project(features) if hasattr(self, "project") else features

    def trained(name: str, *monitors: Any) -> tuple[Any, Any]:
        trainer = fit(tmp_path / name, *monitors, module=module)
        return module.project, trainer.callback_metrics

    torch.manual_seed(1)
    module = Projected()
    before = copy.deepcopy(module)
    plain = copy.deepcopy(trained("plain")[0].state_dict())
    module = before
    first = before.project[0].weight.detach().clone()
    task = OwnTask.of(IMAGES[:12], torch.arange(12.0), IMAGES[12:], torch.arange(12.0), label="own")
    own = WATCH if monitor is InvarianceMonitor else {"tasks": [task], "every": 1, "crop_size": 32}
    watched, metrics = trained("watched", monitor(**own, features=module.project))
    assert any(name.startswith(("transfer/own", HUE)) and value.isfinite() for name, value in metrics.items())
    torch.testing.assert_close(dict(watched.state_dict()), dict(plain), atol=0, rtol=0)
    assert not torch.equal(watched[0].weight, first)
    assert all(weight.requires_grad for weight in watched.parameters())


def test_what_a_forward_pass_leaves_on_the_backbone_stops_no_measurement(tmp_path: Path) -> None:
    class Keeping(nn.Sequential):
        kept: dict[str, list[Tensor]]

        def forward(self, images: Tensor) -> Tensor:
            self.kept = {"features": [super().forward(images)]}
            return self.kept["features"][0]

    module = Method(Keeping(nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()))
    trainer = fit(tmp_path, InvarianceMonitor(**WATCH), module=module)
    assert module.backbone.kept["features"][0].requires_grad
    assert len(rows(tmp_path)) == 3
    assert float(trainer.callback_metrics[HUE]) == pytest.approx(hue_of(module.backbone), abs=1e-5)


def test_a_side_that_the_backbone_does_not_take_is_refused_by_name(tmp_path: Path) -> None:
    message = r"^InvarianceMonitor: the backbone takes no images of 4 pixels \(.*\); set crop_size$"
    with pytest.raises(UserError, match=message):
        fit(tmp_path, InvarianceMonitor(**{**WATCH, "crop_size": 4}))


def test_no_fewer_images_whiten_than_are_measured(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, InvarianceMonitor(**{**WATCH, "num_images": 10, "reference_images": 4}), max_epochs=1)
    assert "10 images, whitened by 10;" in capfd.readouterr().err


class Recording(Callback):
    """Remembers what a monitor reads of the run's images."""

    images: Tensor | None = None

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        (monitor,) = (one for one in trainer.callbacks if isinstance(one, InvarianceMonitor))  # type: ignore[attr-defined]
        self.images = monitor._runs[trainer].watcher._monitor.reference.images  # type: ignore[attr-defined]


def _read(tmp_path: Path, *loaders: Any, **arguments: Any) -> Tensor:
    """Train for an epoch, and return the images that the monitor chose, in the order of the dataset's."""
    seen = Recording()
    watch = {**WATCH, "data": None, "num_images": 6, "reference_images": 100}
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[InvarianceMonitor(**watch), seen], **quiet, **arguments
    )
    trainer.fit(Method(), *loaders)
    assert seen.images is not None
    order = np.random.default_rng(0).permutation(len(seen.images))
    return torch.stack(
        [image for _, image in sorted(zip(order.tolist(), seen.images, strict=True), key=lambda p: p[0])]
    )


def _refuse(image: Any) -> Any:
    return torch.rand(3, 32, 32)  # not the image


def test_the_runs_own_images_are_read_without_their_transforms(tmp_path: Path) -> None:
    train, val = Photographs(IMAGES[:12], _refuse), Photographs(IMAGES[12:], _refuse)
    loader = DataLoader(train, batch_size=6)
    assert torch.equal(_read(tmp_path, loader), IMAGES[:12])
    assert torch.equal(_read(tmp_path, loader, DataLoader(val, batch_size=6)), IMAGES[12:])
    assert torch.equal(_read(tmp_path, loader, DataLoader(Subset(val, [1, 3, 5, 7, 9]))), IMAGES[12:][[1, 3, 5, 7, 9]])
    inner = Subset(Subset(val, [1, 3, 5, 7]), [3, 0, 1])
    assert torch.equal(_read(tmp_path, loader, DataLoader(inner)), IMAGES[12:][[7, 1, 3]])
    with pytest.raises(UserError, match="InvarianceMonitor: data: 2 images, at least 3 are needed"):
        _read(tmp_path, loader, DataLoader(Subset(val, [1, 3])))
    assert train.transform is _refuse
    assert val.transform is _refuse


def test_data_modules_and_the_modules_own_loaders_are_read(tmp_path: Path) -> None:
    class Data(LightningDataModule):
        def train_dataloader(self) -> Any:
            return {"a": DataLoader(Photographs(IMAGES[:12]), batch_size=6)}

        def val_dataloader(self) -> Any:
            return [DataLoader(Photographs(IMAGES[12:]), batch_size=6)]

    class Own(Method):
        def train_dataloader(self) -> Any:
            return DataLoader(Photographs(IMAGES[3:9]), batch_size=6)

    class Named(Method):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step(batch["a"], batch_idx)

    seen = Recording()
    watch = {**WATCH, "data": None, "reference_images": 100}
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    for module, data, images in ((Named(), Data(), IMAGES[12:]), (Own(), None, IMAGES[3:9])):
        trainer = Trainer(max_epochs=1, accelerator="cpu", callbacks=[InvarianceMonitor(**watch), seen], **quiet)
        trainer.fit(module, datamodule=data)
        assert sorted(map(hash, map(str, seen.images))) == sorted(map(hash, map(str, images)))  # type: ignore[arg-type]


def test_a_wrappers_transform_stays_the_runs(photo_folder: Path) -> None:
    """Of lightly's dataset, whose ``transform`` is that of the dataset within."""
    lightly_data = pytest.importorskip("lightly.data")
    dataset = lightly_data.LightlyDataset(str(photo_folder / "val"), transform=ToTensor())
    from solo_invariance.hosts.lightning.run_images import RunImages, _with_transform

    ((inner, indices),) = _with_transform(dataset)
    assert isinstance(inner, ImageFolder)
    assert indices is None
    images = RunImages(inner, 37)
    assert images[3].dtype == torch.uint8
    assert min(images[3].shape[1:]) == 37
    assert isinstance(dataset.transform, ToTensor)
    assert isinstance(dataset[0][0], Tensor)


class Dictionaries(Photographs):
    """Samples are mappings, and the transform is of the whole sample."""

    def __getitem__(self, index: int) -> Any:
        sample = {"label": 1, "image": self.images[index]}
        return sample if self.transform is None else self.transform(sample)


class TwoViews(Photographs):
    """Calls its transform twice, and works with what it gives."""

    def __getitem__(self, index: int) -> Any:
        views = [self.transform(self.images[index]) for _ in range(2)]
        return torch.stack([view["view"] for view in views]), 0


class Named(Dataset[Any]):
    """Wraps a dataset whose own transform it hands on, and has one, too, that is given no image."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.transform = dataset, None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        image, label = self.dataset[index]
        sample = {"image": (image, "extent"), "label": label}
        return [image, label] if self.transform is None else self.transform(sample)


class Arrays(Photographs):
    """Gives its transform arrays by name, as albumentations wants them."""

    def __getitem__(self, index: int) -> Any:
        return self.transform(image=self.images[index].permute(1, 2, 0).numpy())["image"], 0


@pytest.mark.parametrize(
    "dataset",
    [
        Arrays(IMAGES, lambda image: {"image": torch.from_numpy(image).permute(2, 0, 1) / 255}),
        Dictionaries(IMAGES, lambda sample: [sample["image"][:, :32, :32] / 255, sample["label"]]),
        Named(Photographs(IMAGES, _refuse)),
        Named(Subset(Photographs(torch.cat([IMAGES, IMAGES]), _refuse), range(24, 48))),  # type: ignore[arg-type]
    ],
)
def test_samples_of_other_kinds_are_read(tmp_path: Path, dataset: Any) -> None:
    assert torch.equal(_read(tmp_path, DataLoader(dataset, batch_size=6)), IMAGES)


def test_what_a_dataset_does_after_its_transform_is_nothing_to_the_images() -> None:
    from solo_invariance.hosts.lightning.run_images import RunImages

    dataset = TwoViews(IMAGES, lambda image: {"view": image / 255})
    assert torch.equal(RunImages(dataset, 37)[5], IMAGES[5])
    assert dataset[5][0].shape == (2, 3, 37, 37)


def test_an_image_of_the_run_that_is_broken_is_named(tmp_path: Path) -> None:
    class Broken(Photographs):
        def __getitem__(self, index: int) -> Any:
            if index == 3:
                raise OSError("image file is truncated")
            return super().__getitem__(index)

    train = DataLoader(Photographs(), batch_size=6)
    with pytest.raises(UserError, match=r"^Broken image 3: cannot be read \(image file is truncated\)$"):
        _read(tmp_path, train, DataLoader(Broken()), num_sanity_val_steps=0)


class Views(Dataset[Any]):
    """Has no transform: gives what others made."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return [torch.rand(3, 32, 32), torch.rand(3, 32, 32)]


class Streamed(Photographs):
    """Has a transform and a length, and no images by their number."""

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError

    def __getitems__(self, indices: list[int]) -> list[Tensor]:
        return [torch.rand(3, 32, 32) for _ in indices]


@pytest.mark.parametrize("dataset", [Views(), Photographs(torch.rand(8, 4)), Streamed()])
def test_images_that_cannot_be_read_are_asked_for(tmp_path: Path, dataset: Any) -> None:
    with pytest.raises(UserError, match=r"^InvarianceMonitor: data is needed: the run's own images cannot be read"):
        _read(tmp_path, DataLoader(dataset, batch_size=4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": nn.Identity()}, "backbone is a Identity, expected the name of an attribute of the module"),
        ({"backbone": "model."}, "backbone is 'model.', expected the name"),
        ({"prefix": 3}, "prefix is 3, expected a text"),
        ({"every": 0}, "every=0: expected a whole number of at least 1"),
        ({"k": 2.5}, r"k=2\.5: expected a whole number"),
        ({"seed": -1}, "seed=-1: expected a whole number of at least 0"),
        ({"transforms": ["rotatoin"]}, "there is no 'rotatoin'; did you mean 'rotation'"),
        ({"transforms": []}, r"transforms=\[\]: expected all, or a list"),
        ({"transforms": "hue"}, "transforms=hue: expected all, or a list"),
        ({"data": "nowhere"}, "data=nowhere: no such folder of images"),
        ({"data": 3}, "data: images of int: expected a folder"),
        ({"data": torch.rand(4, 8, 8)}, r"data: images: a tensor of shape \(4, 8, 8\)"),
        ({"crop_size": 0}, "crop_size is 0, expected"),
        ({"crop_size": None}, "crop_size is None, expected"),
        ({"mean": [1, 2]}, "mean is "),
        ({"std": [0, 1, 1]}, "std is "),
        ({"mean": [123.7, 116.3, 103.5]}, "mean is .* divide by 255"),
        ({"features": "cls"}, "features='cls': expected a callable"),
    ],
)
def test_wrong_arguments_are_refused_where_they_are_written(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        InvarianceMonitor(**arguments)


def test_statistics_of_none_leave_images_as_they_are() -> None:
    spec = InvarianceMonitor(mean=None, std=None)._make().watched.input_spec
    assert (spec.mean, spec.std) == ((0, 0, 0), (1, 1, 1))


def test_two_monitors_take_two_prefixes(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="two callbacks of this Trainer log invariance/rotation/similarity; give one of them a prefix"
    ):
        fit(tmp_path, InvarianceMonitor(**WATCH), InvarianceMonitor(**WATCH))
    head = InvarianceMonitor(**WATCH, prefix="again/", features=lambda features: features[:, :4])
    trainer = fit(tmp_path, InvarianceMonitor(**WATCH), head)
    both = [float(trainer.callback_metrics[name]) for name in (HUE, "again/invariance/hue/similarity")]
    assert all(map(math.isfinite, both))
    assert both[0] != both[1]


def test_one_beside_the_dormant_one_and_beside_one_that_is_not(tmp_path: Path) -> None:
    """Whoever has a host's configuration and a monitor of their own is told, or gives that a prefix."""
    module = Method()
    module.cfg = {"augmentations": [{"crop_size": 32}], "invariance": {"monitor": {"transforms": ["hue"], "k": 2}}}  # type: ignore[assignment]
    with pytest.raises(UserError, match="two callbacks of this Trainer log invariance/hue/similarity"):
        fit(tmp_path, InvarianceMonitor(**WATCH), module=module)
    trainer = fit(tmp_path, InvarianceMonitor(**WATCH, prefix="mine/"), module=module)
    assert {HUE, "mine/invariance/hue/similarity"} <= trainer.callback_metrics.keys()


def test_trainers_of_the_other_package_take_it(tmp_path: Path) -> None:
    other = pytest.importorskip("pytorch_lightning")

    class Theirs(other.LightningModule):  # type: ignore[misc]
        _features = Method._features
        training_step = Method.training_step
        configure_optimizers = Method.configure_optimizers

        def __init__(self) -> None:
            other.LightningModule.__init__(self)
            self.backbone, self.head = Method().backbone, Method().head

    best = other.callbacks.ModelCheckpoint(str(tmp_path / "saved"), "best", HUE, mode="max")
    monitors = [InvarianceMonitor(**WATCH), InvarianceMonitor(**WATCH, prefix="again/")]
    # What Trainers of 2.1 ask of each callback, and of several of one kind; later ones ask less.
    assert all(isinstance(monitor, other.Callback) for monitor in monitors)
    assert monitors[0].state_key != monitors[1].state_key
    logger = other.loggers.CSVLogger(tmp_path)
    trainer = fit(
        tmp_path, *monitors, best, module=Theirs(), kind=other.Trainer, logger=logger, enable_checkpointing=True
    )
    assert len(rows(tmp_path)) == 6 // 2
    backbone = Theirs()
    backbone.load_state_dict(torch.load(best.best_model_path, weights_only=True)["state_dict"])
    assert hue_of(backbone.backbone) == pytest.approx(float(best.best_model_score), abs=1e-5)
    assert trainer.callback_metrics[HUE] == trainer.callback_metrics["again/invariance/hue/similarity"]


def test_it_is_pickled_and_copied() -> None:
    import pickle

    monitor = InvarianceMonitor(**WATCH)
    assert copy.deepcopy(monitor).names == pickle.loads(pickle.dumps(monitor)).names == monitor.names


def test_two_processes_have_the_same_numbers_and_say_the_same_error(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(_TWO_PROCESSES)
    with (tmp_path / "said.txt").open("w") as said:  # a pipe would be kept open by processes that hang
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), str(tmp_path)],
            stdout=said,
            stderr=said,
            timeout=180,
            cwd=Path(__file__).parent,
        )
    assert done.returncode == 0, (tmp_path / "said.txt").read_text()[-3000:]
    ends = {path.stem: torch.load(path, weights_only=True) for path in tmp_path.glob("*.pt")}
    for validated in (True, False):
        first, second = (ends[f"{validated}-{rank}"] for rank in range(2))
        assert first["numbers"] == second["numbers"]
        assert first["best"] == second["best"]
        assert first["score"] == pytest.approx(hue_of(saved_backbone(first["best"])), abs=1e-5)
    assert ends["error-0"] == ends["error-1"] == "InvarianceMonitor: data is needed: the second has none"
    said = (tmp_path / "said.txt").read_text()
    assert ends["failing-0"] == ends["failing-1"] == 2  # epochs that were trained nevertheless


_TWO_PROCESSES = """
import os, sys
from datetime import timedelta
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

sys.path.insert(0, os.getcwd())
from test_invariance_monitor import HUE, WATCH, Method, Photographs

from solo_invariance import InvarianceMonitor, UserError
from solo_invariance.hosts.lightning.monitor import MonitorWatcher

OUT = Path(sys.argv[1])

def fit(*callbacks, validated=False, on_end=lambda trainer: None):
    os.environ.pop("MASTER_PORT", None)  # a new one for each run
    torch.manual_seed(0)
    method = Method()
    method.on_fit_end = lambda: on_end(method.trainer)
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo", timeout=timedelta(seconds=60))
    trainer = Trainer(max_epochs=2, accelerator="cpu", devices=2, strategy=strategy, callbacks=list(callbacks),
                      logger=False, enable_progress_bar=False, enable_model_summary=False,
                      enable_checkpointing=any(isinstance(one, ModelCheckpoint) for one in callbacks))
    loader = DataLoader(Photographs(), batch_size=6, shuffle=True)
    trainer.fit(method, loader, loader if validated else None)

for validated in (True, False):
    def write(trainer):
        best = trainer.checkpoint_callback
        torch.save({"numbers": {name: float(value) for name, value in trainer.callback_metrics.items()
                                if name.startswith("invariance")},
                    "best": best.best_model_path, "score": float(best.best_model_score)},
                   OUT / f"{validated}-{trainer.global_rank}.pt")
    best = ModelCheckpoint(str(OUT / f"saved{validated}"), "best", HUE, mode="max")
    fit(InvarianceMonitor(**WATCH), best, validated=validated, on_end=write)

real = MonitorWatcher.prepare, MonitorWatcher.measure

def second_has_none(self, trainer, module, network, processes):
    if processes.rank == 1:
        raise UserError("InvarianceMonitor: data is needed: the second has none")
    return real[0](self, trainer, module, network, processes)

class Said(InvarianceMonitor):
    def on_train_start(self, trainer, module):
        try:
            super().on_train_start(trainer, module)
        except UserError as error:
            torch.save(str(error), OUT / f"error-{trainer.global_rank}.pt")
            self._runs.pop(trainer)

MonitorWatcher.prepare = second_has_none
fit(Said(**WATCH))

def second_fails(self, network, processes):
    if processes.rank == 1:
        raise MemoryError("of the second")
    return real[1](self, network, processes)

MonitorWatcher.prepare, MonitorWatcher.measure = real[0], second_fails
fit(InvarianceMonitor(**WATCH), on_end=lambda t: torch.save(t.current_epoch, OUT / f"failing-{t.global_rank}.pt"))
"""
