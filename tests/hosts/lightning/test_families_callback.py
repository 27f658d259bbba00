import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.datasets import ImageFolder

from solo_invariance.config.composed import plain
from solo_invariance.errors import UserError
from solo_invariance.families import Canvas, ventral
from solo_invariance.families.crops import generator_of
from solo_invariance.hosts.lightning.families_callback import _names_families

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
        **arguments.pop("trainer", {}),
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
    [
        None,
        OmegaConf.create({"augmentations": [{"crop_size": 32}]}),
        OmegaConf.create({"augmentations": "monitor"}),
        OmegaConf.create({"invariance": "rotation"}),
        OmegaConf.create({"augmentations": ["${oc.env:NO_SUCH_VARIABLE}"], "invariance": {"rotation": True}}),
        OmegaConf.create({"augmentations": [], "invariance": "rotation"}),
        OmegaConf.create({"augmentations": ["flip", "rotate"], "invariance": "rotation"}),
        OmegaConf.create({"augmentations": [{"name": "flip"}], "invariance": {"family": "rotations"}}),
        {"augmentations": [{"crop_size": 32}], "invariance": "rotation"},
    ],
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
        (
            OmegaConf.create({"augmentations": [{"crop_size": 32}], "invariance": "montior"}),
            "invariance=montior: there is no such configuration",
        ),
        (
            OmegaConf.create({"augmentations": [{"crop_size": 32}], "invariance": {"family": "ventral"}}),
            r"invariance\.family is set, but no family is chosen: add augmentations=invariance/NAME",
        ),
        (_config(seed=-1), "seed=-1: expected a whole number"),
        (_config(augmentations=[{"family": "ventral", "crop_size": 32, "num_crops": 2}, "dorsal"]), r"\[1\]=dorsal"),
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


def test_what_is_done_to_the_images_is_said_once_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = _config(entry={"canvas": "centre"})
    trainer = _fit(_Method(cfg), _Images(), tmp_path, max_epochs=2)
    assert capsys.readouterr().err.splitlines() == [
        "solo-invariance: families: 2 x ventral@32 (resized_crop scale 0.2 to 1, ratio 0.75 to 1.33; "
        "horizontal_flip p 0.5); canvas 32 pixels, centre square"
    ]
    resolved = plain(cfg)["invariance"]["resolved"]
    (entry,) = resolved["crops"]
    assert (entry["num_crops"], entry["crop_size"], entry["family"]) == (2, 32, ventral.describe())
    assert entry["units"]["resized_crop"] == {"scale": "fraction of the image's area", "ratio": "width / height"}
    assert resolved["canvas"] == {"size": 32, "shows": "centre", "units": {"size": "pixels"}}
    assert resolved["normalisation"]["std"] == [0.2470, 0.2435, 0.2616]
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    content = torch.load(tmp_path / "run.ckpt", weights_only=True)
    assert content["callbacks"]["FamiliesCallback"]["resolved"] == resolved


def test_what_is_recorded_is_no_part_of_what_a_resumed_run_shares(tmp_path: Path) -> None:
    """Checkpoints of before have the fingerprint alone."""
    trainer = _fit(_Method(_config()), _Images(), tmp_path)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    content = torch.load(tmp_path / "run.ckpt", weights_only=True)
    del content["callbacks"]["FamiliesCallback"]["resolved"]
    torch.save(content, tmp_path / "before.ckpt")
    _fit(_Method(_config()), _Images(), tmp_path, ckpt_path=tmp_path / "before.ckpt", max_epochs=2)


@pytest.mark.parametrize("kind", ["read-only", "a word", "struct"])
def test_a_configuration_that_takes_no_record_is_left_alone(tmp_path: Path, kind: str) -> None:
    cfg = _config(**({"invariance": "rotation"} if kind == "a word" else {}))
    OmegaConf.set_readonly(cfg, kind == "read-only")
    OmegaConf.set_struct(cfg, kind == "struct")
    before = plain(cfg)
    _fit(_Method(cfg), _Images(), tmp_path)
    after = plain(cfg)
    assert ("resolved" in after.pop("invariance", {})) == (kind == "struct")
    before.pop("invariance", None)
    assert after == before


def test_interpolations_are_resolved_for_the_hosts_args_json(tmp_path: Path) -> None:
    cfg = _config(size=32, entry={"crop_size": "${size}"})
    _fit(_Method(cfg), _Images(), tmp_path)
    assert OmegaConf.to_container(cfg)["augmentations"][0]["crop_size"] == 32  # type: ignore[index,call-overload]


def test_crops_come_in_the_layout_and_precision_of_the_network(tmp_path: Path) -> None:
    def crops_of(**arguments: Any) -> list[Tensor]:
        module = _Method(_config())
        module.convolution = torch.nn.Conv2d(3, 4, 3)
        if arguments.pop("last", False):
            module.to(memory_format=torch.channels_last)
        _fit(module, _Images(), tmp_path, trainer=arguments)
        crops: list[Tensor] = module.batches[0][1]
        return crops

    plain = crops_of()
    assert all(crop.is_contiguous() for crop in plain)
    last = crops_of(last=True)
    assert all(crop.is_contiguous(memory_format=torch.channels_last) for crop in last)
    assert all(torch.equal(a, b) for a, b in zip(plain, last, strict=True))
    assert crops_of(precision="bf16-mixed")[0].dtype == torch.float32
    assert crops_of(precision="bf16-true")[0].dtype == torch.bfloat16


def test_image_folders_are_decoded_for_the_canvas(tmp_path: Path, photo_folder: Path) -> None:
    class Indexed(ImageFolder):
        def __getitem__(self, index: int) -> Any:
            return (index, *super().__getitem__(index))

    seen = []

    class Spying(_Method):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            seen.append((folder.loader.__name__, type(folder.transform).__name__))
            return super().training_step(batch, batch_idx)

    folder = Indexed(str(photo_folder / "train"))
    before = (folder.loader, folder.transform)
    module = Spying(_config())
    _fit(module, folder, tmp_path)
    assert set(seen) == {("load", "Canvas")}
    assert (folder.loader, folder.transform) == before
    assert module.batches[0][2].tolist() == folder.targets[:4]
    own = Indexed(str(photo_folder / "train"), loader=lambda path: Image.new("RGB", (50, 50), (9, 9, 9)))
    module = _Method(_config(entry={"family": "identity"}))
    _fit(module, own, tmp_path)
    values = module.batches[0][1][0] * torch.tensor([0.2470, 0.2435, 0.2616])[:, None, None]
    expected = 9 / 255 - torch.tensor([0.4914, 0.4822, 0.4465])
    torch.testing.assert_close(values, expected[:, None, None].expand_as(values), atol=1e-5, rtol=0)


def test_two_processes_see_other_images_and_other_draws_and_the_same_again(tmp_path: Path) -> None:
    """Two ranks over gloo; every rank writes what its method saw."""
    script = tmp_path / "two.py"
    script.write_text(_TWO_PROCESSES)
    runs = []
    for name in ("first", "second"):
        out = tmp_path / name
        out.mkdir()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), str(out)], capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr[-2000:]
        runs.append([torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(2)])
    first, second = runs
    for rank in range(2):
        for ours, again in zip(first[rank], second[rank], strict=True):
            assert torch.equal(ours, again)
    indexes = [torch.cat(run[0::2]).tolist() for run in first]
    assert not set(indexes[0]) & set(indexes[1])
    assert sorted(indexes[0] + indexes[1]) == list(range(8))
    # All images are the same, so that crops differ by their draws alone.
    assert not torch.equal(first[0][1], first[1][1])


_TWO_PROCESSES = """
import sys
import torch
from lightning.pytorch import LightningModule, Trainer
from omegaconf import OmegaConf
from torch.utils.data import DataLoader, Dataset

class Images(Dataset):
    transform = None
    def __len__(self):
        return 8
    def __getitem__(self, index):
        image = torch.arange(3 * 32 * 32).reshape(3, 32, 32).remainder(251).byte()
        return index, self.transform(image), 0

class Method(LightningModule):
    def __init__(self):
        super().__init__()
        entry = {"family": "default", "crop_size": 32, "num_crops": 1}
        self.cfg = OmegaConf.create({"seed": 7, "data": {"dataset": "cifar10"}, "augmentations": [entry]})
        self.layer = torch.nn.Linear(1, 1)
        self.seen = []
    def training_step(self, batch, batch_idx):
        self.seen += [batch[0], batch[1][0]]
        return self.layer(torch.ones(1, 1)).sum()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

if __name__ == "__main__":
    method = Method()
    trainer = Trainer(max_epochs=1, accelerator="cpu", devices=2, strategy="ddp", logger=False,
                      enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(method, DataLoader(Images(), batch_size=2, shuffle=True))
    torch.save(method.seen, f"{sys.argv[1]}/{trainer.global_rank}.pt")
"""


def test_validation_on_the_same_dataset_is_refused_and_the_dataset_left_alone(tmp_path: Path) -> None:
    class Validated(_Method):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            pass

    images = _Images()
    parts = [Subset(images, range(4)), Subset(images, range(4, 8))]
    trainer = Trainer(max_epochs=1, accelerator="cpu", logger=False, default_root_dir=tmp_path)
    with pytest.raises(UserError, match="validation reads the same dataset"):
        trainer.fit(Validated(_config()), DataLoader(parts[0]), DataLoader(parts[1]))
    assert images.transform is None


def test_the_datasets_transform_comes_back_also_after_an_error(tmp_path: Path) -> None:
    class Failing(_Method):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            raise RuntimeError("in the middle")

    images = _Images()
    _fit(_Method(_config()), images, tmp_path)
    assert images.transform is None
    with pytest.raises(RuntimeError, match="in the middle"):
        _fit(Failing(_config()), images, tmp_path)
    assert images.transform is None


def test_a_plain_mapping_names_families_as_well(tmp_path: Path) -> None:
    cfg: Any = OmegaConf.to_container(_config())
    module = _Method(cfg)
    _fit(module, _Images(), tmp_path)
    assert len(module.batches[0][1]) == 2


def test_the_families_stay_in_checkpoints_after_testing(tmp_path: Path) -> None:
    class Tested(_Method):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            pass

    module = Tested(_config())
    trainer = _fit(module, _Images(), tmp_path)
    trainer.test(module, DataLoader(torch.utils.data.TensorDataset(torch.zeros(2))), verbose=False)
    trainer.save_checkpoint(tmp_path / "tested.ckpt")
    content = torch.load(tmp_path / "tested.ckpt", weights_only=True)
    assert content["callbacks"]["FamiliesCallback"]["families"].startswith("2 x ventral@32")
    _fit(Tested(_config()), _Images(), tmp_path, ckpt_path=tmp_path / "tested.ckpt", max_epochs=2)
    changed = Tested(_config(entry={"canvas_size": 40}))
    with pytest.raises(UserError, match=r"on canvases \(whole\) of 32 px, .* on canvases \(whole\) of 40 px"):
        _fit(changed, _Images(), tmp_path, ckpt_path=tmp_path / "tested.ckpt", max_epochs=2)


def test_a_dataset_that_ignores_its_transform_is_named(tmp_path: Path) -> None:
    class Ignoring(_Images):
        def __getitem__(self, index: int) -> Any:
            return index, self.images[index], 0

    with pytest.raises(RuntimeError, match="the dataset does not use its transform"):
        _fit(_Method(_config()), Ignoring(), tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kept", [None, "whole", "centre"])
def test_the_families_know_the_shapes_of_the_images(tmp_path: Path, kept: str | None, workers: int) -> None:
    """Images of 40 x 48 pixels: a crop of a whole one has twelve tenths of its width for each height."""
    dataset = _Images()
    canvas = Canvas(32, whole=kept != "centre")
    sizes = torch.tensor([[40, 48 if canvas.whole else 40]]).expand(4, 2)
    module = _Method(_config(**({} if kept is None else {"entry": {"canvas": kept}})))
    _fit(module, dataset, tmp_path, workers)
    canvases = torch.stack([canvas(image).pixels for image in dataset.images[:4]])
    parameters = ventral.draw(4, generator_of((7, 0, 0, 0)), sizes)
    views = ventral.apply(canvases, parameters, 32, sizes)
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
    seen = module.batches[0][1][0] * std[:, None, None] + mean[:, None, None]
    torch.testing.assert_close(seen, views, atol=1e-5, rtol=0)
    square = ventral.draw(4, generator_of((7, 0, 0, 0)))
    assert torch.equal(square[0]["box"], parameters[0]["box"]) == (kept == "centre")
