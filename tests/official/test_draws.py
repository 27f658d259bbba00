"""Splits and draws are those of the official code, on the same folders and whatever seed is asked for."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from solo_invariance.transfer.tasks import Split, TaskSettings
from solo_invariance.transfer.tasks.caltech101 import Caltech101
from solo_invariance.transfer.tasks.faces_300w import faces_300w
from solo_invariance.transfer.tasks.lsp import lsp

pytestmark = pytest.mark.official
Official = Callable[[str], ModuleType]


def _names(split: Split) -> list[str]:
    return sorted(split.images.name_of(index) for index in range(len(split.images)))


def _image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30)).save(path)


@pytest.mark.parametrize("count", [7, 31])
def test_300w(official: Official, tmp_path: Path, count: int) -> None:
    points = np.random.default_rng(0).uniform(1, 29, (68, 2))
    lines = ["version: 1", "n_points: 68", "{", *(f"{x:.3f} {y:.3f}" for x, y in points), "}"]
    for index in range(count):
        place = ("01_Indoor/indoor", "02_Outdoor/outdoor")[index % 2]
        _image(tmp_path / f"{place}_{index:03}.png")
        (tmp_path / f"{place}_{index:03}.pts").write_text("\n".join(lines))
    dataset = official("datasets").FacesInTheWild300W
    theirs = {split: dataset(str(tmp_path), split).images for split in ("train", "valid", "test")}
    train, test = faces_300w.load(TaskSettings(path=str(tmp_path), protocol="paper", seed=5))
    assert _names(train) == sorted(theirs["train"] + theirs["valid"])
    assert _names(test) == sorted(theirs["test"])


def test_leeds_sports_pose(official: Official, tmp_path: Path) -> None:
    for index in range(23):
        _image(tmp_path / "images" / f"im{index + 1:04}.jpg")
    savemat(tmp_path / "joints.mat", {"joints": np.random.default_rng(0).uniform(1, 29, (3, 14, 23))})
    dataset = official("datasets").LeedsSportsPose
    splits = lsp.load(TaskSettings(path=str(tmp_path), protocol="paper", seed=5))
    for name, ours in zip(("train", "test"), splits, strict=True):
        assert _names(ours) == sorted(dataset(str(tmp_path), name).images)


def test_caltech101(official: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cwd = tmp_path / "data" / "Caltech101", tmp_path / "code" / "datasets"
    for name, count in {"BACKGROUND_Google": 35, "Faces": 40, "Faces_easy": 31, "accordion": 33}.items():
        for index in range(count):
            _image(root / "caltech101" / "101_ObjectCategories" / name / f"image_{index + 1:04}.jpg")
    cwd.mkdir(parents=True)
    monkeypatch.chdir(cwd)  # it writes to ../../data/Caltech101
    module = official("datasets.caltech101")
    module.create_caltech101_splits(str(root))
    splits = Caltech101().load(TaskSettings(path=str(root), protocol="paper", seed=5))
    for name, ours in zip(("train", "test"), splits, strict=True):
        theirs = module.Caltech101(str(root), name).samples
        found = [(ours.images.name_of(index), int(target)) for index, target in enumerate(ours.targets)]
        assert sorted(found) == sorted(theirs)
    assert len({*_names(splits[0])}) < len(_names(splits[0])) == 120  # some twice
