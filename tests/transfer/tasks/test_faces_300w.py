from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from solo_invariance.data.images import digest_of
from solo_invariance.errors import UserError
from solo_invariance.transfer.tasks import Split, TaskSettings
from solo_invariance.transfer.tasks.faces_300w import faces_300w
from solo_invariance.transfer.tasks.splits import shuffle_split

# Image sizes, landscape and portrait, and the landmarks' box: inside, over each border, wider and higher.
SCENES = [
    ((301, 173), (100.4, 30.7, 210.2, 120.6)),
    ((173, 301), (30.0, 60.0, 120.0, 250.0)),
    ((240, 181), (150.6, 20.2, 262.3, 90.9)),
    ((181, 240), (-20.5, 100.1, 90.8, 180.0)),
    ((211, 197), (40.0, -31.3, 150.0, 100.0)),
    ((197, 211), (60.0, 120.0, 130.0, 230.5)),
]


def _points(box: tuple[float, float, float, float], index: int) -> np.ndarray:
    """68 landmarks that fill the box; the last has the mark."""
    generator = np.random.default_rng(index)
    low, high = np.array(box[:2]), np.array(box[2:])
    points = low + generator.random((68, 2)) * (high - low)
    points[0], points[1] = low, high
    points[67] = low + (0.45 + 0.02 * index) * (high - low)
    return points


def _write(path: Path, points: np.ndarray) -> None:
    lines = ["version: 1", f"n_points:  {len(points)}", "{", *(f"{x:.6f} {y:.6f}" for x, y in points), "}"]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def root(tmp_path: Path, mark) -> Path:  # type: ignore[no-untyped-def]
    """300-W of six images, whose files count pixels from 1."""
    for index, (size, box) in enumerate(SCENES):
        folder, name = (("01_Indoor", "indoor"), ("02_Outdoor", "outdoor"))[index % 2]
        points = _points(box, index)
        mark(tmp_path / folder / f"{name}_{index:03}.png", size, tuple(points[67]))
        _write(tmp_path / folder / f"{name}_{index:03}.pts", points + 1)
    return tmp_path


def _scenes(split: Split) -> list[int]:
    return [int(Path(split.images.name_of(row)).stem[-3:]) for row in range(len(split.images))]


@pytest.mark.parametrize("crop_size", [64, 224])
def test_landmarks_are_where_their_marks_are(root: Path, crop_size: int, find) -> None:  # type: ignore[no-untyped-def]
    train, test = faces_300w.load(TaskSettings(path=str(root), crop_size=crop_size))
    assert sorted(_scenes(train) + _scenes(test)) == [0, 1, 2, 3, 4, 5]
    for split in (train, test):
        for row in range(len(split.images)):
            target = split.targets[row].reshape(68, 2)[67].tolist()
            assert find(split, row, crop_size) == pytest.approx(target, abs=0.1)


def test_the_square_is_the_boxs_longer_side_from_its_top_left_corner(root: Path) -> None:
    for split in faces_300w.load(TaskSettings(path=str(root), crop_size=100)):
        for row, scene in enumerate(_scenes(split)):
            left, top, right, bottom = SCENES[scene][1]
            side = int(np.ceil(max(right - left, bottom - top)))
            file = Image.open(split.images.name_of(row))
            corner = (round(left), round(top))
            expected = file.crop((*corner, corner[0] + side, corner[1] + side))
            assert torch.equal(split.images[row], pil_to_tensor(expected))  # type: ignore[arg-type]
            points = split.targets[row].reshape(68, 2)
            assert points.amin(0).tolist() == pytest.approx([0, 0], abs=1)
            assert float(points.amax()) == pytest.approx(100, abs=1.5)


def test_the_paper_counts_from_0_and_sees_the_face_one_pixel_off(root: Path, find) -> None:  # type: ignore[no-untyped-def]
    train, _ = faces_300w.load(TaskSettings(path=str(root), protocol="paper", num_train=1))
    scale = 224 / train.images[0].shape[1]  # type: ignore[union-attr]
    target = train.targets[0].reshape(68, 2)[67] - scale
    assert find(train, 0, 224) == pytest.approx(target.tolist(), abs=0.1)


def test_the_split_is_that_of_the_official_code_and_digests_are_of_the_squares(root: Path) -> None:
    train, test = faces_300w.load(TaskSettings(path=str(root), seed=0))
    listed = [0, 2, 4, 1, 3, 5]  # indoors first
    for split, rows in zip((train, test), shuffle_split(6, 0.6, seed=0), strict=True):
        assert _scenes(split) == [listed[row] for row in rows]
    other, _ = faces_300w.load(TaskSettings(path=str(root), seed=3))
    assert _scenes(other) != _scenes(train)
    shifted, _ = faces_300w.load(TaskSettings(path=str(root), seed=3, protocol="paper"))
    assert _scenes(shifted) == _scenes(train)
    for row in range(3):
        assert digest_of(train.images, row) != digest_of(shifted.images, row)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "cannot be read .*; expected the landmarks"),
        (lambda path: (path.unlink(), path.symlink_to("/dev/zero")), "is no file"),  # which never ends
        (lambda path: path.write_text("version: 1\n"), "not a file of landmarks"),
        (lambda path: path.write_text("{\n1 2 3\n}\n"), "not a file of landmarks"),
        (lambda path: path.write_text("{\n1 x\n}\n"), "not a file of landmarks .*'x'"),
        (lambda path: _write(path, np.ones((67, 2))), "67 landmarks, expected 68"),
        (lambda path: _write(path, np.full((68, 2), np.nan)), "expected 68 of finite numbers"),
        (lambda path: _write(path, np.ones((68, 2))), "no face in an image of 301 x 173 pixels"),
        (lambda path: _write(path, _points((400, 10, 500, 90), 0)), "no face in an image of 301 x 173 pixels"),
        (lambda path: _write(path, _points((10, 10, 1e6, 90), 0)), "no face in an image of 301 x 173 pixels"),
    ],
)
def test_landmarks_that_are_broken_are_named(root: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    change(root / "01_Indoor" / "indoor_000.pts")
    with pytest.raises(UserError, match=r"indoor_000\.pts: .*" + message):
        faces_300w.load(TaskSettings(path=str(root)))


def test_an_image_that_cannot_be_read_is_named(root: Path) -> None:
    (root / "01_Indoor" / "indoor_000.png").write_text("no image")
    with pytest.raises(UserError, match=r"indoor_000\.png: not a readable image"):
        faces_300w.load(TaskSettings(path=str(root)))


def test_targets_are_float32(root: Path) -> None:
    train, _ = faces_300w.load(TaskSettings(path=str(root)))
    assert (train.targets.dtype, train.targets.shape) == (torch.float32, (3, 136))
