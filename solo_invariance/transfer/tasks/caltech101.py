"""Caltech-101 (Fei-Fei, Fergus and Perona 2004)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torchvision import datasets

from solo_invariance.data.class_folders import ClassFolders, read_class_folders
from solo_invariance.data.images import ImageFiles
from solo_invariance.errors import UserError
from solo_invariance.protocols import protocol_named
from solo_invariance.transfer.tasks.requirements import check_options, open_torchvision, require_folder
from solo_invariance.transfer.tasks.splits import Rows, draw, select
from solo_invariance.transfer.tasks.task import Split, Task, TaskSettings

_IMAGES = "101_ObjectCategories"
_LAYOUT = f"{_IMAGES}/CLASS/*.jpg, or caltech101/{_IMAGES}/CLASS/*.jpg"


@dataclass(frozen=True)
class Caltech101(Task):
    """102 classes: the 101 of the name and the background, which torchvision's dataset leaves out.

    Of each class, some images are drawn to train on, and the rest are the test. The official code draws with
    replacement and with seed 0, and so does ``protocol=paper``, whatever ``settings.seed`` says: a class then has fewer
    different images to train on, and more to test.

    Args:
        train_per_class: Images of each class to train on.
    """

    train_per_class: int = 30
    kind = "classification"
    metric = "mean_per_class_accuracy"
    may_overlap = True

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits; ``settings.path`` is the folder that holds ``101_ObjectCategories``.

        Raises:
            UserError: The dataset is not there, or a class has too few images.
        """
        check_options(settings)
        folders = read_class_folders(_images_folder(settings))
        train_rows, test_rows = self._rows(folders, settings)
        images = Split(ImageFiles.of(folders.paths), folders.classes)
        train, test = select(images, train_rows), select(images, test_rows)
        return draw(train, "num_train", settings), draw(test, "num_test", settings)

    def _rows(self, folders: ClassFolders, settings: TaskSettings) -> tuple[Rows, Rows]:
        quirks = protocol_named(settings.protocol)
        generator, replace = np.random.RandomState(quirks.seed_of_draws(settings.seed)), quirks.replaces_training_images
        train = []
        for index, name in enumerate(folders.names):
            rows = torch.nonzero(folders.classes == index).flatten().numpy()
            if len(rows) <= self.train_per_class:
                raise UserError(
                    f"task.path={settings.path}: {len(rows)} images in {name}, expected more than "
                    f"{self.train_per_class}, to train on so many and to test on the rest"
                )
            drawn = generator.choice(rows, self.train_per_class, replace=replace)
            train.append(np.sort(drawn))
        drawn = np.concatenate(train)
        return drawn, np.setdiff1d(np.arange(len(folders.paths)), drawn)


def _images_folder(settings: TaskSettings) -> Path:
    root = require_folder(settings, _LAYOUT)
    folders = (root / _IMAGES, root / "caltech101" / _IMAGES)
    if not any(folder.is_dir() for folder in folders):
        if not settings.download:
            raise UserError(f"task.path={root}: expected {_LAYOUT}; task.download=true fetches it")
        open_torchvision(datasets.Caltech101, settings, _LAYOUT)
    return next(folder for folder in folders if folder.is_dir())


caltech101 = Caltech101()
