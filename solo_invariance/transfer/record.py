"""What a result says of itself: its configuration, what it belongs to, and what it found."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.load import config_of
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.task import TaskConfig
from solo_invariance.data.decoding import DECODING
from solo_invariance.features.digests import digest_of_backbone
from solo_invariance.results.files import (
    SCHEMA,
    fingerprint_of,
    require_finite,
    versions,
    write_arrays,
)
from solo_invariance.results.run_directory import RunDirectory
from solo_invariance.results.transfer import TRANSFER_FILE, TransferResult
from solo_invariance.transfer.chance import scores_of_outputs
from solo_invariance.transfer.comparison import ARRAYS
from solo_invariance.transfer.probes.settings import ProbeSettings
from solo_invariance.transfer.scoring import TransferScore
from solo_invariance.transfer.settings import TransferSettings
from solo_invariance.transfer.task_data import TaskData

BackboneSource = Backbone | nn.Module | BackboneConfig | Path | str
"""A backbone, a module of one's own, or what names one: a checkpoint's path, a model's name, a configuration."""

# They change the speed, where results go, or what they are compared with; not what the numbers are.
_OTHER_KEYS = ("out", "tasks", "against", "device", "devices", "batch_size", "num_workers", "cache", "objective")


def settings_record(settings: TransferSettings) -> dict[str, Any]:
    """Return settings as results hold them."""
    values = asdict(settings)
    return values | {"probe": {"name": values["probe"], "solver": values.pop("solver")}}


def task_record(config: TaskConfig) -> dict[str, Any]:
    """Return a task's settings as results hold them."""
    return _plain(vars(config))


def backbone_record(source: BackboneSource, backbone: Backbone) -> dict[str, Any]:
    """Return which backbone was asked for, as results hold it.

    Args:
        source: What was asked for.
        backbone: What it is.
    """
    if isinstance(source, BackboneConfig | Path | str):
        return _plain(asdict(source if isinstance(source, BackboneConfig) else config_of(source)))
    layers = [name for name in backbone.layers if name]
    return {
        "checkpoint": backbone.provenance.checkpoint,
        "name": backbone.architecture.name,
        "kwargs": _plain(backbone.architecture.kwargs),
        "layer": layers or None,
        **_plain(asdict(backbone.input_spec)),
        "label": backbone.provenance.label,
        "views": backbone.describe()["views"],
    }


def weights_of(source: BackboneSource, backbone: Backbone) -> str | None:
    """Return what tells a backbone's weights from others: a checkpoint's hash, or the weights' own.

    A name stands for its weights: there is nothing to tell. A module may have been changed since it was loaded.
    """
    named = isinstance(source, BackboneConfig | Path | str)
    return backbone.provenance.sha256 if named else digest_of_backbone(backbone)


def identity_of(record: Mapping[str, Any], weights: str | None, data: TaskData) -> dict[str, Any]:
    """Return everything that a score depends on, as plain data: what its directory belongs to.

    Args:
        record: The configuration, as results hold it.
        weights: What tells the backbone's weights from others, a hash, None where a name stands for them.
        data: The task's images and targets.
    """
    kept = {key: value for key, value in record.items() if key not in _OTHER_KEYS}
    targets = [split.targets.numpy().tobytes().hex() for split in (data.train, data.test)]
    return {
        **kept,
        "backbone": {**kept["backbone"], "sha256": weights},
        "images": fingerprint_of({"train": data.train_digests, "test": data.test_digests, "targets": targets}),
        "decoding": DECODING,
        "version": versions()["solo-invariance"],
    }


def keep_result(
    directory: RunDirectory | None,
    data: TaskData,
    scored: TransferScore,
    about: Mapping[str, Any],
) -> TransferResult:
    """Return the result, and write it, with the predictions beside it, where there is a directory.

    Args:
        directory: Where to write ``transfer.json`` and ``transfer.npz``, if anywhere.
        data: The task's images and targets.
        scored: The score.
        about: What the result says of how the score came about, see ``about_of``.

    Raises:
        UserError: The score is not finite, or the directory cannot be written.
    """
    content = {
        "schema": SCHEMA,
        "kind": "transfer",
        **about,
        "metric": scored.metric,
        "score": require_finite(scored.score, "the score"),
        "ci95": list(scored.ci95),
        "penalty": scored.penalty,
        "chance": scored.chance,
        "outputs": _outputs(data, scored),
        "details": dict(scored.details),
    }
    # As it is when it is read again, with lists for tuples.
    result = TransferResult.from_content(_plain(content), None if directory is None else directory.path / TRANSFER_FILE)
    if directory is not None:
        arrays = {name: np.asarray(array) for name, array in scored.arrays.items()}
        directory.claim()
        write_arrays(directory.path / ARRAYS, {**arrays, "targets": np.asarray(data.test.targets)})
        result.write(directory.path / TRANSFER_FILE)
    return result


def about_of(
    record: Mapping[str, Any], backbone: Backbone, data: TaskData, settings: ProbeSettings, seconds: float
) -> dict[str, Any]:
    """Return what a result says of how its score came about.

    Args:
        record: The configuration, as results hold it.
        backbone: That was scored.
        data: The task's images and targets.
        settings: How it was probed.
        seconds: How long that took.
    """
    split = {"train": data.train.origin, "test": data.test.origin}
    return {
        "label": backbone.provenance.label,
        "backbone": backbone.describe(),
        "task": data.label,
        "folds": settings.folds,
        "probe": settings.probe,
        "protocol": settings.protocol,
        "num_train": len(data.train.images),
        "num_test": len(data.test.images),
        "overlap": data.overlap,
        "targets": data.targets.as_content(),
        "test_images": data.test_fingerprint,
        "split": split if all(split.values()) else None,
        "config": dict(record),
        "versions": versions(),
        "seed": settings.seed,
        "timings": {"total_seconds": seconds},
    }


def _outputs(data: TaskData, scored: TransferScore) -> dict[str, float]:
    if scored.metric != "r2":
        return {}
    return scores_of_outputs(scored.arrays["predictions"], data.test.targets, data.task.output_names)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as JSON has them: paths and other objects by what they are called."""
    content: dict[str, Any] = json.loads(json.dumps(dict(values), default=str))
    return content
