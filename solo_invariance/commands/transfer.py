"""``solo-invariance transfer``: how well does a frozen backbone do on a task?"""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.commands.in_processes import run_shared
from solo_invariance.commands.terminal import console, progress_bars
from solo_invariance.commands.transfer_comparison import compare_scores, print_difference
from solo_invariance.config.composed import as_dict, as_object
from solo_invariance.config.task import TaskConfig
from solo_invariance.config.transfer import FewShotConfig, KNNConfig
from solo_invariance.config.transfer import TransferConfig as Config
from solo_invariance.device import choose_device
from solo_invariance.errors import UserError
from solo_invariance.features import ExtractionSettings, FeatureCache, extract_features
from solo_invariance.processes import Processes
from solo_invariance.progress import Progress, no_progress
from solo_invariance.protocols import protocol_named
from solo_invariance.results.files import (
    SCHEMA,
    fingerprint_of,
    read_json,
    require_finite,
    versions,
    write_arrays,
    write_json,
)
from solo_invariance.results.run_directory import RunDirectory, open_run
from solo_invariance.transfer.kinds import kind_named
from solo_invariance.transfer.probes.settings import ProbeKind, ProbeSettings
from solo_invariance.transfer.scoring import TransferScore, score_features
from solo_invariance.transfer.task_data import TaskData, load_task, resolved_task
from solo_invariance.transfer.tasks import Task

__all__ = ["Config", "run", "transfer"]

# They change the speed, where results go, or what they are compared with; not what the numbers are.
_OTHER_KEYS = ("out", "tasks", "against", "device", "devices", "batch_size", "num_workers", "cache")
_ON_A_GPU = ("ridge", "logistic", "kernel_ridge")  # in float64, which other devices may not have
_UNLIMITED = 2**62
_FILE = "transfer.json"
_SPLITS: tuple[Literal["train"], Literal["test"]] = ("train", "test")


def run(config: Any) -> None:
    """Score, print the scores and say where the results are."""
    run_shared(config, Config, _run)


def _run(processes: Processes, device: torch.device, config: Any) -> None:
    settings = as_object(config, Config)
    with progress_bars(quiet=processes.rank > 0) as progress:
        results = transfer(config, progress, processes=processes, device=device)
    if processes.rank > 0:
        return
    for result in results.values():
        _print_score(result)
    for name in results:
        if settings.against is not None:
            print_difference(compare_scores(Path(settings.out) / name, Path(settings.against) / name, settings.seed))
    console.print(f"results: {settings.out}", soft_wrap=True)


def _print_score(result: Mapping[str, Any]) -> None:
    low, high = result["ci95"]
    penalty = "" if result["penalty"] is None else f", penalty {result['penalty']:.2e}"
    console.print(
        f"{result['label']} on {result['task']}: {result['metric']} {result['score']:.3f} [{low:.3f}, {high:.3f}] by "
        f"{result['probe']}{penalty}",
        highlight=False,
        soft_wrap=True,
    )
    if "member_weights" in result["details"]:
        weights = ", ".join(f"{weight:.3g}" for weight in result["details"]["member_weights"])
        console.print(f"weights of the members: {weights}", highlight=False)
    if result["overlap"]:
        console.print(
            f"{result['overlap']} of the {result['num_test']} test images are among the training images", style="yellow"
        )


def transfer(
    config: Any,
    progress: Progress = no_progress,
    backbone: Backbone | None = None,
    processes: Processes | None = None,
    device: torch.device | None = None,
) -> dict[str, dict[str, Any]]:
    """Score a backbone on tasks and write ``OUT/transfer.json``, of several tasks ``OUT/TASK/transfer.json``.

    Args:
        config: Composed, of ``TransferConfig``.
        progress: Told how far the work is.
        backbone: The configuration's, where it is loaded already.
        processes: Those that share the computing of features, which all call this.
        device: This process's; the configuration's by default.

    Returns:
        The content of the files by task; ``""`` is the name of the only one without ``tasks``. Nothing in processes
        but the first.

    A result that is there already, of the same configuration, is returned as it is.
    """
    settings, processes = as_object(config, Config), processes or Processes()
    device = device or choose_device(settings.device)
    tasks = _tasks(settings)
    for name, one in tasks.items():
        _check(one, name)
    backbone = (backbone or load_backbone(settings.backbone, settings.seed)).to(device)
    with _cache(settings, processes, len(tasks)) as cache:
        jobs = {name: _Job(one, as_dict(config), backbone, cache, progress) for name, one in tasks.items()}
        if processes.count > 1:
            _compute_together(list(jobs.values()), processes)
        return {name: job.result() for name, job in jobs.items()} if processes.rank == 0 else {}


def _compute_together(jobs: Sequence["_Job"], processes: Processes) -> None:
    """Fill the cache with all features; the first process then finds them there."""
    if processes.rank > 0:
        processes.wait()  # until the first has fetched what there is to fetch
    loaded = [job.data for job in jobs]
    if processes.rank == 0:
        processes.wait()
    for job, data in zip(jobs, loaded, strict=True):
        if not job.is_done(data):
            for split in _SPLITS:
                job.features(data, split, processes)
    processes.wait()


def _tasks(settings: Config) -> dict[str, Config]:
    """Return the configuration of each task by its name; of the only one without ``tasks`` the name is empty."""
    if settings.tasks is None:
        return {"": settings}
    if not isinstance(settings.tasks, list) or not settings.tasks:
        raise UserError(f"tasks={settings.tasks}: expected a list, such as [shape,hue]")
    found: dict[str, Config] = {}
    for entry in settings.tasks:
        task = _task_config(settings.task, {"name": entry} if isinstance(entry, str) else entry)
        label = str(task.label or task.name)
        if label in found:
            raise UserError(f"tasks: {label} is there twice; give one of them another label")
        found[label] = replace(settings, task=task, tasks=None, out=str(Path(settings.out) / label))
    return found


def _task_config(usual: TaskConfig, entry: Any) -> TaskConfig:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise UserError(f"tasks: {entry} is neither a task's name nor a mapping with a name")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(usual), entry)
        return as_object(merged, TaskConfig)
    except OmegaConfBaseException as error:
        raise UserError(f"tasks: {entry['name']}: {str(error).splitlines()[0]}") from error


def _check(settings: Config, name: str) -> None:
    """Raise UserError where there is no such task, its probe or metric does not fit it, or `against` has no result."""
    task = resolved_task(settings.task, 224, settings.protocol.value)[0]
    kind = kind_named(task.kind)
    probes, metrics = kind.probes, kind.metrics
    if settings.probe is not None and settings.probe.name not in probes:
        raise UserError(
            f"probe={settings.probe.name}: task.name={settings.task.name} is {task.kind}, take {' or '.join(probes)}"
        )
    if settings.metric is not None and settings.metric not in metrics:
        raise UserError(
            f"metric={settings.metric}: task.name={settings.task.name} is {task.kind}, take {' or '.join(metrics)}"
        )
    for probe, usual in (("knn", KNNConfig()), ("few_shot", FewShotConfig())):
        if getattr(settings, probe) != usual and (settings.probe is None or settings.probe.name != probe):
            raise UserError(f"{probe}: is read by probe={probe} alone")
    if settings.against is not None and not (Path(settings.against) / name / _FILE).is_file():
        raise UserError(f"against={settings.against}: no result of transfer there ({Path(name) / _FILE})")


@contextmanager
def _cache(settings: Config, processes: Processes, num_tasks: int) -> Iterator[FeatureCache | None]:
    """Give the cache that is kept, or one for the time of the run where tasks or processes share features."""
    kept = FeatureCache.default() if settings.cache else None
    if kept is not None or (processes.count == 1 and num_tasks == 1):
        yield kept
        return
    path = Path(settings.out) / ".features"
    try:
        yield FeatureCache(path, _UNLIMITED)
    finally:
        if processes.rank == 0:
            shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True)
class _Job:
    """The scoring of a backbone on one task."""

    settings: Config
    config: dict[str, Any]
    backbone: Backbone
    cache: FeatureCache | None
    progress: Progress

    def result(self) -> dict[str, Any]:
        """Return the result, scored where it is not there yet."""
        started = time.perf_counter()
        data = self.data
        directory = self._directory(data)
        path = directory.path / _FILE
        if path.is_file():
            return read_json(path)
        train, test = (self.features(data, split) for split in _SPLITS)
        settings = self._probe_settings(data.task)
        device = self.backbone.mean.device
        on = device if device.type == "cuda" and settings.probe in _ON_A_GPU else None
        scored = score_features((train, data.train.targets), (test, data.test.targets), settings, on)
        about = {**self._about(data, settings), "timings": {"total_seconds": time.perf_counter() - started}}
        return _write(directory, path, data, scored, about)

    def is_done(self, data: TaskData) -> bool:
        """Whether there is a result already."""
        return (self._directory(data).path / _FILE).is_file()

    @property
    def data(self) -> TaskData:
        """The task's images and targets, where no test image was seen in training or by the fusion."""
        settings = self.settings
        data = load_task(settings.task, self._crop_size, settings.protocol.value, settings.num_workers)
        data.require_unseen_by_fusion(self.backbone.fitted_on)
        data.require_apart()
        return data

    def features(
        self, data: TaskData, split: Literal["train", "test"], processes: Processes | None = None
    ) -> torch.Tensor:
        """Return the features of a split's images, (N, D), which processes may share the work for."""
        return extract_features(
            self.backbone,
            data.known_images(split),
            ExtractionSettings(self.settings.batch_size, self.settings.num_workers),
            self.cache,
            self.progress,
            f"{self.backbone.provenance.label}: {split} features",
            processes,
        )

    def _directory(self, data: TaskData) -> RunDirectory:
        return open_run(self.settings.out, self._identity(data))

    @property
    def _crop_size(self) -> int:
        return self.backbone.input_spec.crop_size

    def _probe_settings(self, task: Task) -> ProbeSettings:
        settings = self.settings
        published = protocol_named(settings.protocol.value).takes_published_metric
        usual = task.paper_metric if published and task.paper_metric is not None else task.metric
        return ProbeSettings(
            probe=cast(
                ProbeKind, settings.probe.value if settings.probe else task.probe or kind_named(task.kind).usual_probe
            ),
            kind=task.kind,
            metric=settings.metric or usual,
            protocol=settings.protocol.value,
            folds=settings.folds,
            num_members=_num_members(self.backbone),
            scaled=self.backbone.scales_features,
            open_widths=self.backbone.open_widths,
            knn=settings.knn,
            few_shot=settings.few_shot,
            seed=settings.seed,
        )

    def _about(self, data: TaskData, settings: ProbeSettings) -> dict[str, Any]:
        return {
            "label": self.backbone.provenance.label,
            "backbone": self.backbone.describe(),
            "task": data.label,
            "folds": self.settings.folds,
            "probe": settings.probe,
            "protocol": settings.protocol,
            "num_train": len(data.train.images),
            "num_test": len(data.test.images),
            "overlap": data.overlap,
            "test_images": fingerprint_of({"digests": data.test_digests}),
            "config": {**self.config, **_changed(self.settings)},
            "versions": versions(),
            "seed": self.settings.seed,
        }

    def _identity(self, data: TaskData) -> dict[str, Any]:
        config = {**self.config, **_changed(self.settings)}
        kept = {key: value for key, value in config.items() if key not in _OTHER_KEYS}
        backbone = {**kept["backbone"], "sha256": self.backbone.provenance.sha256}
        targets = [split.targets.numpy().tobytes().hex() for split in (data.train, data.test)]
        images = fingerprint_of({"train": data.train_digests, "test": data.test_digests, "targets": targets})
        return {**kept, "backbone": backbone, "images": images, "version": versions()["solo-invariance"]}


def _changed(settings: Config) -> dict[str, Any]:
    """Return what is one task's own in a configuration for several."""
    return {"task": dict(vars(settings.task)), "tasks": None, "out": settings.out}


def _num_members(backbone: Backbone) -> int:
    """Return how many backbones' features there are: the paper shifts its penalties by that, of a wide one, too."""
    return len(backbone.members) or max(1, round(backbone.width_factor))


def _write(
    directory: RunDirectory, path: Path, data: TaskData, scored: TransferScore, about: Mapping[str, Any]
) -> dict[str, Any]:
    arrays = {name: np.asarray(array) for name, array in scored.arrays.items()}
    result = {
        "schema": SCHEMA,
        "kind": "transfer",
        **about,
        "metric": scored.metric,
        "score": require_finite(scored.score, "the score"),
        "ci95": list(scored.ci95),
        "penalty": scored.penalty,
        "details": dict(scored.details),
    }
    directory.claim()
    write_arrays(directory.path / "transfer.npz", {**arrays, "targets": np.asarray(data.test.targets)})
    write_json(path, result)
    return result
