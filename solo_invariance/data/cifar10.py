"""CIFAR-10 (Krizhevsky 2009) in each of the forms that it is handed on in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

from solo_invariance.data.class_folders import read_class_folders
from solo_invariance.data.images import ImageFiles, TensorImages
from solo_invariance.data.listing import contents_of_folder
from solo_invariance.data.parts import parts_of
from solo_invariance.errors import UserError, reason_of
from solo_invariance.known_datasets import CIFAR10_FILES, is_cifar10_file

Part = Literal["train", "test"]

LAYOUT = (
    "cifar-10-batches-py or cifar-10-batches-bin with data_batch_1, ..., data_batch_5 and test_batch, or pictures, "
    "train/CLASS/*.jpg and test/CLASS/*.jpg (or .png, ...)"
)
"""What a folder of CIFAR-10 holds."""

_FILES: dict[Part, tuple[str, ...]] = {"train": CIFAR10_FILES[:-1], "test": CIFAR10_FILES[-1:]}
_FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
_SIDE = 32
_NUM_CLASSES = 10


@dataclass(frozen=True)
class LabelledImages:
    """Images with their classes.

    Args:
        images: N images.
        classes: (N,) int64, 0 to 9 in the order of the classes' names.
    """

    images: ImageFiles | TensorImages
    classes: Tensor


def read_cifar10(root: Path, part: Part) -> LabelledImages:
    """Return the training or the test images of CIFAR-10.

    Args:
        root: A folder with the archive's folder for Python (``cifar-10-batches-py``) or the binary one
            (``cifar-10-batches-bin``), or that folder itself; or with a folder of pictures for each class in ``train``
            and in ``test``.
        part: Which of them.

    Raises:
        UserError: None of these is there, or it is not whole.
    """
    for folder in (*(root / name for name in _FOLDERS), root):
        found = [file for file in binary_files(folder) if file.stem in _FILES[part]]
        if found:
            if len(found) < len(_FILES[part]):
                there = {file.stem for file in found}
                missing = next(name for name in _FILES[part] if name not in there)
                raise UserError(f"{folder}: {missing} is missing, CIFAR-10 is not whole")
            return read_files(found)
    parts = parts_of(root) if root.is_dir() else None
    if parts is None:
        raise UserError(f"{root}: no CIFAR-10 in it; expected {LAYOUT}")
    names = contents_of_folder(parts.train[0]).folders
    folders = [read_class_folders(one, names) for one in (parts.train if part == "train" else (parts.test,))]
    if len(names) != _NUM_CLASSES:
        raise UserError(f"{root}: {len(names)} classes, but CIFAR-10 has {_NUM_CLASSES}")
    paths = [path for folder in folders for path in folder.paths]
    return LabelledImages(ImageFiles.of(paths), torch.cat([folder.classes for folder in folders]))


def binary_files(path: Path) -> list[Path]:
    """Return the files of CIFAR-10's pixels that a path means: itself, or those of the folder; none where it is none.

    Both of its archives have them: ``data_batch_1`` and so on of the one for Python, ``data_batch_1.bin`` of the other.
    Of a folder with both, they are those of the first.
    """
    if path.is_file():
        return [path] if is_cifar10_file(path.name) else []
    archives = [[path / f"{name}{ending}" for name in CIFAR10_FILES] for ending in ("", ".bin")]
    there = [[file for file in files if file.is_file()] for files in archives]
    return there[0] or there[1]


def read_files(files: Sequence[Path]) -> LabelledImages:
    """Return the images in files of one of CIFAR-10's archives.

    Those for Python, which are pickles, are read where they are the published ones by their checksums alone.

    Args:
        files: At least one, all of the same folder.

    Raises:
        UserError: A file is none of CIFAR-10's.
    """
    read = [_records(file) for file in files] if files[0].suffix else [_published(files)]
    pixels, classes = (np.concatenate(arrays) for arrays in zip(*read, strict=True))
    images = torch.from_numpy(pixels).reshape(-1, 3, _SIDE, _SIDE)
    of_files = "" if len(files) == len(CIFAR10_FILES) else f" {', '.join(file.stem for file in files)}"
    return LabelledImages(TensorImages(images, name=f"CIFAR-10{of_files} image"), torch.from_numpy(classes).long())


def _records(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, uint8 (N, 3072), and classes: a byte for the class before 1024 of red, of green and of blue."""
    length = 1 + 3 * _SIDE**2
    try:
        content = np.fromfile(file, dtype=np.uint8)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    if not len(content) or len(content) % length:
        raise UserError(f"{file}: {len(content)} bytes, expected a multiple of {length}, as CIFAR-10's images have")
    records = content.reshape(-1, length)
    if records[:, 0].max() >= _NUM_CLASSES:
        raise UserError(f"{file}: a class is {records[:, 0].max()}, expected 0 to {_NUM_CLASSES - 1}, as in CIFAR-10")
    return records[:, 1:], records[:, 0]


def _published(files: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, uint8 (N, 3072), and classes, by torchvision, which looks at the checksums before it unpickles."""
    folder, wanted = files[0].absolute().parent, [file.name for file in files]
    entries = [entry for entry in (*datasets.CIFAR10.train_list, *datasets.CIFAR10.test_list) if entry[0] in wanted]
    chosen = type("Chosen", (datasets.CIFAR10,), {"base_folder": folder.name, "train_list": entries, "test_list": []})
    try:
        read = chosen(str(folder.parent))
    except (RuntimeError, OSError) as error:
        reason = reason_of(error).partition(" You can use")[0].rstrip(".")
        raise UserError(f"{folder}: not CIFAR-10 as it was published ({reason})") from error
    return read.data.transpose(0, 3, 1, 2).reshape(len(read.data), -1), np.array(read.targets)
