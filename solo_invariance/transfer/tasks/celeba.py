"""CelebA (Liu et al. 2015): aligned faces with five landmarks and forty attributes."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

from solo_invariance.data.images import ImageFiles
from solo_invariance.protocols import protocol_named
from solo_invariance.transfer.tasks.landmarks import whole_images
from solo_invariance.transfer.tasks.requirements import check_options, open_torchvision
from solo_invariance.transfer.tasks.splits import Count, draw_rows
from solo_invariance.transfer.tasks.task import Split, Task, TaskSettings

_LAYOUT = (
    "celeba/{img_align_celeba/*.jpg, list_eval_partition.txt, list_landmarks_align_celeba.txt, list_attr_celeba.txt, "
    "list_bbox_celeba.txt, identity_CelebA.txt}"
)


class _OfCelebA(Task):
    """The official partition; what is for validation is for training here."""

    may_overlap = True

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits; ``settings.path`` is the folder that holds ``celeba``.

        Raises:
            UserError: The dataset is not there or is corrupted.
        """
        check_options(settings)
        train = self._split(settings, "num_train", ("train", "valid"))
        return train, self._split(settings, "num_test", ("test",))

    @abstractmethod
    def _split(self, settings: TaskSettings, count: Count, parts: tuple[str, ...]) -> Split:
        """Return some parts of the dataset."""


@dataclass(frozen=True)
class CelebA(_OfCelebA):
    """Eyes, nose and corners of the mouth, in the official partition; what is for validation is for training here.

    The landmarks count from 0. The official code cuts their fractions off when it has moved them into the network's
    square, and so does ``protocol=paper``.
    """

    kind = "regression"
    metric = "r2"

    def _split(self, settings: TaskSettings, count: Count, parts: tuple[str, ...]) -> Split:
        paths, landmarks = _drawn(settings, count, parts, "landmarks_align")
        split = whole_images(paths, landmarks.reshape(len(paths), -1, 2), settings.crop_size)
        truncates = protocol_named(settings.protocol).truncates_landmarks
        return Split(split.images, split.targets.trunc()) if truncates else split


@dataclass(frozen=True)
class CelebAAttributes(_OfCelebA):
    """Forty labels, in the official partition; what is for validation is for training here."""

    kind = "multilabel"
    metric = "mean_average_precision"

    def _split(self, settings: TaskSettings, count: Count, parts: tuple[str, ...]) -> Split:
        paths, attributes = _drawn(settings, count, parts, "attr")
        return Split(ImageFiles.of(paths), attributes.bool())


def _drawn(settings: TaskSettings, count: Count, parts: tuple[str, ...], targets: str) -> tuple[list[Path], Tensor]:
    opened = [open_torchvision(partial(datasets.CelebA, split=part), settings, _LAYOUT) for part in parts]
    names = [name for dataset in opened for name in dataset.filename]
    values = torch.cat([getattr(dataset, targets) for dataset in opened])
    rows = draw_rows(np.arange(len(names)), count, settings)
    folder = Path(opened[0].root) / opened[0].base_folder / "img_align_celeba"
    return [folder / names[row] for row in rows], values[torch.from_numpy(rows)]


landmarks = CelebA()
attributes = CelebAAttributes()
