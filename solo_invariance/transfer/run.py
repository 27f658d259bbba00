"""Scoring a frozen backbone on tasks: the whole way from images to results."""

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.load import load_backbone
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.checks import require_texts
from solo_invariance.device import choose_device
from solo_invariance.errors import UserError
from solo_invariance.features import ExtractionSettings, FeatureCache, extract_features
from solo_invariance.features.ahead import in_words, memory_of_passes
from solo_invariance.features.extract import count_missing
from solo_invariance.features.feature_stream import suitable_batch_size
from solo_invariance.processes import Processes
from solo_invariance.progress import Announce, Progress, no_progress, say_nothing
from solo_invariance.results import TransferComparison, TransferResult
from solo_invariance.results.run_directory import RunDirectory, open_run
from solo_invariance.results.transfer import TRANSFER_FILE
from solo_invariance.transfer.ahead import TransferAhead, choices_of
from solo_invariance.transfer.chosen_tasks import ChosenTask, TaskChoice, chosen_tasks
from solo_invariance.transfer.comparison import compare_scores, require_comparable, require_result
from solo_invariance.transfer.record import (
    BackboneSource,
    about_of,
    backbone_record,
    identity_of,
    keep_result,
    settings_record,
    task_record,
    weights_of,
)
from solo_invariance.transfer.scored_task import require_sound, score_task
from solo_invariance.transfer.settings import TransferSettings, probe_settings, require_fitting
from solo_invariance.transfer.task_data import TaskData

_USUAL = TransferSettings()
_UNLIMITED = 2**62
_SPLITS: tuple[Literal["train"], Literal["test"]] = ("train", "test")


class TransferResults(dict[str, TransferResult]):
    """Results by the tasks' labels.

    Attributes:
        comparisons: Paired differences by the tasks' labels, where results were compared with others.
    """

    comparisons: dict[str, TransferComparison]

    def __init__(
        self, results: Mapping[str, TransferResult], comparisons: Mapping[str, TransferComparison] | None = None
    ) -> None:
        super().__init__(results)
        self.comparisons = dict(comparisons or {})

    @property
    def only(self) -> TransferResult:
        """The result of the only task.

        Raises:
            ValueError: There are several, or none.
        """
        if len(self) != 1:
            raise ValueError(f"expected the result of one task, there are {len(self)}: {', '.join(self)}")
        return next(iter(self.values()))


def transfer(
    backbone: BackboneSource,
    task: TaskChoice | Sequence[TaskChoice] = "shape",
    settings: TransferSettings = _USUAL,
    *,
    out: Path | str | None = None,
    against: Path | str | None = None,
    device: torch.device | str = "auto",
    cache: bool = True,
    progress: Progress = no_progress,
    announce: Announce = say_nothing,
    processes: Processes | None = None,
    config: Mapping[str, Any] | None = None,
) -> TransferResults:
    """Return how well a probe of a frozen backbone's features does on one task or several.

    A probe is fitted to the features of a task's training images, with what it leaves open chosen by cross-validation
    among them, and scored on the test images. What a fused backbone says of its features is heeded, so that the numbers
    are those of ``solo-invariance transfer``. Images that a fusion was fitted to cannot be its test images.

    Args:
        backbone: A ``Backbone``; a module that maps normalised images (N, 3, 224, 224) to features (N, D), see
            ``Backbone.of`` for another size; or what names one: a checkpoint's path, a model's name such as
            ``timm:resnet50``, or a ``BackboneConfig``.
        task: A task's name, or a ``TaskConfig`` with its settings; an ``OwnTask``, or a tuple of training images,
            training targets, test images and test targets in the forms that ``OwnTask.of`` takes; or a list of those,
            whose features are computed once for all that share images.
        settings: How to score; the tasks' usual probes and metrics by default.
        out: A directory to write ``transfer.json`` and ``transfer.npz`` to, one below it for each of a list of tasks.
            A result that is there already, of the same configuration, is returned as it is. None writes nothing.
        against: A directory that an earlier call, on the same tasks, wrote to: the paired differences from its scores
            are in ``comparisons`` of what is returned, and in ``comparison.json`` beside the results.
        device: Where to compute; ``auto`` is a GPU where there is one. A backbone that was given comes back to its own.
        cache: Find features in the cache, and keep them there.
        progress: Told how far the work is.
        announce: Told what is to be done, a ``TransferAhead`` for each task, once its images are known.
        processes: Those that share the computing of features, which all call this; only the first gets results.
        config: What results say was asked for, where that is not what the arguments say: the command's configuration.

    Returns:
        Results by the tasks' labels, that of a single task in ``only``: ``score`` in the metric's unit, with its 95 %
        interval, ``penalty``, ``details`` of the fit, and provenance.

    Raises:
        UserError: There is no such backbone or task, a setting does not suit it, an image cannot be read, a test image
            was seen before, features or targets do not allow a fit, or ``out`` holds results of another configuration.

    Example:
        >>> images = torch.randint(256, (60, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        >>> brightness = images.float().mean((1, 2, 3))
        >>> pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> net = Backbone.of(pooled, crop_size=16)
        >>> own = (images[:40], brightness[:40], images[40:], brightness[40:])
        >>> result = transfer(net, own, device="cpu", cache=False).only
        >>> result.metric, round(result.score.mean, 3)
        ('r2', 1.0)
    """
    require_texts(against=against, out=out)
    processes, where = processes or Processes(), choose_device(device) if isinstance(device, str) else device
    chosen = chosen_tasks(task)
    _check(chosen, settings, out, against)
    with _loaded(backbone, settings.seed, where) as net, _cache(cache, out, processes, len(chosen)) as kept:
        usual = {
            "backbone": backbone_record(backbone, net),
            **settings_record(settings),
            "against": None if against is None else str(against),
            "device": str(device),
            "devices": processes.count,
            "cache": cache,
        }
        bench = _Bench(settings, net, weights_of(backbone, net), config or usual, kept, progress, announce)
        jobs = [
            _Job(one, bench, None if out is None else one.place_in(out), against, (number + 1, len(chosen)))
            for number, one in enumerate(chosen)
        ]
        if processes.count > 1:
            _compute_together(jobs, processes)
        if processes.rank > 0:
            return TransferResults({})
        results = {}
        while jobs:  # one at a time: each holds its task's images
            job = jobs.pop(0)
            results[job.chosen.label] = job.result()
    if out is None or against is None:
        return TransferResults(results)
    places = {one.label: (Path(one.place_in(out)), Path(one.place_in(against))) for one in chosen}
    return TransferResults(results, {name: compare_scores(*both, settings.seed) for name, both in places.items()})


def _check(
    chosen: Sequence[ChosenTask], settings: TransferSettings, out: Path | str | None, against: Path | str | None
) -> None:
    """Raise UserError where there is no such task, the settings do not suit it, or there is nothing to compare with."""
    if against is not None and out is None:
        raise UserError(f"against={against}: the comparison is written beside the results, so out is needed, too")
    for one in chosen:
        require_fitting(settings, one.resolved(settings.protocol), str(one.config.name))
        if against is not None:
            require_result(against, one.folder)


@contextmanager
def _loaded(source: BackboneSource, seed: int, device: torch.device) -> Iterator[Backbone]:
    """Give the backbone on the device; one that was given goes back to where it was."""
    if isinstance(source, BackboneConfig | Path | str):
        yield load_backbone(source, seed).to(device)
        return
    if not isinstance(source, Backbone):
        if not isinstance(source, nn.Module):
            raise UserError(f"backbone: a {type(source).__name__}, expected a Backbone, a module, a path or a name")
        yield Backbone.of(source).to(device)
        return
    before = source.mean.device
    try:
        yield source.to(device)
    finally:
        source.to(before)


@contextmanager
def _cache(wanted: bool, out: Path | str | None, processes: Processes, num_tasks: int) -> Iterator[FeatureCache | None]:
    """Give the cache that is kept, or one for the time of the run where tasks or processes share features."""
    kept = FeatureCache.default() if wanted else None
    if kept is not None or (processes.count == 1 and num_tasks == 1):
        yield kept
        return
    if out is None:
        if processes.count > 1:
            raise UserError("processes share features in the cache or in out: set one of them")
        with tempfile.TemporaryDirectory() as folder:
            yield FeatureCache(Path(folder), _UNLIMITED)
        return
    path = Path(out) / ".features"
    try:
        yield FeatureCache(path, _UNLIMITED)
    finally:
        if processes.rank == 0:
            shutil.rmtree(path, ignore_errors=True)


def _compute_together(jobs: Sequence["_Job"], processes: Processes) -> None:
    """Fill the cache with all features; the first process then finds them there."""
    if processes.rank > 0:
        processes.wait()  # until the first has fetched what there is to fetch
    loaded = [job.data for job in jobs]
    if processes.rank == 0:
        processes.wait()
    for job, data in zip(jobs, loaded, strict=True):
        if not job.is_done:
            if processes.rank == 0:
                job.say_what_is_ahead()
            for split in _SPLITS:
                job.features(data, split, processes)
    processes.wait()


@dataclass(frozen=True)
class _Bench:
    """What the tasks of a call share."""

    settings: TransferSettings
    backbone: Backbone
    weights: str | None
    record: Mapping[str, Any]
    cache: FeatureCache | None
    progress: Progress
    announce: Announce


@dataclass(frozen=True)
class _Job:
    """The scoring of a backbone on one task."""

    chosen: ChosenTask
    bench: _Bench
    out: str | None
    against: Path | str | None
    place: tuple[int, int] = (1, 1)

    def result(self) -> TransferResult:
        """Return the result, scored where it is not there yet."""
        started = time.perf_counter()
        data, directory, backbone = self.data, self.directory, self.bench.backbone
        if directory is not None and self.is_done:
            return TransferResult.read(directory.path / TRANSFER_FILE)
        with nullcontext() if directory is None else directory.locked():
            self.say_what_is_ahead()
            train, test = (self.features(data, split) for split in _SPLITS)
            settings = probe_settings(self.bench.settings, data.task, backbone)
            scored = score_task(data, train, test, settings, backbone.mean.device)
            about = about_of(self.record, backbone, data, settings, time.perf_counter() - started)
            return keep_result(directory, data, scored, about)

    def say_what_is_ahead(self) -> None:
        """Announce it, once."""
        if self.bench.announce is not say_nothing and "ahead" not in self.__dict__:
            self.bench.announce(self.ahead)

    @cached_property
    def ahead(self) -> TransferAhead:
        """What is to be done, some of whose features may be in the cache."""
        data, backbone, settings = self.data, self.bench.backbone, self.bench.settings
        alone, how = backbone.members or (backbone,), ExtractionSettings(settings.batch_size, settings.num_workers)
        probing, device = probe_settings(settings, data.task, backbone), backbone.mean.device
        size = backbone.input_spec.crop_size
        missing = sum(count_missing(alone, data.known_images(split), how, self.bench.cache) for split in _SPLITS)
        batch = settings.batch_size or suitable_batch_size(device, size)
        return TransferAhead(
            backbone=in_words(backbone),
            task=data.label,
            targets=str(data.targets),
            metric=probing.score_name,
            probe=probing.probe,
            choices=choices_of(probing),
            num_train=len(data.train.images),
            num_test=len(data.test.images),
            num_missing=missing,
            num_passes=len(alone) * (len(data.train.images) + len(data.test.images)),
            memory=memory_of_passes(backbone, batch, size) if missing else None,
            device=str(device),
            out=self.out,
            place=self.place,
        )

    @cached_property
    def data(self) -> TaskData:
        """The task's images and targets, where no test image was seen in training or by the fusion."""
        settings, backbone = self.bench.settings, self.bench.backbone
        data = self.chosen.load(backbone.input_spec.crop_size, settings.protocol, settings.num_workers)
        scorable = probe_settings(settings, data.task, backbone)
        data.require_unseen_by_fusion(backbone.fitted_on)
        require_sound(data, scorable)
        if self.against is not None:
            here = {"task": data.label, "num_test": len(data.test.images), "test_images": data.test_fingerprint}
            place = Path(self.chosen.place_in(self.against))
            require_comparable(place, here | scorable.same_to_compare, self.record, data.test.targets)
        return data

    @cached_property
    def directory(self) -> RunDirectory | None:
        """Where the result goes, if anywhere."""
        return None if self.out is None else open_run(self.out, identity_of(self.record, self.bench.weights, self.data))

    @property
    def is_done(self) -> bool:
        """Whether there is a result already."""
        return self.directory is not None and (self.directory.path / TRANSFER_FILE).is_file()

    @property
    def record(self) -> dict[str, Any]:
        """The configuration of this task alone, as results hold it."""
        record = {key: value for key, value in self.bench.record.items() if key != "objective"}  # which is of a sweep
        return {**record, "task": task_record(self.chosen.config), "tasks": None, "out": self.out}

    def features(
        self, data: TaskData, split: Literal["train", "test"], processes: Processes | None = None
    ) -> torch.Tensor:
        """Return the features of a split's images, (N, D), which processes may share the work for."""
        settings, backbone = self.bench.settings, self.bench.backbone
        return extract_features(
            backbone,
            data.known_images(split),
            ExtractionSettings(settings.batch_size, settings.num_workers),
            self.bench.cache,
            self.bench.progress,
            f"{backbone.provenance.label}: {split} features",
            processes,
        )
