import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset

from solo_invariance.data.decoding import readable
from solo_invariance.data.images import ImageFiles, ImageSource, identify
from solo_invariance.errors import UserError
from solo_invariance.transfer.own_images import OwnTask, images_from, targets_from
from solo_invariance.transfer.tasks import TaskSettings

PIXELS = torch.randint(256, (4, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


class _Photographs:
    """A dataset of PIL images with classes, as torchvision's are without a transform."""

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(PIXELS[index].permute(1, 2, 0).numpy()), 0


def _stacked(source: ImageSource) -> Tensor:
    return torch.stack([readable(source[index]) for index in range(len(source))])


@pytest.mark.parametrize(
    "given",
    [
        PIXELS,
        PIXELS.numpy(),
        PIXELS.float() / 255,
        PIXELS.double().numpy() / 255,
        _Photographs(),
        TensorDataset(PIXELS),
        TensorDataset(PIXELS / 255, torch.arange(4)),
    ],
    ids=["uint8", "array", "float", "floats in an array", "PIL", "dataset", "dataset of floats"],
)
def test_every_form_of_images_gives_the_same_pixels(given: Any) -> None:
    source = images_from(given)
    assert torch.equal(_stacked(source), PIXELS)


def test_folders_and_files_are_read_and_sources_are_taken_as_they_are(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(4)]
    for path, pixels in zip(paths, PIXELS, strict=True):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    for given in (tmp_path, str(tmp_path), paths, [str(path) for path in paths]):
        assert torch.equal(_stacked(images_from(given)), PIXELS)
    source = ImageFiles(tmp_path)
    assert images_from(source) is source


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (PIXELS[:, 0].numpy(), "images: a tensor of shape (4, 8, 8), expected (N, 3, H, W)"),
        (PIXELS.float(), "expected uint8, or numbers in [0, 1]"),
        (3, "images of int: expected a folder"),
    ],
)
def test_images_of_another_form_are_said(given: Any, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        images_from(given)


@pytest.mark.parametrize(
    ("given", "kind", "dtype", "shape"),
    [
        ([3, 1, 3], "classification", torch.int64, (3,)),
        (np.array([3, 1, 3], dtype=np.uint8), "classification", torch.int64, (3,)),
        ([True, False, True], "classification", torch.int64, (3,)),
        (torch.tensor([[1, 0], [0, 1], [1, 1]]), "multilabel", torch.bool, (3, 2)),
        (torch.ones(3, 2).bool(), "multilabel", torch.bool, (3, 2)),
        (torch.tensor([0.5, 1.0, 2.0]), "regression", torch.float64, (3, 1)),
        (np.zeros((3, 2)), "regression", torch.float64, (3, 2)),
    ],
)
def test_the_targets_type_says_what_they_are(given: Any, kind: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    task = OwnTask.of(PIXELS[:3], given, PIXELS[1:], given, label="mine")
    assert (task.kind, task.label) == (kind, "mine")
    train, test = task.load(TaskSettings())
    assert (train.targets.dtype, tuple(test.targets.shape)) == (dtype, shape)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a", "b"], "own targets: not numbers"),
        (torch.zeros(2, 2, 2), "own targets: torch.float32 of shape (2, 2, 2), expected (N,) or (N, T)"),
        (torch.tensor([[1, 2]]), "own targets: whole numbers (1, 2), expected 0 or 1 for a label, or floats"),
        (torch.tensor([0.0, torch.nan]), "own targets: row 1 is not finite"),
    ],
)
def test_targets_of_another_form_are_said(given: Any, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        targets_from(given)


def test_what_does_not_fit_together_is_said() -> None:
    with pytest.raises(UserError, match="4 training images, but 3 training targets"):
        OwnTask.of(PIXELS, [0, 1, 0], PIXELS, [0, 1, 0, 1])
    with pytest.raises(UserError, match="are for classification, but test targets for regression of 1 col"):
        OwnTask.of(PIXELS, [0, 1, 0, 1], PIXELS, torch.rand(4))
    with pytest.raises(UserError, match="for regression of 2 columns, but test targets for regression of 3 columns"):
        OwnTask.of(PIXELS, torch.rand(4, 2), PIXELS, torch.rand(4, 3))
    with pytest.raises(UserError, match="no test images"):
        OwnTask.of(PIXELS, [0, 1, 0, 1], PIXELS[:0], torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([3], "images: a list with a int, expected files"),
        ([PIXELS[0]], "images: a list with a Tensor, expected files"),
        (["nowhere.png"], "nowhere.png: no such image"),
        (["x" * 300], "x: no such image"),
        (np.array(["a.png"]), "images: an array of <U5, expected numbers"),
        (np.array([None, 3]), "images: an array of object, expected numbers"),
        (torch.zeros(0, 3, 8, 4, dtype=torch.int16)[:, :2], "expected .N, 3, H, W."),
    ],
)
def test_images_of_other_forms_are_named(given: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        images_from(given)


def test_files_by_paths_of_both_kinds_are_read_and_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(2):
        Image.fromarray(PIXELS[index].permute(1, 2, 0).numpy()).save(tmp_path / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    source = images_from([Path("0.png"), tmp_path / "1.png"])
    assert torch.equal(_stacked(source), PIXELS[:2])
    assert [identify(source, index).split(" (")[0] for index in range(2)] == ["0.png", str(tmp_path / "1.png")]


def test_an_array_turned_round_is_the_same_images() -> None:
    assert torch.equal(_stacked(images_from(PIXELS.numpy()[::-1])), PIXELS.flip(0))
