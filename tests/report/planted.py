"""Results with planted differences between backbones, image by image, as the measuring commands write them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from solo_invariance.bootstrap import estimate
from solo_invariance.transfer.scores import score_interval

NAMES = tuple(f"{index:04}.jpg (1000 bytes)" for index in range(400))


def scores(seed: int, count: int = 200) -> np.ndarray:
    """What makes an image easy or hard for every backbone, (N,): it varies far more than backbones differ."""
    return np.random.default_rng(seed).normal(0.5, 0.2, count).clip(-1, 1)


def common(kind: str, label: str, **backbone: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": kind,
        "label": label,
        "backbone": {
            "name": "resnet10",
            "checkpoint": f"{label}.ckpt",
            "sha256": None,
            "num_features": 128,
            **backbone,
        },
        "config": {"data": {"path": "photos"}},
        "versions": {},
        "seed": 3,
        "timings": {},
    }


def write_measured(
    folder: Path,
    label: str,
    similarities: Mapping[str, np.ndarray],
    *,
    kinds: Mapping[str, str] | None = None,
    names: Sequence[str] = NAMES,
    distances: Mapping[str, np.ndarray] | None = None,
    backbone: Mapping[str, Any] | None = None,
    arrays: bool = True,
    **changes: Any,
) -> Path:
    """Write a result of one similarity an image, by transform, with its arrays; distances are 10 (1 - s) by default."""
    transforms = {}
    for name, values in similarities.items():
        measured = {"similarity": values, "distance": (distances or {}).get(name, 10 * (1 - values))}
        kind = (kinds or {}).get(name, "spatial")
        transforms[name] = {"kind": kind, "unit": "degrees", "parameters": [0.0, 1.0], "identity": 0}
        for metric, of_each in measured.items():
            found = estimate(torch.from_numpy(of_each)[:, None], seed=3).as_dict()
            transforms[name][metric] = {**found, "curve": [found["mean"]] * 2}
        if arrays:
            folder.mkdir(parents=True, exist_ok=True)
            kept = {f"{metric}_per_image": of_each[:, None] for metric, of_each in measured.items()}
            shown = np.asarray(names[: len(values)])
            np.savez(folder / f"{name}.npz", names=shown, parameters=np.asarray([[0.0], [1.0]]), **kept)
    document = common("invariance", label, **(backbone or {})) | {
        **{"protocol": "clean", "num_images": 200, "k": 2, "transforms": transforms},
        **changes,
    }
    return _write(folder / "invariance.json", document)


def write_scored(
    folder: Path,
    label: str,
    task: str,
    predictions: np.ndarray,
    targets: np.ndarray,
    metric: str = "accuracy",
    *,
    arrays: bool = True,
    **changes: Any,
) -> Path:
    """Write the score of predictions, (N,), with its arrays."""
    score, ends = score_interval(torch.from_numpy(predictions), torch.from_numpy(targets), metric, seed=3)
    folder.mkdir(parents=True, exist_ok=True)
    if arrays:
        np.savez(folder / "transfer.npz", predictions=predictions, targets=targets)
    document = common("transfer", label) | {
        **{"task": task, "metric": metric, "score": score, "ci95": list(ends), "penalty": 0.1, "folds": 5},
        **{"probe": "ridge" if metric == "r2" else "logistic", "num_train": 100, "num_test": len(targets)},
        **{"test_images": "abc", "chance": 0.0 if metric == "r2" else 0.1},
        **changes,
    }
    return _write(folder / "transfer.json", document)


def _write(file: Path, document: dict[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document), encoding="utf-8")
    return file.parent
