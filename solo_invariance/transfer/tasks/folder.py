"""Any folder of images with a folder for each class."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from solo_invariance.data.class_folders import ClassFolders, class_names, read_class_folders
from solo_invariance.data.images import ImageFiles
from solo_invariance.data.listing import contents_of_folder, require_directory
from solo_invariance.data.parts import Parts, parts_of
from solo_invariance.errors import UserError
from solo_invariance.transfer.tasks.requirements import check_options, require_folder
from solo_invariance.transfer.tasks.splits import draw, select, stratified_split
from solo_invariance.transfer.tasks.task import Split, Task, TaskSettings

_LAYOUT = "train/CLASS/*.jpg and test/CLASS/*.jpg (or val), or just CLASS/*.jpg (or .png, ...)"
_TEST_SHARE = 0.3


@dataclass(frozen=True)
class Folder(Task):
    """Classes that are folders.

    A folder with the parts ``train`` and ``test`` has its split; what is in ``val`` is for training then, and is the
    test where there is no ``test``. Parts are known by the names that people give them: in any capitals, ``training``,
    ``testing``, ``valid``, ``validation``, ``dev``, with the same word before or after each (``seg_train``), and in a
    folder of their own name. Any other folder holds the classes themselves: 0.3 of the images of each class, drawn with
    ``settings.seed``, are the test. The splits say what was found.
    """

    kind = "classification"
    metric = "accuracy"

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits.

        Raises:
            UserError: There is no such folder, it is laid out in another way, a class has no images, or none to train
                on.
        """
        check_options(settings)
        root = require_folder(settings, _LAYOUT)
        require_directory(root, f"classes; expected {_LAYOUT}")
        parts = parts_of(root)
        train, test = _seeded_split(root, settings.seed) if parts is None else _published_split(root, parts)
        return draw(train, "num_train", settings), draw(test, "num_test", settings)


def _published_split(root: Path, parts: Parts) -> tuple[Split, Split]:
    names = sorted({name for folder in parts.train for name in class_names(folder)})
    train = [read_class_folders(folder, names) for folder in parts.train]
    _require_classes(root, names)
    found = ", ".join(folder.relative_to(root).as_posix() for folder in parts.train)
    rest = f" ({', '.join(parts.passed_over)} passed over)" if parts.passed_over else ""
    test = read_class_folders(parts.test, names)
    return _split(*train, origin=found), _split(test, origin=parts.test.relative_to(root).as_posix() + rest)


def _seeded_split(root: Path, seed: int) -> tuple[Split, Split]:
    folders = read_class_folders(root)
    _require_classes(root, folders.names)
    for name, count in zip(folders.names, folders.classes.bincount().tolist(), strict=True):
        if count < 2:
            raise UserError(f"{root / name}: one image, expected at least two, to train and to test on")
    images = _split(folders)
    train_rows, test_rows = stratified_split(folders.classes, _TEST_SHARE, seed)
    train, test = select(images, train_rows), select(images, test_rows)
    shares = [f"{share:g} of the images of each class, by seed {seed}" for share in (1 - _TEST_SHARE, _TEST_SHARE)]
    return replace(train, origin=shares[0]), replace(test, origin=shares[1])


def _require_classes(root: Path, names: Sequence[str]) -> None:
    if len(names) == 1:
        inside = contents_of_folder(root / names[0]).folders if (root / names[0]).is_dir() else []
        hint = f"; did you mean task.path={root / names[0]}?" if inside else ""
        raise UserError(f"{root}: one class, {names[0]}, expected at least two folders of images{hint}")


def _split(*folders: ClassFolders, origin: str = "") -> Split:
    paths = [path for folder in folders for path in folder.paths]
    return Split(ImageFiles.of(paths), torch.cat([folder.classes for folder in folders]), origin)


folder = Folder()
