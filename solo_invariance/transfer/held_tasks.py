"""Tasks whose images are decoded once, to score a backbone on them again and again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.data.framing import FramedImages, Framing
from solo_invariance.data.images import digest_of
from solo_invariance.data.kept import KeptImages
from solo_invariance.errors import UserError
from solo_invariance.features import ExtractionSettings, extract_features
from solo_invariance.features.extract import share_of
from solo_invariance.features.feature_stream import suitable_batch_size
from solo_invariance.features.shared_work import in_each
from solo_invariance.processes import Processes
from solo_invariance.results.files import fingerprint_of
from solo_invariance.transfer.chance import chance_level
from solo_invariance.transfer.probes.settings import ProbeSettings
from solo_invariance.transfer.scored_task import require_sound, score_task
from solo_invariance.transfer.settings import probe_settings
from solo_invariance.transfer.task_data import TaskData
from solo_invariance.transfer.watched_tasks import WatchedTask

_SPLITS: tuple[Literal["train"], Literal["test"]] = ("train", "test")


@dataclass(frozen=True)
class HeldTask:
    """A task with its images in memory.

    Args:
        number: What the score is called: ``TASK/METRIC``.
        data: Its images, the squares of them that a network sees, and its targets.
        probing: How it is probed.
        train: The images of ``data`` for training.
        test: Those for the test.
    """

    number: str
    data: TaskData
    probing: ProbeSettings
    train: KeptImages
    test: KeptImages

    @property
    def names(self) -> list[str]:
        """What its images are called; of files, their paths."""
        return [images.name_of(index) for images in (self.train, self.test) for index in range(len(images))]

    @property
    def chance(self) -> float:
        """The score of a probe that sees no image."""
        return chance_level(self.data.train.targets, self.data.test.targets, self.probing)


class TaskScore(NamedTuple):
    """A backbone's score on a task.

    Args:
        label: What the task is called.
        number: What the score is called: ``TASK/METRIC``.
        score: It, in the metric's unit; higher is better.
        described: Further numbers of the features, by name.
    """

    label: str
    number: str
    score: float
    described: Mapping[str, float]


Describe = Callable[[Tensor], Mapping[str, float]]


def _nothing(features: Tensor) -> Mapping[str, float]:
    return {}


class HeldTasks:
    """Tasks on which backbones of one kind of input are scored, as ``transfer`` scores them, to the same numbers.

    Several processes share the work: of n, each reads and keeps every n-th batch of images and computes their features,
    all are given all features, and each fits the probes of every n-th task.

    Args:
        tasks: Which, each with how to score it; the batch size has to be the same for all.
        backbone: One like those that will be scored, on their device.
        at_most: Of each task's splits no more images than so many, drawn with the task's seed; None for no such limit.
        processes: Those that share the work, which all do what this one does; making this waits for none of them.

    Raises:
        UserError: There is no such task, or the settings do not suit it, an image cannot be read, a test image is among
            the training images, or the targets allow no score. An image may be in another process's share.
    """

    def __init__(
        self,
        tasks: Sequence[WatchedTask],
        backbone: Backbone,
        at_most: int | None = None,
        processes: Processes | None = None,
    ) -> None:
        self._processes = processes or Processes()
        usual = suitable_batch_size(backbone.mean.device, backbone.input_spec.crop_size)
        self._extraction = ExtractionSettings(tasks[0].settings.batch_size or usual, num_workers=0)
        self._kept_by_digests: dict[str, KeptImages] = {}
        self.tasks: list[HeldTask] = []
        for task in tasks:
            try:
                self.tasks.append(self._held(task, backbone, at_most))
            except UserError as error:
                raise UserError(f"{task.chosen.label}: {error}") from error

    def _held(self, task: WatchedTask, backbone: Backbone, at_most: int | None) -> HeldTask:
        spec, settings = backbone.input_spec, task.settings
        data = task.chosen.load(spec.crop_size, settings.protocol, settings.num_workers, at_most)
        probing = probe_settings(settings, data.task, backbone)
        require_sound(data, probing)
        framing = Framing(spec.crop_size, spec.interpolation)
        train, test = (
            self._kept(FramedImages(data.known_images(split), framing), settings.num_workers) for split in _SPLITS
        )
        held = replace(data, train=replace(data.train, images=train), test=replace(data.test, images=test))
        return HeldTask(task.number, held, probing, train, test)

    def _kept(self, squares: FramedImages, num_workers: int) -> KeptImages:
        """Return the squares of a split, of which this process keeps its share; the same for the same images."""
        key = fingerprint_of({"squares": [digest_of(squares, index) for index in range(len(squares))]})
        if key not in self._kept_by_digests:
            share = share_of(len(squares), self._extraction.batch_size or 1, self._processes)
            kept = KeptImages(squares, (index for rows in share for index in rows), num_workers)
            self._kept_by_digests[key] = kept
        return self._kept_by_digests[key]

    @property
    def num_images(self) -> int:
        """How many images there are, of all tasks; those that several have count once."""
        return sum(map(len, self._kept_by_digests.values()))

    @property
    def num_bytes(self) -> int:
        """How many bytes the images take, in this process."""
        return sum(images.num_bytes for images in self._kept_by_digests.values())

    def score(self, backbone: Backbone, describe: Describe = _nothing) -> list[TaskScore]:
        """Return a backbone's scores on the tasks, the same in all processes.

        Args:
            backbone: With the same weights in all processes, on each one's device.
            describe: Gives further numbers of the features (N, D) of a task's training images, by name.

        Raises:
            UserError: Features are not finite or all the same, or do not allow a fit; in all processes.
        """
        extraction, processes, device = self._extraction, self._processes, backbone.mean.device
        features = {
            images: extract_features(backbone, images, extraction, processes=processes)
            for images in self._kept_by_digests.values()
        }

        def own() -> list[TaskScore]:
            return [
                TaskScore(task.data.label, task.number, _score(task, features, device), describe(features[task.train]))
                for task in processes.share(self.tasks)
            ]

        scores = {one.number: one for part in in_each(processes, own) for one in part}
        return [scores[task.number] for task in self.tasks]


def _score(task: HeldTask, features: Mapping[KeptImages, Tensor], device: torch.device) -> float:
    return score_task(task.data, features[task.train], features[task.test], task.probing, device).score
