"""Oxford Flowers-102 (Nilsback and Zisserman 2008)."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torchvision import datasets

from solo_invariance.data.images import ImageFiles
from solo_invariance.transfer.tasks.requirements import check_options, open_torchvision
from solo_invariance.transfer.tasks.splits import draw
from solo_invariance.transfer.tasks.task import Split, Task, TaskSettings

_LAYOUT = "flowers-102/{jpg/image_*.jpg, imagelabels.mat, setid.mat}"


@dataclass(frozen=True)
class Flowers102(Task):
    """102 classes in the official split: ``trnid`` and ``valid`` are for training, ``tstid`` is the test."""

    kind = "classification"
    metric = "mean_per_class_accuracy"
    paper_metric = "accuracy"
    may_overlap = True

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits; ``settings.path`` is the folder that holds ``flowers-102``.

        Raises:
            UserError: The dataset is not there or is corrupted.
        """
        check_options(settings)
        train, test = self._split(settings, "train", "val"), self._split(settings, "test")
        return draw(train, "num_train", settings), draw(test, "num_test", settings)

    def _split(self, settings: TaskSettings, *parts: str) -> Split:
        opened = [open_torchvision(partial(datasets.Flowers102, split=part), settings, _LAYOUT) for part in parts]
        paths: list[Path] = [path for dataset in opened for path in dataset._image_files]
        return Split(ImageFiles.of(paths), torch.tensor([label for dataset in opened for label in dataset._labels]))


flowers102 = Flowers102()
