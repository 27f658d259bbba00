import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from solo_invariance.config.checks import require_images
from solo_invariance.data.cifar10 import read_cifar10
from solo_invariance.data.images import ImageFiles, TensorImages, digest_of
from solo_invariance.data.sources import image_source
from solo_invariance.errors import UserError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FILES = [*(f"data_batch_{index}" for index in range(1, 6)), "test_batch"]


def _pixels(file: int) -> np.ndarray:
    """Ten images of one file, of the classes 9, 8, ..., 0: (10, 3, 32, 32)."""
    return np.random.default_rng(file).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)


def _write_binary(root: Path) -> Path:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for number, name in enumerate(FILES):
        images = _pixels(number)
        content = b"".join(bytes([9 - row]) + images[row].tobytes() for row in range(10))
        (folder / f"{name}.bin").write_bytes(content)
    return root


def _write_pictures(root: Path) -> Path:
    for part, numbers in (("train", range(5)), ("test", [5])):
        for label, name in enumerate(NAMES):
            (root / part / name).mkdir(parents=True)
            for number in numbers:
                pixels = _pixels(number)[9 - label].transpose(1, 2, 0)
                Image.fromarray(pixels).save(root / part / name / f"{number + 1:04}.png")
    return root


def _write_pickles(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As published, but for the checksums."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number, name in enumerate(FILES):
        content = {"data": _pixels(number).reshape(10, -1), "labels": [*range(9, -1, -1)]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES}))
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [[name, None] for name in FILES[:5]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", None]])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {**datasets.CIFAR10.meta, "md5": None})
    return root


@pytest.mark.parametrize("form", ["binary", "its own folder", "pickles", "pictures"])
def test_all_forms_have_the_same_images_and_classes(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if form == "pickles":
        root = _write_pickles(tmp_path, monkeypatch)
    else:
        root = _write_pictures(tmp_path) if form == "pictures" else _write_binary(tmp_path)
    root = root / "cifar-10-batches-bin" if form == "its own folder" else root
    for part, numbers in (("train", range(5)), ("test", [5])):
        found = read_cifar10(root, part)  # type: ignore[arg-type]
        expected = {(_pixels(number)[row].tobytes(), 9 - row) for number in numbers for row in range(10)}
        images = [found.images[index] for index in range(len(found.images))]
        pairs = zip(images, found.classes, strict=True)
        assert {(image.numpy().tobytes(), int(label)) for image, label in pairs} == expected
        assert len(images) == 10 * len(numbers)


def test_binary_files_are_images_wherever_a_folder_of_images_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = _write_binary(tmp_path) / "cifar-10-batches-bin"
    everything, test = image_source(binary), image_source(binary / "test_batch.bin", resize=16)
    assert (len(everything), len(test)) == (60, 10)
    assert torch.equal(everything[50], torch.from_numpy(_pixels(5)[0]))  # type: ignore[arg-type]
    assert test[0].shape == (3, 16, 16)  # type: ignore[union-attr]
    train = image_source(binary / "data_batch_2.bin")
    assert (train.name_of(3), test.name_of(3)) == ("CIFAR-10 data_batch_2 image 3", "CIFAR-10 test_batch image 3")
    pickles = _write_pickles(tmp_path / "py", monkeypatch) / "cifar-10-batches-py"
    assert [digest_of(image_source(pickles / "data_batch_2"), row) for row in range(10)] == [
        digest_of(train, row) for row in range(10)
    ]
    require_images(binary / "test_batch.bin")
    (tmp_path / "other.bin").write_bytes(b"0" * 3073)
    for refuse in (require_images, image_source):
        with pytest.raises(UserError, match=r"other\.bin: is a file, expected a folder of images"):
            refuse(tmp_path / "other.bin")
    (tmp_path / "photos").mkdir()
    Image.fromarray(_pixels(0)[0].transpose(1, 2, 0)).save(tmp_path / "photos" / "1.png")
    assert isinstance(image_source(tmp_path / "photos"), ImageFiles)
    assert isinstance(everything, TensorImages)


def test_what_is_no_cifar10_is_said(tmp_path: Path) -> None:
    root = _write_binary(tmp_path)
    folder = root / "cifar-10-batches-bin"
    whole = (folder / "data_batch_3.bin").read_bytes()
    for content, said in (
        (whole[:-1], r"data_batch_3\.bin: 30729 bytes, expected a multiple of 3073"),
        (b"", r"data_batch_3\.bin: 0 bytes"),
        (b"\x0a" + whole[1:], r"data_batch_3\.bin: a class is 10, expected 0 to 9"),
    ):
        (folder / "data_batch_3.bin").write_bytes(content)
        with pytest.raises(UserError, match=said):
            read_cifar10(root, "train")
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(UserError, match=r"cifar-10-batches-bin: data_batch_3 is missing, CIFAR-10 is not whole"):
        read_cifar10(root, "train")
    with pytest.raises(UserError, match=r"nowhere: no CIFAR-10 in it; expected cifar-10-batches-py or .*train/CLASS"):
        read_cifar10(tmp_path / "nowhere", "train")
    for part in ("train", "test"):
        for name in NAMES[:3]:
            (tmp_path / "three" / part / name).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / "three" / part / name / "1.png")
    with pytest.raises(UserError, match=r"three: 3 classes, but CIFAR-10 has 10"):
        read_cifar10(tmp_path / "three", "train")


def test_pickles_that_were_not_published_are_not_opened(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    opened = tmp_path / "opened"
    for name in FILES:  # would make a folder where they are unpickled
        (folder / name).write_bytes(b"cos\nmkdir\n(S'" + str(opened).encode() + b"'\ntR.")
    for path in (folder, folder / "test_batch"):
        with pytest.raises(UserError, match=r"cifar-10-batches-py: not CIFAR-10 as it was published"):
            image_source(path)
    assert not opened.exists()


def test_the_archive_is_read_from_within_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(_write_pickles(tmp_path, monkeypatch) / "cifar-10-batches-py")
    assert [len(image_source(Path(name))) for name in (".", "data_batch_1")] == [60, 10]


def test_of_two_archives_in_one_folder_one_is_read_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = _write_binary(tmp_path / "both") / "cifar-10-batches-bin"
    pickles = _write_pickles(tmp_path, monkeypatch) / "cifar-10-batches-py"
    for name in FILES[:2]:
        (binary / name).write_bytes((pickles / name).read_bytes())
    with pytest.raises(UserError, match="data_batch_3 is missing, CIFAR-10 is not whole"):
        read_cifar10(binary, "train")
