"""The images and targets of the task that a configuration names, and what must not be among its test images."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch

from solo_invariance.config.task import TaskConfig
from solo_invariance.data.framing import SquareCrops
from solo_invariance.data.images import ImageSource, KnownImages
from solo_invariance.errors import UserError
from solo_invariance.features import digests_of
from solo_invariance.plugins import load_plugin
from solo_invariance.protocols import ProtocolName
from solo_invariance.results.files import fingerprint_of
from solo_invariance.results.targets import TargetsRecord
from solo_invariance.transfer.tasks import Split, Task, TaskSettings
from solo_invariance.transfer.tasks.splits import draw

_LISTED = 3


@dataclass(frozen=True)
class TaskData:
    """A task with its splits.

    Args:
        name: What configurations call it.
        label: What results call it.
        task: What the targets are and how they are scored.
        train: Images to choose and to fit by.
        test: Images to score on; seen by nothing else.
        num_workers: Threads that read files.
    """

    name: str
    label: str
    task: Task
    train: Split
    test: Split
    num_workers: int = 0

    @cached_property
    def train_digests(self) -> list[str]:
        """What the training images are known by, whatever they are called."""
        return digests_of(_uncut(self.train.images), self.num_workers)

    @cached_property
    def test_digests(self) -> list[str]:
        """What the test images are known by."""
        return digests_of(_uncut(self.test.images), self.num_workers)

    @property
    def test_fingerprint(self) -> str:
        """What the test images are known by, all of them."""
        return fingerprint_of({"digests": self.test_digests})

    def test_images_among(self, digests: Iterable[str]) -> list[str]:
        """Return the names of the test images that are among others."""
        others = set(digests)
        return [self.test.images.name_of(i) for i, digest in enumerate(self.test_digests) if digest in others]

    def require_unseen(self, digests: Iterable[str], what: str) -> None:
        """Raise UserError where a test image was seen before.

        Args:
            digests: Of the images that were.
            what: What they were used for.
        """
        seen = self.test_images_among(digests)
        if seen:
            listed = ", ".join(seen[:_LISTED]) + (", ..." if len(seen) > _LISTED else "")
            raise UserError(
                f"task.name={self.name}: {len(seen)} of {len(self.test_digests)} test images are among those that "
                f"{what} ({listed}): their scores would mean nothing"
            )

    def known_images(self, split: Literal["train", "test"]) -> ImageSource:
        """Return the images of a split, which are not hashed again."""
        images, digests = (
            (self.train.images, self.train_digests) if split == "train" else (self.test.images, self.test_digests)
        )
        if isinstance(images, SquareCrops):
            return SquareCrops(KnownImages(images.source, digests), images.squares)
        return KnownImages(images, digests)

    @property
    def targets(self) -> TargetsRecord:
        """What is to be predicted."""
        train, task = self.train.targets, self.task
        count = len(torch.cat([train, self.test.targets]).unique()) if train.ndim == 1 else train.shape[1]
        columns, remarks = tuple(task.columns), tuple(task.remarks)
        return TargetsRecord(kind=task.kind, count=count, columns=columns, remarks=remarks)

    def require_unseen_by_fusion(self, fitted_on: Iterable[str]) -> None:
        """Raise UserError where a fusion was fitted to, or chosen by, a test image.

        What a published dataset has in both of its splits does not count: probes see it, too, and it is counted.
        """
        known = set(self.train_digests) if self.task.may_overlap else set()
        self.require_unseen(set(fitted_on) - known, "the fusion was fitted to, or chosen by,")

    @cached_property
    def overlap(self) -> int:
        """How many test images are among the training images."""
        return len(self.test_images_among(self.train_digests))

    def require_apart(self) -> None:
        """Raise UserError where an image is in both splits, unless the task is a published one that may have such."""
        if not self.task.may_overlap:
            self.require_unseen(self.train_digests, "the probe is trained on")


def load_task(
    config: TaskConfig, crop_size: int, protocol: ProtocolName, num_workers: int = 0, at_most: int | None = None
) -> TaskData:
    """Return the task that a configuration names, with its images.

    Args:
        config: Which task, and where it finds its images.
        crop_size: Side of what the network sees of an image, in pixels.
        protocol: Whether the task's splits have the paper's quirks.
        num_workers: Threads that read files.
        at_most: Of each split no more images than so many, drawn with the task's seed; None for no such limit.

    Raises:
        UserError: There is no such task, or its images or targets are not where they are expected.
    """
    task, settings = resolved_task(config, crop_size, protocol, at_most)
    return loaded_task(task, settings, config, num_workers)


def loaded_task(task: Task, settings: TaskSettings, config: TaskConfig, num_workers: int = 0) -> TaskData:
    """Return a task with its images, as its settings ask for them.

    Args:
        task: As ``settings`` make it.
        settings: How many images; the limit of a split holds for tasks that know of none, too.
        config: What the task is called.
        num_workers: Threads that read files.

    Raises:
        UserError: Images or targets are not where they are expected.
    """
    train, test = task.load(settings)
    limit = replace(settings, num_train=None, num_test=None)
    train, test = draw(train, "num_train", limit), draw(test, "num_test", limit)
    return TaskData(str(config.name), str(config.label or config.name), task, train, test, num_workers)


def _uncut(images: ImageSource) -> ImageSource:
    """Return the images that squares are cut from: an image is the same image whatever part of it is looked at."""
    return images.source if isinstance(images, SquareCrops) else images


def resolved_task(
    config: TaskConfig, crop_size: int, protocol: ProtocolName, at_most: int | None = None
) -> tuple[Task, TaskSettings]:
    """Return the task that a configuration names, as its settings make it, and these settings.

    Args:
        config: Which task, and where it finds its images.
        crop_size: Side of what the network sees of an image, in pixels.
        protocol: Whether the task's splits have the paper's quirks.
        at_most: Of each split no more images than so many; None for no such limit.

    Raises:
        UserError: There is no such task, or its settings do not say what it is.
    """
    settings = task_settings(config, crop_size, protocol, at_most)
    return task_named(config.name).resolve(settings), settings


def task_settings(
    config: TaskConfig, crop_size: int, protocol: ProtocolName, at_most: int | None = None
) -> TaskSettings:
    """Return a configuration of a task as the settings that the task reads; arguments as ``resolved_task`` has them."""
    options: dict[str, Any] = {key: value for key, value in asdict(config).items() if key not in ("name", "label")}
    return TaskSettings(crop_size=crop_size, protocol=protocol, at_most=at_most, **options)


def task_named(name: str | None) -> Task:
    """Return a task by its name.

    Raises:
        UserError: There is none of that name, or what has it is no task.
    """
    if name is None:
        raise UserError("task.name is empty: name a task; `solo-invariance doctor` lists them")
    task = load_plugin("tasks", name)
    if not isinstance(task, Task):
        raise UserError(f"task.name={name}: the plugin is a {type(task).__name__}, expected a Task")
    return task
