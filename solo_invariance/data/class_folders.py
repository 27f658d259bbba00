"""Folders of images, one for each class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from solo_invariance.data.listing import contents_of_folder, list_images, require_directory
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
    """Return the names of the folders in a folder, sorted; hidden ones are passed over, links to folders are not.

    Raises:
        UserError: There is no such folder, no folder in it, or an image that is in none of them.
    """
    require_directory(root, f"classes; expected {root.name}/CLASS/*.jpg (or .png, ...)")
    found = contents_of_folder(root)
    if found.images:
        raise UserError(
            f"{root / found.images[0]}: an image outside of the folders of classes; move it into one or elsewhere"
        )
    if not found.folders:
        raise UserError(f"{root}: no folders of classes in it; expected {root.name}/CLASS/*.jpg (or .png, ...)")
    return tuple(found.folders)


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
