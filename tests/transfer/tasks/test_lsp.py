from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision.transforms.functional import pil_to_tensor

from solo_invariance.errors import UserError
from solo_invariance.transfer.tasks import TaskSettings
from solo_invariance.transfer.tasks.lsp import lsp
from solo_invariance.transfer.tasks.splits import shuffle_split

SIZES = [(301, 173), (173, 301), (120, 97), (98, 121), (111, 111)]


def _joints() -> np.ndarray:
    """x, y and visibility of 14 joints in each image; the one of the image's number has the mark."""
    joints = np.random.default_rng(0).uniform(-20, 320, (3, 14, len(SIZES)))
    for index, (width, height) in enumerate(SIZES):
        joints[:2, index, index] = width / 2 + 0.1 * min(width, height), height / 2 - 0.2 * min(width, height)
    return joints


@pytest.fixture
def root(tmp_path: Path, mark) -> Path:  # type: ignore[no-untyped-def]
    for index, size in enumerate(SIZES):
        mark(tmp_path / "images" / f"im{index + 1:04}.jpg", size, tuple(_joints()[:2, index, index]))
    savemat(tmp_path / "joints.mat", {"joints": _joints()})
    return tmp_path


@pytest.mark.parametrize("crop_size", [64, 224])
def test_joints_are_where_their_marks_are(root: Path, crop_size: int, find) -> None:  # type: ignore[no-untyped-def]
    splits = lsp.load(TaskSettings(path=str(root), crop_size=crop_size, seed=0))
    for split, rows in zip(splits, shuffle_split(5, 0.6, seed=0), strict=True):
        for place, row in enumerate(rows):
            assert Path(split.images.name_of(place)).name == f"im{row + 1:04}.jpg"
            (width, height), side = SIZES[row], min(SIZES[row])
            left, top = int((width - side) / 2), int((height - side) / 2)
            expected = Image.open(split.images.name_of(place)).crop((left, top, left + side, top + side))
            assert torch.equal(split.images[place], pil_to_tensor(expected))  # type: ignore[arg-type]
            target = split.targets[place].reshape(14, 2)[row].tolist()
            assert find(split, place, crop_size) == pytest.approx(target, abs=0.1)


def test_the_paper_splits_with_seed_0_whatever_the_settings_say(root: Path) -> None:
    def names(seed: int, protocol: str) -> list[str]:
        train, _ = lsp.load(TaskSettings(path=str(root), seed=seed, protocol=protocol))  # type: ignore[arg-type]
        return [train.images.name_of(index) for index in range(len(train.images))]

    assert names(3, "paper") == names(0, "paper") == names(0, "clean") != names(3, "clean")


def test_images_are_drawn(root: Path) -> None:
    train, test = lsp.load(TaskSettings(path=str(root), num_train=2, num_test=1))
    assert (train.targets.shape, test.targets.shape) == ((2, 28), (1, 28))
    with pytest.raises(UserError, match=r"task\.num_test=3: expected 1 to 2"):
        lsp.load(TaskSettings(path=str(root), num_test=3))


def test_joints_that_do_not_fit_are_an_error(root: Path) -> None:
    settings, joints = TaskSettings(path=str(root)), _joints()
    savemat(root / "joints.mat", {"joints": joints[..., :4]})
    with pytest.raises(UserError, match=r"joints\.mat: joints of shape \(3, 14, 4\), expected \(3, 14, 5\)"):
        lsp.load(settings)
    joints[0, 3, 2] = np.nan
    savemat(root / "joints.mat", {"joints": joints})
    with pytest.raises(UserError, match=r"joints\.mat: the joints of image 3 are not finite"):
        lsp.load(settings)
    savemat(root / "joints.mat", {"others": joints})
    with pytest.raises(UserError, match=r"joints\.mat: not a readable Matlab file with the array joints"):
        lsp.load(settings)
    whole = (root / "joints.mat").read_bytes()
    (root / "joints.mat").unlink()
    (root / "joints.mat").symlink_to("/dev/zero")  # which never ends
    with pytest.raises(UserError, match=r"no Leeds Sports Pose; expected .*joints\.mat"):
        lsp.load(settings)
    (root / "joints.mat").unlink()
    for content in (b"", b"no Matlab file" * 20, whole[:130], whole[: len(whole) // 2]):
        (root / "joints.mat").write_bytes(content)
        with pytest.raises(UserError, match=r"joints\.mat: not a readable Matlab file with the array joints"):
            lsp.load(settings)


def _extended() -> tuple[np.ndarray, np.ndarray]:
    """The same joints in the extended set's order, and which are labelled: not the fourth of the second image."""
    labelled = np.ones((14, len(SIZES)))
    labelled[3, 1] = 0
    joints = _joints().transpose(1, 0, 2)
    joints[:, 2] = labelled
    return joints, labelled


def test_the_extended_sets_joints_have_other_axes_and_its_unlabelled_ones_do_not_count(root: Path) -> None:
    before = lsp.load(TaskSettings(path=str(root)))
    joints, _ = _extended()
    joints[:, 2] = 1
    savemat(root / "joints.mat", {"joints": joints})
    for split, expected in zip(lsp.load(TaskSettings(path=str(root))), before, strict=True):
        assert torch.equal(split.targets, expected.targets)
        assert not split.origin
    savemat(root / "joints.mat", {"joints": _extended()[0]})
    splits = lsp.load(TaskSettings(path=str(root)))
    names = {Path(split.images.name_of(row)).name for split in splits for row in range(len(split.images))}
    assert names == {"im0001.jpg", "im0003.jpg", "im0004.jpg", "im0005.jpg"}
    assert {split.origin for split in splits} == {"4 of 5 images, in which all 14 joints are labelled"}


def test_places_of_joints_that_are_not_labelled_may_be_none(root: Path) -> None:
    joints, _ = _extended()
    joints[3, :2, 1] = np.nan
    savemat(root / "joints.mat", {"joints": joints})
    assert sum(len(split.images) for split in lsp.load(TaskSettings(path=str(root)))) == 4
    joints[3, 2] = 0
    joints[3, 2, 0] = 1
    savemat(root / "joints.mat", {"joints": joints})
    with pytest.raises(
        UserError, match=r"joints\.mat: all 14 joints are labelled in 1 of 5 images; task\.options\.joints"
    ):
        lsp.load(TaskSettings(path=str(root)))


def test_joints_are_chosen_by_name(root: Path, find) -> None:  # type: ignore[no-untyped-def]
    savemat(root / "joints.mat", {"joints": _extended()[0]})
    some = TaskSettings(path=str(root), options={"joints": ["left_knee", "right_ankle"]})
    for split in lsp.load(TaskSettings(path=str(root), options={"joints": ["right_knee", "right_ankle"]})):
        assert split.targets.shape[1] == 4
        for place in range(len(split.images)):
            row = int(Path(split.images.name_of(place)).stem[2:]) - 1
            if row < 2:  # whose marks are at the first two joints
                target = split.targets[place].reshape(2, 2)[1 - row].tolist()
                assert find(split, place, 224) == pytest.approx(target, abs=0.1)
    assert sum(len(split.images) for split in lsp.load(some)) == 5
    left_hip = TaskSettings(path=str(root), options={"joints": ["left_hip"]})
    assert sum(len(split.images) for split in lsp.load(left_hip)) == 4
    for wrong, said in ((["nose"], "there is no joint 'nose'; the joints are right_ankle"), ([], "expected a list")):
        with pytest.raises(UserError, match=rf"task\.options\.joints.*{said}"):
            lsp.load(TaskSettings(path=str(root), options={"joints": wrong}))
