"""Images and targets of one's own, as a task."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_invariance.data.images import ImageFiles, ImageSource
from solo_invariance.data.sources import Images, image_source
from solo_invariance.errors import UserError, reason_of
from solo_invariance.transfer.kinds import KindName, kind_named
from solo_invariance.transfer.tasks import Split, Task, TaskSettings

OwnImages = Images | np.ndarray | list[Path]
"""A folder, files, a tensor or array (N, 3, H, W), a dataset or a source; see ``images_from``."""

Targets = Tensor | np.ndarray | Sequence[Any]
"""What targets may be given as; see ``targets_from``."""


@dataclass(frozen=True)
class OwnTask(Task):
    """A task whose images and targets are at hand.

    Args:
        train: Images to choose and to fit by.
        test: Images to score on; none of them may be among the others.
        kind: What the targets are.
        metric: The usual score.
        label: What results call the task.
    """

    train: Split
    test: Split
    kind: KindName
    metric: str
    label: str = "own"

    @classmethod
    def of(
        cls,
        train_images: OwnImages,
        train_targets: Targets,
        test_images: OwnImages,
        test_targets: Targets,
        label: str = "own",
    ) -> "OwnTask":
        """Return images with their targets as a task; what kind of task, the targets' type says.

        Args:
            train_images: N images, in one of the forms that ``images_from`` takes.
            train_targets: Theirs, in one of the forms that ``targets_from`` takes.
            test_images: M other images.
            test_targets: Theirs, of the same kind.
            label: What results call the task.

        Raises:
            UserError: Images or targets have another form, or do not fit together.

        Example:
            >>> images = torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8)
            >>> OwnTask.of(images[:4], [0, 1, 0, 1], images[4:], [0, 1]).kind
            'classification'
            >>> OwnTask.of(images[:4], torch.rand(4), images[4:], torch.rand(2)).metric
            'r2'
        """
        train, test = _split(train_images, train_targets, "training"), _split(test_images, test_targets, "test")
        kind = kind_of(train.targets)
        forms = [_form_of_targets(split.targets) for split in (train, test)]
        if forms[0] != forms[1]:
            raise UserError(f"training targets are for {forms[0]}, but test targets for {forms[1]}")
        return cls(train, test, kind, kind_named(kind).usual_metric, label)

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits as they were given."""
        return self.train, self.test


def images_from(given: OwnImages) -> ImageSource:
    """Return images of one's own as a source.

    Args:
        given: A folder, a tensor, a dataset or a source, see ``image_source``; or an array like that tensor, or a list
            of files.

    Raises:
        UserError: They have another form, or cannot be found.
    """
    if isinstance(given, np.ndarray):
        if given.dtype.kind not in "buif":
            raise UserError(f"images: an array of {given.dtype}, expected numbers (N, 3, H, W), or a list of files")
        return image_source(torch.from_numpy(np.ascontiguousarray(given)))
    if isinstance(given, list | tuple):
        return _files(given)
    return image_source(given)


def _files(given: Sequence[Any]) -> ImageFiles:
    for one in given:
        if not isinstance(one, str | Path):
            raise UserError(f"images: a list with a {type(one).__name__}, expected files; or an array (N, 3, H, W)")
        if not os.path.isfile(one):
            raise UserError(f"{one}: no such image")
    return ImageFiles.of([Path(one) for one in given])


def targets_from(given: Targets, what: str = "own") -> Tensor:
    """Return targets of one's own as tasks have them.

    Args:
        given: N of them. Whole numbers (N,) are classes, and so are truth values; truth values (N, C), or whole numbers
            that are all 0 or 1, are labels; floating point (N,) or (N, T) is numbers to predict.
        what: What messages call the targets.

    Returns:
        (N,) int64, (N, C) bool or (N, T) float64.

    Raises:
        UserError: They have another form, or a number is not finite.
    """
    try:
        # By way of an array, since numbers of Python would be rounded to 32 bits.
        targets = given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UserError(f"{what} targets: not numbers ({reason_of(error)})") from error
    if targets.ndim not in (1, 2) or targets.is_complex():
        raise UserError(f"{what} targets: {targets.dtype} of shape {tuple(targets.shape)}, expected (N,) or (N, T)")
    if targets.is_floating_point():
        finite = targets.reshape(len(targets), -1).isfinite().all(1)
        if not finite.all():
            raise UserError(f"{what} targets: row {int((~finite).int().argmax())} is not finite (NaN or inf)")
        return targets.reshape(len(targets), -1).double()
    if targets.ndim == 1:
        return targets.long()
    if not ((targets == 0) | (targets == 1)).all():
        raise UserError(f"{what} targets: whole numbers {tuple(targets.shape)}, expected 0 or 1 for a label, or floats")
    return targets.bool()


def kind_of(targets: Tensor) -> KindName:
    """Return the kind of targets in the form that tasks have them in."""
    if targets.is_floating_point():
        return "regression"
    return "multilabel" if targets.dtype == torch.bool else "classification"


def _split(images: OwnImages, targets: Targets, what: str) -> Split:
    split = Split(images_from(images), targets_from(targets, what))
    if len(split.images) != len(split.targets):
        raise UserError(f"{len(split.images)} {what} images, but {len(split.targets)} {what} targets")
    if not len(split.targets):
        raise UserError(f"no {what} images")
    return split


def _form_of_targets(targets: Tensor) -> str:
    columns = f" of {targets.shape[1]} columns" if targets.ndim == 2 else ""
    return f"{kind_of(targets)}{columns}"
