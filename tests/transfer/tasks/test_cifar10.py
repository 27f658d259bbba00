import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from solo_invariance.errors import UserError
from solo_invariance.transfer.tasks import TaskSettings
from solo_invariance.transfer.tasks.cifar10 import cifar10


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of CIFAR-10, of twenty images each; the sums of the real ones are not checked."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    generator = np.random.default_rng(0)
    files = [*(f"data_batch_{index}" for index in range(1, 6)), "test_batch"]
    for name in files:
        pixels = generator.integers(0, 256, (20, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [*range(10)] * 2}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [*"abcdefghij"]}))
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [[name, None] for name in files[:5]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", None]])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {**datasets.CIFAR10.meta, "md5": None})
    return tmp_path


def test_images_and_classes_are_those_of_the_files(root: Path) -> None:
    train, test = cifar10.load(TaskSettings(path=str(root)))
    stored = pickle.loads((root / "cifar-10-batches-py" / "data_batch_2").read_bytes())
    assert (len(train.images), len(test.images)) == (100, 20)
    for index in (0, 13):
        assert torch.equal(train.images[20 + index], torch.from_numpy(stored["data"][index]).reshape(3, 32, 32))
    assert torch.equal(train.targets, torch.arange(10).repeat(10))
    assert test.images.name_of(3) == "CIFAR-10 test_batch image 3"


def test_a_draw_has_as_many_of_each_class(root: Path) -> None:
    train, test = cifar10.load(TaskSettings(path=str(root), num_train=50, num_test=10))
    assert train.targets.bincount().tolist() == [5] * 10
    assert test.targets.bincount().tolist() == [1] * 10
    with pytest.raises(UserError, match=r"task\.num_train=101: expected 1 to 100"):
        cifar10.load(TaskSettings(path=str(root), num_train=101))
