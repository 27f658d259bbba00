"""Which tasks a call names, by themselves or several at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from solo_invariance.config.task import TaskConfig
from solo_invariance.errors import UserError
from solo_invariance.protocols import ProtocolName
from solo_invariance.transfer.own_images import OwnTask
from solo_invariance.transfer.task_data import TaskData, load_task, loaded_task, resolved_task, task_settings
from solo_invariance.transfer.tasks import Task

_ANY_SIZE = 224  # of what a network sees; what a task is does not depend on it


@dataclass(frozen=True)
class ChosenTask:
    """A task by name, or of one's own.

    Args:
        config: Its name and settings; of one's own, a record.
        own: The task of one's own.
        folder: Of its result among those of several tasks; empty for a task by itself.
    """

    config: TaskConfig
    own: OwnTask | None = None
    folder: str = ""

    @property
    def label(self) -> str:
        """What results call the task."""
        return str(self.config.label or self.config.name)

    def place_in(self, out: Path | str) -> str:
        """Return the directory of the task's result, in a directory for all."""
        return str(Path(out) / self.folder) if self.folder else str(out)

    def resolved(self, protocol: ProtocolName) -> Task:
        """Return what the task is, without its images.

        Raises:
            UserError: There is no such task, or its settings do not say what it is.
        """
        return self.own or resolved_task(self.config, _ANY_SIZE, protocol)[0]

    def load(self, crop_size: int, protocol: ProtocolName, num_workers: int, at_most: int | None = None) -> TaskData:
        """Return the task with its images and targets.

        Args:
            crop_size: Side of what the network sees of an image, in pixels.
            protocol: Whether the task's splits have the paper's quirks.
            num_workers: Threads that read files.
            at_most: Of each split no more images than so many, drawn with the task's seed; None for no such limit.

        Raises:
            UserError: Its images or targets are not where they are expected.
        """
        if self.own is None:
            return load_task(self.config, crop_size, protocol, num_workers, at_most)
        settings = task_settings(self.config, crop_size, protocol, at_most)
        return loaded_task(self.own, settings, self.config, num_workers)


TaskChoice = str | TaskConfig | OwnTask | ChosenTask | tuple[Any, Any, Any, Any]
"""A task's name; a name with the task's settings; images and targets of one's own, as a task or a tuple of four; or one
that was chosen before."""


@dataclass(frozen=True)
class KeptTask(ChosenTask):
    """A task whose images are read once, for all backbones that are scored on it."""

    _kept: dict[tuple[Any, ...], TaskData] = field(default_factory=dict, compare=False, repr=False)

    def load(self, crop_size: int, protocol: ProtocolName, num_workers: int, at_most: int | None = None) -> TaskData:
        """Return the task with its images and targets, which are read when they are first asked for."""
        key = (crop_size, protocol, at_most)
        if key not in self._kept:
            self._kept[key] = super().load(crop_size, protocol, num_workers, at_most)
        return self._kept[key]


def chosen_tasks(given: TaskChoice | Sequence[TaskChoice]) -> list[ChosenTask]:
    """Return the tasks that were given, one or several.

    Raises:
        UserError: There are none, two have one label, or one is no task.
    """
    if not _is_several(given):
        return [_chosen(given)]
    chosen = [_chosen(one) for one in cast(Sequence[object], given)]
    if not chosen:
        raise UserError("tasks=[]: expected a list, such as [shape,hue]")
    labels = [one.label for one in chosen]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise UserError(f"tasks: {twice} is there twice; give one of them another label")
    return [replace(one, folder=one.label) for one in chosen]


def _is_several(given: object) -> bool:
    return isinstance(given, list) or (isinstance(given, tuple) and not _is_own(given))


def _is_own(given: tuple[Any, ...]) -> bool:
    """Whether a tuple has images and targets: no task is a sequence of numbers."""
    return len(given) == 4 and not isinstance(given[1], str | TaskConfig | OwnTask | ChosenTask | tuple)


def _chosen(given: object) -> ChosenTask:
    if isinstance(given, ChosenTask):
        return given
    if isinstance(given, str):
        return ChosenTask(TaskConfig(name=given))
    if isinstance(given, TaskConfig):
        return ChosenTask(given)
    if isinstance(given, OwnTask):
        return ChosenTask(TaskConfig(name="own", label=given.label), given)
    if isinstance(given, tuple) and _is_own(given):
        return _chosen(OwnTask.of(*given))
    raise UserError(
        f"task: a {type(given).__name__}, expected a task's name, a TaskConfig, an OwnTask, or a tuple of training "
        f"images, training targets, test images and test targets"
    )
