import shutil
from pathlib import Path

import pytest

from solo_invariance.errors import UserError
from solo_invariance.transfer.tasks import Split, TaskSettings
from solo_invariance.transfer.tasks.folder import folder

CLASSES = ["astronaut", "chelsea", "coffee", "immunohistochemistry", "retina", "rocket"]


def _parts(split: Split) -> list[tuple[str, str]]:
    paths = [Path(split.images.name_of(row)) for row in range(len(split.images))]
    return [(path.parts[-3], path.parts[-2]) for path in paths]


def test_train_and_val_are_training_and_test(photo_folder: Path) -> None:
    train, test = folder.load(TaskSettings(path=str(photo_folder)))
    for split, part, count in ((train, "train", 8), (test, "val", 4)):
        assert _parts(split) == [(part, name) for name in CLASSES for _ in range(count)]
        assert split.targets.tolist() == [index for index in range(6) for _ in range(count)]


def test_beside_a_test_val_is_for_training(photo_folder: Path, tmp_path: Path) -> None:
    for part, source in (("train", "train"), ("val", "val"), ("test", "val")):
        shutil.copytree(photo_folder / source, tmp_path / part)
    shutil.rmtree(tmp_path / "val" / "coffee")
    shutil.rmtree(tmp_path / "train" / "retina")
    train, test = folder.load(TaskSettings(path=str(tmp_path)))
    assert train.targets.bincount().tolist() == [12, 12, 8, 12, 4, 12]
    for split in (train, test):
        assert [CLASSES[target] for target in split.targets] == [name for _, name in _parts(split)]


def test_folders_of_classes_are_split_with_the_seed(photo_folder: Path) -> None:
    root = str(photo_folder / "train")
    train, test = folder.load(TaskSettings(path=root, seed=0))
    assert train.targets.bincount().tolist() == [6] * 6
    assert test.targets.bincount().tolist() == [2] * 6
    names = [{split.images.name_of(row) for row in range(len(split.images))} for split in (train, test)]
    assert not names[0] & names[1]
    for seed, same in ((0, True), (1, False)):
        _, again = folder.load(TaskSettings(path=root, seed=seed))
        assert ({again.images.name_of(row) for row in range(12)} == names[1]) == same
    train, _ = folder.load(TaskSettings(path=root, num_train=12))
    assert train.targets.bincount().tolist() == [2] * 6


def test_other_folders_are_an_error(photo_folder: Path, tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message):
            folder.load(TaskSettings(path=str(tmp_path)))

    refused("no folders of classes in it")
    shutil.copytree(photo_folder / "train", tmp_path / "train")
    refused("has train, but neither test nor val")
    shutil.copytree(photo_folder / "val" / "coffee", tmp_path / "val" / "tea")
    refused(r"val/tea: there are no training images of this class")
    (tmp_path / "val" / "tea").rename(tmp_path / "val" / "coffee")
    (tmp_path / "train" / "empty").mkdir()
    refused(r"train/empty: no images in it")
    (tmp_path / "train" / "empty").rmdir()
    shutil.copy(tmp_path / "val" / "coffee" / "0.jpg", tmp_path / "val" / "stray.jpg")
    refused(r"val/stray\.jpg: an image outside of the folders")
    with pytest.raises(UserError, match="nowhere: no such folder"):
        folder.load(TaskSettings(path=str(tmp_path / "nowhere")))


def test_a_class_of_one_image_cannot_be_split(photo_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(photo_folder / "train" / "coffee", tmp_path / "coffee")
    (tmp_path / "tea").mkdir()
    shutil.copy(tmp_path / "coffee" / "0.jpg", tmp_path / "tea")
    with pytest.raises(UserError, match="tea: one image, expected at least two"):
        folder.load(TaskSettings(path=str(tmp_path)))


def test_other_names_of_the_parts_are_known_and_said(photo_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "seg_train").mkdir()
    (tmp_path / "seg_train" / "seg_train").symlink_to(photo_folder / "train")
    (tmp_path / "seg_test").symlink_to(photo_folder / "val")
    (tmp_path / "seg_pred").symlink_to(photo_folder / "val" / "coffee")
    train, test = folder.load(TaskSettings(path=str(tmp_path)))
    assert (train.targets.bincount().tolist(), test.targets.bincount().tolist()) == ([8] * 6, [4] * 6)
    assert (train.origin, test.origin) == ("seg_train/seg_train", "seg_test (seg_pred passed over)")
    few, _ = folder.load(TaskSettings(path=str(tmp_path), num_train=12))
    assert few.origin == train.origin


def test_a_drawn_split_says_so(photo_folder: Path) -> None:
    train, test = folder.load(TaskSettings(path=str(photo_folder / "val"), seed=3))
    assert train.origin == "0.7 of the images of each class, by seed 3"
    assert test.origin == "0.3 of the images of each class, by seed 3"


def test_honest_classes_of_the_parts_names_stay_classes(photo_folder: Path, tmp_path: Path) -> None:
    for name, source in (("bus", "coffee"), ("car", "rocket"), ("train", "retina")):
        (tmp_path / name).symlink_to(photo_folder / "train" / source)
    train, _ = folder.load(TaskSettings(path=str(tmp_path)))
    assert train.targets.bincount().tolist() == [6, 6, 6]


def test_one_class_is_none(photo_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "archive").symlink_to(photo_folder)
    with pytest.raises(UserError, match=rf"one class, archive, .*; did you mean task\.path={tmp_path}/archive\?"):
        folder.load(TaskSettings(path=str(tmp_path)))
