from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from solo_invariance.errors import UserError
from solo_invariance.transfer.tasks import Split, TaskSettings
from solo_invariance.transfer.tasks.caltech101 import Caltech101, caltech101

SIZES = {"BACKGROUND_Google": 8, "Faces": 12, "accordion": 7}


@pytest.fixture
def root(tmp_path: Path, grey: Callable[[Path, int], None]) -> Path:
    for name, count in SIZES.items():
        for index in range(count):
            grey(tmp_path / "101_ObjectCategories" / name / f"image_{index + 1:04}.jpg", 20 * index)
    return tmp_path


def _names(split: Split) -> list[str]:
    return ["/".join(Path(split.images.name_of(row)).parts[-2:]) for row in range(len(split.images))]


def test_so_many_of_each_class_are_trained_on_and_the_rest_is_the_test(root: Path) -> None:
    train, test = Caltech101(train_per_class=5).load(TaskSettings(path=str(root)))
    assert train.targets.bincount().tolist() == [5, 5, 5]
    assert test.targets.bincount().tolist() == [3, 7, 2]
    assert sorted({*_names(train), *_names(test)}) == sorted(
        f"{name}/image_{index + 1:04}.jpg" for name, count in SIZES.items() for index in range(count)
    )
    for split in (train, test):
        assert [[*SIZES][target] for target in split.targets] == [name.split("/")[0] for name in _names(split)]


def test_the_paper_draws_with_replacement_as_the_official_code(root: Path) -> None:
    settings = TaskSettings(path=str(root), seed=5, protocol="paper")
    train, test = Caltech101(train_per_class=5).load(settings)
    generator, start, expected = np.random.RandomState(0), 0, []
    for name, count in SIZES.items():
        drawn = np.sort(generator.choice([*range(start, start + count)], 5)) - start
        expected += [f"{name}/image_{index + 1:04}.jpg" for index in drawn]
        start += count
    assert _names(train) == expected
    assert len({*expected}) < len(expected)
    assert not {*_names(train)} & {*_names(test)}
    assert len(_names(test)) == start - len({*expected})


def test_torchvisions_folder_is_found_too(root: Path, tmp_path: Path) -> None:
    inner = tmp_path / "caltech101"
    inner.mkdir()
    (root / "101_ObjectCategories").rename(inner / "101_ObjectCategories")
    train, _ = Caltech101(train_per_class=5).load(TaskSettings(path=str(tmp_path), num_train=6))
    assert train.targets.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_class_of_too_few_images_is_named(root: Path) -> None:
    with pytest.raises(UserError, match="8 images in BACKGROUND_Google, expected more than 30"):
        caltech101.load(TaskSettings(path=str(root)))
