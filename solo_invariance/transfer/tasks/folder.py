"""Any folder of images with a folder for each class."""

from dataclasses import dataclass
from pathlib import Path

import torch

from solo_invariance.data.images import ImageFiles
from solo_invariance.errors import UserError
from solo_invariance.transfer.tasks.class_folders import ClassFolders, class_names, read_class_folders
from solo_invariance.transfer.tasks.requirements import check_options, require_folder
from solo_invariance.transfer.tasks.splits import draw, select, stratified_split
from solo_invariance.transfer.tasks.task import Split, Task, TaskSettings

_LAYOUT = "train/CLASS/*.jpg and test/CLASS/*.jpg (or val), or just CLASS/*.jpg (or .png, ...)"
_TEST_SHARE = 0.3
_PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Folder(Task):
    """Classes that are folders.

    A folder with the folders ``train`` and ``test`` has its split; what is in ``val`` is for training then, and is the
    test where there is no ``test``. Any other folder holds the classes themselves: 0.3 of the images of each class,
    drawn with ``settings.seed``, are the test.
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
        parts = [name for name in _PARTS if (root / name).is_dir()]
        train, test = _published_split(root, parts) if "train" in parts else _seeded_split(root, settings.seed)
        return draw(train, "num_train", settings), draw(test, "num_test", settings)


def _published_split(root: Path, parts: list[str]) -> tuple[Split, Split]:
    if len(parts) < 2:
        raise UserError(f"task.path={root}: has train, but neither test nor val; expected {_LAYOUT}")
    names = sorted({name for part in parts[:-1] for name in class_names(root / part)})
    train = [read_class_folders(root / part, names) for part in parts[:-1]]
    return _split(*train), _split(read_class_folders(root / parts[-1], names))


def _seeded_split(root: Path, seed: int) -> tuple[Split, Split]:
    folders = read_class_folders(root)
    for name, count in zip(folders.names, folders.classes.bincount().tolist(), strict=True):
        if count < 2:
            raise UserError(f"{root / name}: one image, expected at least two, to train and to test on")
    images = _split(folders)
    train_rows, test_rows = stratified_split(folders.classes, _TEST_SHARE, seed)
    return select(images, train_rows), select(images, test_rows)


def _split(*folders: ClassFolders) -> Split:
    paths = [path for folder in folders for path in folder.paths]
    return Split(ImageFiles.of(paths), torch.cat([folder.classes for folder in folders]))


folder = Folder()
