import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Write = Callable[..., Path]


def estimate(mean: float, half_width: float = 0.02) -> dict[str, Any]:
    return {"mean": mean, "ci95": [mean - half_width, mean + half_width]}


def transform(mean: float, kind: str = "spatial", half_width: float = 0.02, **changes: Any) -> dict[str, Any]:
    """A result of three parameters, whose distance is ten times the lack of similarity."""
    curve = [1.0, mean, 2 * mean - 1]
    distance = estimate(10 * (1 - mean), half_width)
    return {
        "kind": kind,
        "unit": "degrees",
        "parameters": [0.0, 90.0, 180.0],
        "identity": 0,
        "similarity": {**estimate(mean, half_width), "curve": curve},
        "distance": {**distance, "curve": [10 * (1 - value) for value in curve]},
        "similarity_without_identity": estimate(mean - 0.1, half_width),
        **changes,
    }


def view(mean: float, kind: str = "spatial", half_width: float = 0.02) -> dict[str, Any]:
    distance = estimate(10 * (1 - mean), half_width)
    return {
        "kind": kind,
        "similarity": estimate(mean, half_width),
        "distance": distance,
        "num_groups": 64,
        "num_views": 8,
    }


def _common(kind: str, label: str) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": kind,
        "label": label,
        "backbone": {"name": "resnet10", "checkpoint": f"{label}.ckpt", "sha256": None, "num_features": 128},
        "config": {"seed": 7, "data": {"path": "images"}},
        "versions": {"solo_invariance": "0.1.0", "torch": "2.4.0"},
        "seed": 7,
        "timings": {"total_seconds": 12.34},
    }


@pytest.fixture
def write_invariance(tmp_path: Path) -> Write:
    """Write ``invariance.json`` into a directory below ``tmp_path``; keyword arguments replace its keys."""

    def write(directory: str, label: str, /, **changes: Any) -> Path:
        document = _common("invariance", label) | {"protocol": "clean", "num_images": 256, "k": 16, "transforms": {}}
        return _write(tmp_path / directory / "invariance.json", document | changes)

    return write


@pytest.fixture
def write_transfer(tmp_path: Path) -> Write:
    """Write ``transfer.json`` into a directory below ``tmp_path``; keyword arguments replace its keys."""

    def write(directory: str, label: str, /, task: str, score: float, half_width: float = 0.02, **changes: Any) -> Path:
        document = _common("transfer", label) | {
            "task": task,
            "metric": "accuracy",
            "score": score,
            "ci95": [score - half_width, score + half_width],
            "penalty": 0.01,
            "folds": 5,
            "probe": "logistic",
            "num_train": 1000,
            "num_test": 500,
        }
        return _write(tmp_path / directory / "transfer.json", document | changes)

    return write


@pytest.fixture
def paper_runs(tmp_path: Path, write_invariance: Write, write_transfer: Write) -> Path:
    """Ventral, dorsal and their fusion, measured on four transforms and two view sets and scored on two tasks."""
    similarities = {"ventral": (0.8, 0.3), "dorsal": (0.2, 0.9), "ventral+dorsal": (0.5, 0.6)}
    for label, (spatial, appearance) in similarities.items():
        write_invariance(
            f"runs/{label}/measure",
            label,
            transforms={
                "rotation": transform(spatial),
                "resized_crop": transform(spatial - 0.1),
                "hue": transform(appearance, "appearance", unit="turns"),
                "blur": transform(appearance - 0.1, "appearance", unit="pixels"),
            },
            views={"pose": view(spatial - 0.05), "light_hue": view(appearance - 0.05, "appearance")},
        )
    for label, score in {"ventral": 0.7, "dorsal": 0.9, "ventral+dorsal": 0.91}.items():
        write_transfer(f"runs/{label}/shape", label, "shape", score)
    for label, score in {"ventral": 0.6, "dorsal": 0.1, "ventral+dorsal": 0.65}.items():
        write_transfer(f"runs/{label}/object_hue", label, "object_hue", score, metric="r2", probe="ridge")
    return tmp_path / "runs"


@pytest.fixture
def make_transform() -> Callable[..., dict[str, Any]]:
    return transform


@pytest.fixture
def make_view() -> Callable[..., dict[str, Any]]:
    return view


def _write(file: Path, document: dict[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document), encoding="utf-8")
    return file
