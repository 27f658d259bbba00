from pathlib import Path

import pytest
import torch
from torchvision import datasets

from solo_invariance.transfer.tasks import TaskSettings
from solo_invariance.transfer.tasks.celeba import attributes, landmarks

SIZE = (178, 218)
PARTITION = [0, 0, 1, 2, 0, 2, 2, 1]


def _marked(image: int) -> tuple[int, int]:
    return 40 + 12 * image, 60 + 13 * image


def _landmarks(image: int) -> list[int]:
    """Of which the one of the image's number, modulo five, has the mark."""
    values = [10, 20, 30, 40, 50, 60, 70, 80, 90, -5]
    values[2 * (image % 5) : 2 * (image % 5) + 2] = _marked(image)
    return values


def _attributes(image: int) -> list[int]:
    return [1 if (image + label) % 3 == 0 else -1 for label in range(40)]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark) -> Path:  # type: ignore[no-untyped-def]
    """The files of CelebA, of eight images; the sums of the real ones are not checked."""
    folder = tmp_path / "celeba"
    names = [f"{index + 1:06}.jpg" for index in range(len(PARTITION))]
    for index, name in enumerate(names):
        mark(folder / "img_align_celeba" / name, SIZE, _marked(index))

    def write(file: str, header: list[str], rows: list[list[int]]) -> None:
        lines = [" ".join([name, *map(str, row)]) for name, row in zip(names, rows, strict=True)]
        (folder / file).write_text("\n".join([*header, *lines]) + "\n")

    count = len(names)
    write("list_eval_partition.txt", [], [[part] for part in PARTITION])
    write("identity_CelebA.txt", [], [[1]] * count)
    write("list_bbox_celeba.txt", [str(count), "image_id x_1 y_1 width height"], [[0, 0, 9, 9]] * count)
    points = [_landmarks(index) for index in range(count)]
    write("list_landmarks_align_celeba.txt", [str(count), " ".join([*"abcdefghij"])], points)
    labels = [_attributes(index) for index in range(count)]
    write("list_attr_celeba.txt", [str(count), " ".join(f"label_{i}" for i in range(40))], labels)
    unchecked = [(key, None, name) for key, _, name in datasets.CelebA.file_list]
    monkeypatch.setattr(datasets.CelebA, "file_list", unchecked)
    return tmp_path


@pytest.mark.parametrize("crop_size", [112, 224])
def test_landmarks_are_where_their_marks_are(root: Path, crop_size: int, find) -> None:  # type: ignore[no-untyped-def]
    train, test = landmarks.load(TaskSettings(path=str(root), crop_size=crop_size))
    for split, images in ((train, [0, 1, 4, 2, 7]), (test, [3, 5, 6])):
        assert split.targets.shape == (len(images), 10)
        assert split.targets.dtype == torch.float32
        for row, image in enumerate(images):
            assert Path(split.images.name_of(row)).name == f"{image + 1:06}.jpg"
            target = split.targets[row].reshape(5, 2)[image % 5].tolist()
            assert find(split, row, crop_size) == pytest.approx(target, abs=0.1)


def test_the_paper_cuts_fractions_off(root: Path) -> None:
    clean, _ = landmarks.load(TaskSettings(path=str(root)))
    paper, _ = landmarks.load(TaskSettings(path=str(root), protocol="paper"))
    assert torch.equal(paper.targets, clean.targets.trunc())
    assert not torch.equal(paper.targets, clean.targets)


def test_attributes_are_labels(root: Path) -> None:
    train, test = attributes.load(TaskSettings(path=str(root), num_test=2))
    assert train.targets.dtype == torch.bool
    assert train.targets.tolist() == [[value > 0 for value in _attributes(image)] for image in (0, 1, 4, 2, 7)]
    assert test.targets.shape == (2, 40)
    chosen = [int(Path(test.images.name_of(row)).stem) - 1 for row in range(2)]
    assert {*chosen} < {3, 5, 6}
    assert test.targets.tolist() == [[value > 0 for value in _attributes(image)] for image in chosen]
