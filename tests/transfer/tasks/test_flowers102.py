from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from torchvision import datasets

from solo_invariance.errors import UserError
from solo_invariance.transfer.tasks import TaskSettings
from solo_invariance.transfer.tasks.flowers102 import flowers102

LABELS = [3, 1, 2, 3, 1, 2, 2, 3]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grey: Callable[[Path, int], None]) -> Path:
    """The files of Flowers-102, of eight images; the sums of the real ones are not checked."""
    folder = tmp_path / "flowers-102"
    for image in range(1, 9):
        grey(folder / "jpg" / f"image_{image:05}.jpg", 10 * image)
    savemat(folder / "imagelabels.mat", {"labels": np.array([LABELS])})
    savemat(folder / "setid.mat", {"trnid": [[5, 1]], "valid": [[7, 2]], "tstid": [[3, 4, 6, 8]]})
    unchecked = {key: (name, None) for key, (name, _) in datasets.Flowers102._file_dict.items()}
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", unchecked)
    return tmp_path


def test_training_and_validation_are_for_training(root: Path) -> None:
    train, test = flowers102.load(TaskSettings(path=str(root)))
    for split, images in ((train, [5, 1, 7, 2]), (test, [3, 4, 6, 8])):
        assert [Path(split.images.name_of(row)).name for row in range(4)] == [f"image_{i:05}.jpg" for i in images]
        assert [float(split.images[row].float().mean()) for row in range(4)] == [10 * i for i in images]  # type: ignore[union-attr]
        assert split.targets.tolist() == [LABELS[image - 1] - 1 for image in images]


def test_files_that_are_not_the_real_ones_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**datasets.Flowers102._file_dict, "setid": ("setid.mat", "a5357ecc9cb78c4bef273ce3793fc85c")}
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)
    with pytest.raises(UserError, match=r"not found or corrupted; expected flowers-102/"):
        flowers102.load(TaskSettings(path=str(root)))
