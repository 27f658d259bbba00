from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from solo_invariance.errors import UserError
from solo_invariance.families import ventral
from solo_invariance.hosts.callbacks import FamiliesCallback, _names_families

pytestmark = pytest.mark.filterwarnings("ignore:.*(num_workers|GPU available|LeafSpec|isinstance.treespec).*")


class _Images(Dataset[Any]):
    """Images with their indexes, as the host's datasets give them."""

    def __init__(self, transform: Any = None) -> None:
        self.images = torch.randint(
            0, 256, (8, 3, 40, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
        )
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[int, Any, int]:
        image = self.images[index]
        return index, image if self.transform is None else self.transform(image), index % 2


class _Method(LightningModule):
    """A module that remembers its batches."""

    def __init__(self, cfg: DictConfig | None = None) -> None:
        super().__init__()
        if cfg is not None:
            self.cfg = cfg
        self.layer = nn.Linear(1, 1)
        self.batches: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.batches.append(batch)
        return self.layer(torch.ones(1, 1)).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _config(**changes: Any) -> DictConfig:
    entry = {"family": "ventral", "crop_size": 32, "num_crops": 2, **changes.pop("entry", {})}
    return OmegaConf.create(
        {"seed": 7, "data": {"dataset": "cifar10", "format": "image_folder"}, "augmentations": [entry], **changes}
    )


def _fit(module: LightningModule, dataset: Any, path: Path, workers: int = 0, **arguments: Any) -> Trainer:
    trainer = Trainer(
        max_epochs=arguments.pop("max_epochs", 1),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=path,
    )
    trainer.fit(module, DataLoader(dataset, batch_size=4, num_workers=workers), **arguments)
    return trainer


def _callback(trainer: Trainer) -> FamiliesCallback:
    return next(callback for callback in trainer.callbacks if isinstance(callback, FamiliesCallback))


@pytest.mark.parametrize("workers", [0, 1])
def test_the_method_gets_the_families_crops(tmp_path: Path, workers: int) -> None:
    module = _Method(_config())
    _fit(module, _Images(transform=lambda image: 1 / 0), tmp_path, workers)
    indexes, crops, targets = module.batches[0]
    assert indexes.tolist() == [0, 1, 2, 3]
    assert targets.tolist() == [0, 1, 0, 1]
    assert [tuple(crop.shape) for crop in crops] == [(4, 3, 32, 32)] * 2
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
    values = crops[0] * std[:, None, None] + mean[:, None, None]
    assert values.min() >= -1e-5
    assert values.max() <= 1 + 1e-5
    assert crops[0].std() > 0.3


def test_a_run_repeats_itself_and_another_seed_does_not(tmp_path: Path) -> None:
    batches = []
    for seed in (7, 7, 8):
        module = _Method(_config(seed=seed))
        torch.manual_seed(len(batches))  # whatever the global state
        _fit(module, _Images(), tmp_path)
        batches.append(module.batches[1][1][0])
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])


def test_subsets_are_looked_through(tmp_path: Path) -> None:
    module = _Method(_config())
    _fit(module, Subset(_Images(), [3, 1, 5, 7]), tmp_path)
    assert module.batches[0][0].tolist() == [3, 1, 5, 7]
    assert len(module.batches[0][1]) == 2


@pytest.mark.parametrize(
    "cfg",
    [None, OmegaConf.create({"augmentations": [{"crop_size": 32}]}), OmegaConf.create({"augmentations": "monitor"})],
)
def test_dormant_without_families(tmp_path: Path, cfg: DictConfig | None) -> None:
    module = _Method(cfg)
    trainer = _fit(module, _Images(), tmp_path)
    assert module.batches[0][1].shape == (4, 3, 40, 48)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    content = torch.load(tmp_path / "plain.ckpt", weights_only=True)
    assert not any("Families" in key for key in content["callbacks"])


def test_what_names_families() -> None:
    assert _names_families(_config())
    assert _names_families({"augmentations": [{"family": "x"}]})
    for cfg in (None, 3, "cfg", {}, {"augmentations": None}, {"augmentations": "monitor"}, {"augmentations": [1]}):
        assert not _names_families(cfg)


def test_resuming_with_other_families_is_refused_with_both_printed(tmp_path: Path) -> None:
    trainer = _fit(_Method(_config()), _Images(), tmp_path)
    path = tmp_path / "run.ckpt"
    trainer.save_checkpoint(path)
    _fit(_Method(_config()), _Images(), tmp_path, ckpt_path=path, max_epochs=2)
    fingerprint = ventral.fingerprint()
    with pytest.raises(UserError, match=rf"ventral@32 \[{fingerprint}\].*dorsal@32"):
        _fit(_Method(_config(entry={"family": "dorsal"})), _Images(), tmp_path, ckpt_path=path, max_epochs=2)
    with pytest.raises(UserError, match="asks for no family"):
        _fit(_Method(), _Images(), tmp_path, ckpt_path=path, max_epochs=2)
    plain = _fit(_Method(), _Images(), tmp_path)
    plain.save_checkpoint(tmp_path / "plain.ckpt")
    with pytest.raises(UserError, match="trained with no family"):
        _fit(_Method(_config()), _Images(), tmp_path, ckpt_path=tmp_path / "plain.ckpt", max_epochs=2)


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (_config(data={"dataset": "imagenet", "format": "dali"}), r"data\.format=dali"),
        (_config(entry={"family": "venral"}), "did you mean 'ventral'"),
        (_config(invariance="montior"), "invariance=montior: there is no such configuration"),
        (_config(entry={"canvas_size": 16}), r"canvas_size=16: .* at least the crop size 32"),
        (_config(entry={"crop_size": 0}), r"augmentations\[0\]\.crop_size=0: expected a positive whole number"),
        (_config(entry={"num_crops": "two"}), r"augmentations\[0\]\.num_crops=two"),
        (
            _config(augmentations=[{"family": "ventral", "crop_size": 32, "num_crops": 1}, {"crop_size": 32}]),
            r"augmentations\[1\]\.family is missing",
        ),
        (
            _config(
                augmentations=[
                    {"family": "ventral", "crop_size": 32, "num_crops": 2, "canvas_size": 40},
                    {"family": "ventral", "crop_size": 16, "num_crops": 2, "canvas_size": 48},
                ]
            ),
            r"all entries share one canvas, got \[40, 48\]",
        ),
    ],
)
def test_wrong_keys_stop_the_run_before_it_starts(tmp_path: Path, cfg: DictConfig, message: str) -> None:
    module = _Method(cfg)
    with pytest.raises(UserError, match=message):
        _fit(module, _Images(), tmp_path)
    assert module.batches == []


def test_a_dataset_without_a_transform_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="TensorDataset has none"):
        _fit(_Method(_config()), torch.utils.data.TensorDataset(torch.zeros(8)), tmp_path)


def test_interpolations_are_resolved_for_the_hosts_args_json(tmp_path: Path) -> None:
    cfg = _config(size=32, entry={"crop_size": "${size}"})
    _fit(_Method(cfg), _Images(), tmp_path)
    assert OmegaConf.to_container(cfg)["augmentations"][0]["crop_size"] == 32  # type: ignore[index,call-overload]
