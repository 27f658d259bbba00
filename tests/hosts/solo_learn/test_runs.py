"""Runs of the unmodified main_pretrain.py, watched: what the method gets, and what families leave as it was."""

import csv
import json
import os
import pickle
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from solo_invariance.known_datasets import known_dataset

pytestmark = pytest.mark.host

SPIED = Path(__file__).parent / "spied_pretrain.py"
Watch = Callable[..., list[dict[str, list[Any]]]]


@pytest.fixture
def watch(run_host: Any, tmp_path: Path) -> Watch:
    """Pre-train with MoCo v2+ and return what each process saw: batches and metrics, see spied_pretrain.py."""

    def run(name: str, *overrides: str, **environment: str) -> list[dict[str, list[Any]]]:
        seen = tmp_path / name
        seen.mkdir()
        run_host(SPIED, *_moco(tmp_path), *overrides, SPY_OUT=str(seen), **environment)
        return [torch.load(path, weights_only=True) for path in sorted(seen.glob("rank*.pt"))]

    return run


def _moco(out: Path) -> list[str]:
    return [
        "--config-path=scripts/pretrain/cifar",
        "--config-name=mocov2plus",
        "name=watched",
        "data.dataset=custom",
        "data.val_path=null",
        "method_kwargs.proj_hidden_dim=32",
        "method_kwargs.proj_output_dim=16",
        "method_kwargs.queue_size=64",
        "max_epochs=1",
        "auto_resume.enabled=False",
        f"checkpoint.dir={out / 'checkpoints'}",
    ]


def _random_images(count: int, size: int = 32) -> Tensor:
    """Return uint8 (count, 3, size, size)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def _normalized(images: Tensor, dataset: str) -> Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in known_dataset(dataset).statistics)
    return (images.float() / 255 - mean) / std


def _labelled_folder(root: Path, images: Tensor, classes: int) -> Path:
    for index, image in enumerate(images):
        folder = root / f"class{index % classes}"
        folder.mkdir(parents=True, exist_ok=True)
        _picture(image).save(folder / f"{index:03}.png")
    return root


def _weights(checkpoint: Path) -> dict[str, Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def test_all_but_the_crops_of_a_run_stays_as_it_was(tmp_path: Path, watch: Watch) -> None:
    """The identity family, on images that are crops already, against solo-learn's pipeline with everything off."""
    images = _random_images(36)
    common = [
        f"data.train_path={_labelled_folder(tmp_path / 'train', images[:24], 6)}",
        f"data.val_path={_labelled_folder(tmp_path / 'val', images[24:], 6)}",
        "max_epochs=2",
    ]
    parts = ("color_jitter", "grayscale", "gaussian_blur", "solarization", "equalization", "horizontal_flip")
    off = ["augmentations.0.rrc.enabled=False", *(f"augmentations.0.{part}.prob=0" for part in parts)]
    (plain,) = watch("plain", *common, "augmentations=symmetric_weak", *off, "augmentations.0.crop_size=32")
    (ours,) = watch("ours", *common, "augmentations=invariance/identity", "+invariance.crop_size=32")

    assert len(plain["train"]) == len(ours["train"]) == 2 * 3
    for theirs, mine in zip(plain["train"], ours["train"], strict=True):
        assert torch.equal(theirs["indexes"], mine["indexes"])
        assert torch.equal(theirs["targets"], mine["targets"])
        torch.testing.assert_close(theirs["crops"], mine["crops"], atol=1e-5, rtol=0)
    assert plain["train"][0]["indexes"].tolist() != plain["train"][3]["indexes"].tolist()
    assert len(plain["val"]) == len(ours["val"]) == 2 * 3  # the trainer's check before training has them once as well
    for theirs, mine in zip(plain["val"], ours["val"], strict=True):
        assert torch.equal(theirs["images"], mine["images"])
        assert torch.equal(theirs["targets"], mine["targets"])
    assert {"train_nce_loss", "train_acc1", "tau", "val_loss", "val_acc1"} <= set(plain["metrics"][-1])
    for theirs, mine in zip(plain["metrics"], ours["metrics"], strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)
    ends = [_weights(path) for path in sorted((tmp_path / "checkpoints").rglob("*ep=1.ckpt"))]
    assert len(ends) == 2
    torch.testing.assert_close(ends[0], ends[1], atol=1e-4, rtol=1e-4)


def _unlabelled(root: Path) -> tuple[list[str], Tensor, list[int]]:
    images = _random_images(16)
    (root / "images").mkdir()
    for index, image in enumerate(images):
        _picture(image).save(root / "images" / f"{index}.png")
    listed = [int(name.removesuffix(".png")) for name in os.listdir(root / "images")]  # the order of the host's dataset
    chosen = ["+data.no_labels=True", f"data.train_path={root / 'images'}", "+invariance.crop_size=32"]
    return ["data.dataset=custom", *chosen], images[listed], [-1] * 16


def _hdf5(root: Path) -> tuple[list[str], Tensor, list[int]]:
    h5py = pytest.importorskip("h5py", reason="solo-learn reads HDF5 with h5py, which is not installed")
    images = _random_images(16)
    with h5py.File(root / "images.h5", "w") as file:
        for index, image in enumerate(images):
            content = BytesIO()
            _picture(image).save(content, "png")
            file[f"class{index // 8}/{index:02}"] = np.frombuffer(content.getvalue(), np.uint8)
    chosen = ["data.format=h5", f"data.train_path={root / 'images.h5'}", "+invariance.crop_size=32"]
    return ["data.dataset=imagenet100", *chosen], images, [0] * 8 + [1] * 8


def _cifar10(root: Path) -> tuple[list[str], Tensor, list[int]]:
    images, labels = _random_images(25), [index % 10 for index in range(25)]
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for batch in range(5):
        part = slice(5 * batch, 5 * batch + 5)
        content = {"data": images[part].reshape(5, -1).numpy(), "labels": labels[part]}
        (folder / f"data_batch_{batch + 1}").write_bytes(pickle.dumps(content))
    (folder / "test_batch").write_bytes((folder / "data_batch_1").read_bytes())
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(label) for label in range(10)]}))
    return ["data.dataset=cifar10", f"data.train_path={root}", f"data.val_path={root}"], images, labels


def _stl10(root: Path) -> tuple[list[str], Tensor, list[int]]:
    images = _random_images(16, 96)
    folder = root / "stl10_binary"
    folder.mkdir()
    for name, part in (("train", images[:8]), ("test", images[:8]), ("unlabeled", images[8:])):
        (folder / f"{name}_X.bin").write_bytes(part.transpose(2, 3).contiguous().numpy().tobytes())  # column by column
    for name in ("train", "test"):
        (folder / f"{name}_y.bin").write_bytes(bytes(range(1, 9)))
    chosen = ["data.dataset=stl10", f"data.train_path={root}", f"data.val_path={root}", "+invariance.crop_size=96"]
    return chosen, images, [*range(8), *[-1] * 8]


@pytest.mark.parametrize("layout", [_unlabelled, _hdf5, _cifar10, _stl10], ids=lambda layout: layout.__name__[1:])
def test_the_method_gets_the_images_of_every_data_format(layout: Any, tmp_path: Path, watch: Watch) -> None:
    """Image by image, by way of the identity family at the images' own size."""
    data, images, targets = layout(tmp_path)
    dataset = data[0].removeprefix("data.dataset=")
    (seen,) = watch(
        "seen", *data, "augmentations=invariance/identity", HOME=str(tmp_path)
    )  # an index of HDF5 goes there
    assert sum(len(batch["indexes"]) for batch in seen["train"]) >= 16
    for batch in seen["train"]:
        expected = _normalized(images[batch["indexes"]], dataset)
        assert len(batch["crops"]) == 2
        for crop in batch["crops"]:
            torch.testing.assert_close(crop, expected, atol=1e-5, rtol=0)
        assert batch["targets"].tolist() == [targets[index] for index in batch["indexes"]]


def _copies(root: Path) -> Path:
    """Return a folder of one image many times, of which only the draw can make different crops."""
    return _labelled_folder(root, _random_images(1, 48).expand(16, -1, -1, -1), 2)


def test_two_processes_share_the_images_and_draw_for_themselves(tmp_path: Path, watch: Watch) -> None:
    chosen = [
        f"data.train_path={_copies(tmp_path / 'copies')}",
        "augmentations=invariance/ventral",
        "+invariance.crop_size=32",
        "strategy=ddp",
        "devices='2'",
        "optimizer.batch_size=4",
        "max_epochs=2",
    ]
    ranks = watch("ddp", *chosen)
    assert len(ranks) == 2
    for epoch in range(2):
        batches = [[batch for batch in rank["train"] if batch["epoch"] == epoch] for rank in ranks]
        indexes = [[int(index) for batch in rank for index in batch["indexes"]] for rank in batches]
        assert len(indexes[0]) == len(indexes[1]) == 8
        assert {*indexes[0], *indexes[1]} == set(range(16))
    crops = [[crop for batch in rank["train"] for crop in batch["crops"]] for rank in ranks]
    every = torch.stack([crop for rank in crops for crop in rank]).flatten(0, 1)
    assert (
        len(every.flatten(1).unique(dim=0)) == len(every) == 2 * 2 * 2 * 2 * 4
    )  # ranks, epochs, batches, crops, images
    again = watch("again", *chosen)
    for first, second in zip(ranks, again, strict=True):
        torch.testing.assert_close(first["train"], second["train"], atol=0, rtol=0)


def test_auto_resume_goes_on_with_the_same_families_only(tmp_path: Path, watch: Watch, run_host: Any) -> None:
    chosen = [
        f"data.train_path={_copies(tmp_path / 'copies')}",
        "+invariance.crop_size=32",
        "max_epochs=2",
        "checkpoint.frequency=2",  # the first epoch's only
        "auto_resume.enabled=True",
    ]
    (whole,) = watch("whole", *chosen, "augmentations=invariance/ventral")
    refused = run_host("main_pretrain.py", *_moco(tmp_path), *chosen, "augmentations=invariance/dorsal", fails=True)
    lines = refused.stderr.splitlines()
    assert [line for line in lines if "error" in line.lower()] == lines[-1:]
    assert lines[-1].startswith(
        "solo-invariance: error: this run would resume from a checkpoint of other augmentations"
    )
    assert refused.returncode == 2
    assert "2 x ventral@32" in refused.stderr
    assert "2 x dorsal@32" in refused.stderr
    (resumed,) = watch("resumed", *chosen, "augmentations=invariance/ventral")
    assert [batch["epoch"] for batch in resumed["train"]] == [1, 1]
    # Solo-learn shuffles anew, but the images are copies: the crops are those of the uninterrupted run.
    for first, second in zip(whole["train"][2:], resumed["train"], strict=True):
        torch.testing.assert_close(first["crops"], second["crops"], atol=0, rtol=0)


def test_a_run_says_once_what_is_done_to_its_images_and_writes_it_down(
    tmp_path: Path, run_host: Any, photo_folder: Path
) -> None:
    """The recipe for CIFAR on other images keeps its crops of 32 pixels."""
    watched = ["+invariance=monitor", "invariance.monitor.transforms=[hue]", "invariance.monitor.k=2"]
    chosen = [f"data.train_path={photo_folder / 'train'}", "augmentations=invariance/ventral", "+limit_train_batches=2"]
    done = run_host("main_pretrain.py", *_moco(tmp_path), *chosen, *watched)
    said = [line for line in done.stderr.splitlines() if line.startswith("solo-invariance: ")]
    assert said[0] == (
        "solo-invariance: families: 2 x ventral@32 (resized_crop scale 0.2 to 1, ratio 0.75 to 1.33; "
        "horizontal_flip p 0.5); canvas 32 pixels, whole image; crop size of the recipe's own augmentations"
    )
    assert said[1].startswith(
        "solo-invariance: monitor: every 5 epochs and after the last: similarity under hue; k 2; "
        "48 images (all there are, 64 were asked for), whitened by 48; -> CSVLogger in "
    )
    assert len(said) == 2
    checkpoint = next((tmp_path / "checkpoints").rglob("*.ckpt"))
    (state,) = torch.load(checkpoint, weights_only=True)["callbacks"].values()
    resolved = json.loads((checkpoint.parent / "args.json").read_text())["invariance"]["resolved"]
    assert resolved == state["resolved"]
    assert resolved["crops"][0]["family"]["operations"][0] == {
        "resized_crop": {"scale": [0.2, 1.0], "ratio": [3 / 4, 4 / 3]}
    }
    assert (resolved["crops"][0]["crop_size"], resolved["canvas"]["size"]) == (32, 32)
    (metrics,) = tmp_path.rglob("metrics.csv")
    rows = [row for row in csv.DictReader(metrics.read_text().splitlines()) if row["invariance/hue/similarity"]]
    assert [(row["epoch"], row["step"]) for row in rows] == [("0", "1")]
    assert rows[0]["invariance/mean_appearance/similarity"] == rows[0]["invariance/hue/similarity"]


@pytest.mark.parametrize(
    ("overrides", "message", "code"),
    [
        (["augmentations=invariance/ventrall"], "did you mean 'invariance/ventral'? known: byol, ", 1),
        (["augmentations=invariance/sunset"], "there is no such choice of ours; known: byol, ", 1),
        (["invariance.family=ventral"], "takes a plus, +invariance.family=ventral", 1),
        (["augmentations=invariance/family"], "add +invariance.family=..., such as +invariance.family=ventral", 2),
        (["augmentations=invariance/views"], "add +invariance.views=..., such as +invariance.views=[ventral,", 2),
        (["augmentations=invariance/family", "+invariance.family=ventrall"], "did you mean 'ventral'?", 2),
        (["augmentations=invariance/ventral", "data.format=dali"], "use data.format=image_folder or h5", 2),
    ],
)
def test_what_is_wrong_with_our_keys_is_the_last_line(
    overrides: list[str], message: str, code: int, tmp_path: Path, run_host: Any, photo_folder: Path
) -> None:
    data = f"data.train_path={photo_folder / 'train'}"
    done = run_host("main_pretrain.py", *_moco(tmp_path), data, *overrides, fails=True)
    assert done.returncode == code
    last = done.stderr.splitlines()[-1]
    assert last.startswith("solo-invariance: error: ")
    assert message in last
    assert "Traceback" not in done.stderr


def test_an_image_that_cannot_be_read_ends_a_run_in_one_line(tmp_path: Path, run_host: Any) -> None:
    """Found by a data worker, whose traceback would come with it."""
    folder = _labelled_folder(tmp_path / "train", _random_images(16), 2)
    (folder / "class0" / "000.png").write_bytes(b"no picture")
    chosen = [f"data.train_path={folder}", "augmentations=invariance/ventral"]
    done = run_host("main_pretrain.py", *_moco(tmp_path), *chosen, fails=True)
    assert done.returncode == 2
    assert re.fullmatch(r"solo-invariance: error: .*000\.png.*", done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr
