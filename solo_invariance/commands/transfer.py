"""``solo-invariance transfer``: how well does a frozen backbone do on a task?"""

import time
from dataclasses import asdict
from typing import Any

import numpy as np

from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.commands.console import as_dict, as_object, choose_device, console, progress_bars
from solo_invariance.commands.run_directory import open_run
from solo_invariance.config import TransferConfig as Config
from solo_invariance.data.images import Progress, no_progress
from solo_invariance.errors import UserError
from solo_invariance.fuse import FusedBackbone
from solo_invariance.hosts.plugins import load_plugin
from solo_invariance.results import SCHEMA, read_json, require_finite, versions, write_arrays, write_json
from solo_invariance.transfer.evaluate import TransferSettings, score_features
from solo_invariance.transfer.features import extract_features
from solo_invariance.transfer.tasks import Task, TaskSettings

__all__ = ["Config", "run", "transfer"]

_SPEED_KEYS = ("out", "device", "batch_size", "num_workers")
_PROBES = {"classification": "logistic", "regression": "ridge"}


def run(config: Any) -> None:
    """Score, print the score and say where the results are."""
    with progress_bars() as progress:
        result = transfer(config, progress)
    low, high = result["ci95"]
    console.print(
        f"{result['label']} on {result['task']}: {result['metric']} {result['score']:.3f} [{low:.3f}, {high:.3f}], "
        f"penalty {result['penalty']:.2e} by {result['folds']}-fold cross-validation",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"results: {as_object(config, Config).out}", soft_wrap=True)


def transfer(
    config: Any,
    progress: Progress = no_progress,
    backbone: Backbone | None = None,
    features: dict[tuple[str, str], Any] | None = None,
) -> dict[str, Any]:
    """Score a backbone on a task and write ``OUT/transfer.json``; return its content.

    Args:
        config: Composed, of ``TransferConfig``.
        progress: Told how far the work is.
        backbone: The configuration's, where it is loaded already.
        features: Where to keep features for a next task on the same images with the same backbone.

    A result that is there already, of the same configuration, is returned as it is.
    """
    started = time.perf_counter()
    settings = as_object(config, Config)
    device = choose_device(settings.device)
    task = load_plugin("tasks", settings.task.name)
    if not isinstance(task, Task):
        raise UserError(f"task.name={settings.task.name}: the plugin is a {type(task).__name__}, expected a Task")
    probe = settings.probe.name if settings.probe else _PROBES[task.kind]
    if probe == "logistic" and task.kind == "regression":
        raise UserError(f"probe=logistic: task.name={settings.task.name} has numbers as targets, take probe=ridge")
    if probe == "ridge" and task.kind == "classification":
        raise UserError(f"probe=ridge: task.name={settings.task.name} has classes as targets, take probe=logistic")
    backbone = (backbone or load_backbone(settings.backbone, settings.seed)).to(device)
    directory = open_run(settings.out, _identity(as_dict(config), backbone))
    path = directory.path / "transfer.json"
    if path.is_file():
        return read_json(path)
    options = {key: value for key, value in asdict(settings.task).items() if key != "name"}
    train, test = task.load(TaskSettings(**options))
    kept = {} if features is None else features
    for name, split in (("train", train), ("test", test)):
        key = (name, repr(options))
        if key not in kept:
            what = f"{backbone.provenance.label}: {name} features"
            kept[key] = extract_features(
                backbone, split.images, settings.batch_size, settings.num_workers, progress, what
            )
    scored = score_features(
        (kept["train", repr(options)], train.targets),
        (kept["test", repr(options)], test.targets),
        TransferSettings(
            probe=probe,  # type: ignore[arg-type]
            metric=task.metric,
            protocol=settings.protocol.name,  # type: ignore[arg-type]
            folds=settings.folds,
            num_members=len(backbone.network.members) if isinstance(backbone.network, FusedBackbone) else 1,
            seed=settings.seed,
        ),
    )
    arrays = {"predictions": np.asarray(scored.predictions), "targets": np.asarray(test.targets)}
    directory.claim()
    write_arrays(directory.path / "transfer.npz", arrays)
    result = {
        "schema": SCHEMA,
        "kind": "transfer",
        "label": backbone.provenance.label,
        "backbone": backbone.describe(),
        "task": settings.task.name,
        "metric": task.metric,
        "score": require_finite(scored.score, "the score"),
        "ci95": list(scored.ci95),
        "penalty": scored.penalty,
        "folds": settings.folds,
        "probe": probe,
        "protocol": settings.protocol.name,
        "num_train": len(train.images),
        "num_test": len(test.images),
        "config": as_dict(config),
        "versions": versions(),
        "seed": settings.seed,
        "timings": {"total_seconds": time.perf_counter() - started},
    }
    write_json(path, result)
    return result


def _identity(config: dict[str, Any], backbone: Backbone) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key not in _SPEED_KEYS}
    sha256 = backbone.provenance.sha256
    return {**kept, "backbone": {**kept["backbone"], "sha256": sha256}, "version": versions()["solo-invariance"]}
