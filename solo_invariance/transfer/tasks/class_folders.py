"""Folders of images, one for each class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from solo_invariance.data.decoding import EXTENSIONS, list_images
from solo_invariance.errors import UserError


@dataclass(frozen=True)
class ClassFolders:
    """Image files with their classes.

    Args:
        paths: N files.
        classes: (N,) int64, indices into ``names``.
        names: Of the classes.
    """

    paths: list[Path]
    classes: Tensor
    names: tuple[str, ...]


def class_names(root: Path) -> tuple[str, ...]:
    """Return the names of the folders in a folder, sorted; hidden ones are passed over.

    Raises:
        UserError: There is no such folder, no folder in it, or an image that is in none of them.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; expected {root.name}/CLASS/*.jpg (or .png, ...)")
    visible = [entry for entry in sorted(root.iterdir()) if not entry.name.startswith(".")]
    strays = [entry for entry in visible if entry.suffix.lower() in EXTENSIONS and entry.is_file()]
    if strays:
        raise UserError(f"{strays[0]}: an image outside of the folders of classes; move it into one or elsewhere")
    names = tuple(entry.name for entry in visible if entry.is_dir())
    if not names:
        raise UserError(f"{root}: no folders of classes in it; expected {root.name}/CLASS/*.jpg (or .png, ...)")
    return names


def read_class_folders(root: Path, names: Sequence[str] | None = None) -> ClassFolders:
    """Return the images in the folders of a folder.

    Args:
        root: It.
        names: All classes, where this folder may lack some of them; by default those that it has.

    Raises:
        UserError: There is no such folder, no folder in it, or an image that is in none of them; a class has no
            images, or is none of ``names``.
    """
    present = class_names(root)
    names = present if names is None else tuple(names)
    unknown = sorted({*present} - {*names})
    if unknown:
        raise UserError(f"{root / unknown[0]}: there are no training images of this class")
    images = {name: list_images(root / name) for name in present}
    index_of = {name: index for index, name in enumerate(names)}
    classes = [index_of[name] for name, paths in images.items() for _ in paths]
    return ClassFolders([path for paths in images.values() for path in paths], torch.tensor(classes), tuple(names))
