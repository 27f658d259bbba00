"""The report of many runs: how long it takes, how much memory, and how large the page is."""

import io
import json
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rich.console import Console

from benchmarks.rows import Row, judged
from benchmarks.running import Step
from solo_invariance.commands.report_tables import print_tables
from solo_invariance.report import build_report, collect_results

_TRANSFORMS = {
    "spatial": ("rotation", "translation", "scale", "shear", "resized_crop", "h_flip", "v_flip", "deform"),
    "appearance": (
        *(
            "brightness",
            "contrast",
            "saturation",
            "hue",
            "blur",
            "sharpness",
            "posterize",
            "grayscale",
            "invert",
            "equalize",
        ),
    ),
}
_TASKS = ("shape", "hue", "position", "cifar10", "flowers102")
_K = 64
_IMAGES = 200


@dataclass(frozen=True)
class Size(Row):
    """What a report of many runs takes, and what the page's size may be.

    Args:
        what: Was reported.
        read_seconds: To read and check the result files.
        page_seconds: To make the page of them.
        terminal_seconds: To print the tables.
        page_mb: The page, in megabytes of 10^6 bytes.
        lines: That are printed, at 100 columns.
        peak_mb: The most memory that Python allocated while the page was made.
        most_mb: The largest page aimed for.
    """

    title: ClassVar[str] = "The report of many runs"
    what: str
    read_seconds: float
    page_seconds: float
    terminal_seconds: float
    page_mb: float
    lines: int
    peak_mb: float
    most_mb: float

    def met(self) -> bool:
        """Return whether the page is no larger than it may be."""
        return self.page_mb <= self.most_mb

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "what": self.what,
            "read": f"{self.read_seconds:.2f} s",
            "page": f"{self.page_seconds:.2f} s",
            "terminal": f"{self.terminal_seconds:.2f} s",
            "size": judged(f"{self.page_mb:.2f} MB", self.met()),
            "at most": f"{self.most_mb:g} MB",
            "lines": str(self.lines),
            "peak": f"{self.peak_mb:.0f} MB",
        }


def steps(quick: bool = False) -> list[Step]:
    return [
        Step(f"a report of {count} runs", seconds, partial(_report, count, most_mb))
        for count, seconds, most_mb in ((2, 2, 0.3), (20, 5, 1.5), (500, 60, 2.0))
        if not (quick and count > 100)
    ]


def write_runs(root: Path, count: int) -> None:
    """Write results of backbones of several qualities: 18 transforms with curves, and five tasks."""
    for index in range(count):
        generator = np.random.default_rng(index)
        label = f"{('default', 'ventral', 'dorsal')[index % 3]}-lr{generator.uniform(0.01, 0.9):.3f}-{index:03}"
        measured = _invariance(label, generator)
        _write(root / f"{index:03}" / "measure" / "invariance.json", measured)
        _write_arrays(root / f"{index:03}" / "measure", measured["transforms"], generator)
        for task in _TASKS:
            _write(root / f"{index:03}" / task / "transfer.json", _transfer(label, task, generator))


def _report(count: int, most_mb: float) -> Iterator[Size]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_runs(root / "runs", count)
        begin = time.perf_counter()
        results = collect_results([root / "runs"])
        read = time.perf_counter()
        console = Console(file=io.StringIO(), width=100)
        print_tables(results, console)
        printed = time.perf_counter()
        page = build_report([root / "runs"], root / "report.html")
        built = time.perf_counter()
        tracemalloc.start()
        build_report([root / "runs"], root / "report.html")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert isinstance(console.file, io.StringIO)
        yield Size(
            f"{count} runs of 18 transforms and {len(_TASKS)} tasks",
            read - begin,
            built - printed - (read - begin),
            printed - read,
            page.stat().st_size / 1e6,
            console.file.getvalue().count("\n"),
            peak / 1e6,
            most_mb,
        )


def _common(kind: str, label: str) -> dict[str, Any]:
    config = {"seed": 0, "data": {"path": "images", "num_images": 2000}, "backbone": {"checkpoint": f"{label}.ckpt"}}
    return {
        "schema": 1,
        "kind": kind,
        "label": label,
        "backbone": {
            "name": "resnet50",
            "checkpoint": f"{label}.ckpt",
            "sha256": "0" * 56 + label[-3:],
            "num_features": 2048,
        },
        "config": {**config, **{f"key_{number}": number for number in range(40)}},
        "versions": {"solo_invariance": "0.1.0", "torch": "2.5.1"},
        "seed": 0,
        "timings": {"total_seconds": 12.34},
    }


def _invariance(label: str, generator: np.random.Generator) -> dict[str, Any]:
    transforms = {
        name: _transform(kind, generator.beta(6, 3), generator) for kind, names in _TRANSFORMS.items() for name in names
    }
    return {**_common("invariance", label), "protocol": "clean", "num_images": 1000, "k": _K, "transforms": transforms}


def _transform(kind: str, mean: float, generator: np.random.Generator) -> dict[str, Any]:
    parameters = np.linspace(0, 1, _K)
    curve = np.clip(1 - 2 * (1 - mean) * parameters + generator.normal(0, 0.01, _K), -1, 1)
    half = generator.uniform(0.004, 0.012)
    return {
        "kind": kind,
        "unit": "",
        "parameters": parameters.tolist(),
        "identity": 0,
        "similarity": {"mean": mean, "ci95": [mean - half, mean + half], "curve": curve.tolist()},
        "similarity_without_identity": {"mean": mean - 0.01, "ci95": [mean - half - 0.01, mean + half - 0.01]},
        "distance": {
            "mean": 20 * (1 - mean),
            "ci95": [20 * (1 - mean - half), 20 * (1 - mean + half)],
            "curve": (20 * (1 - curve)).tolist(),
        },
    }


def _transfer(label: str, task: str, generator: np.random.Generator) -> dict[str, Any]:
    score = float(generator.beta(8, 3))
    return {
        **_common("transfer", label),
        **{"task": task, "metric": "accuracy", "score": score, "ci95": [score - 0.02, score + 0.02], "penalty": 0.1},
        **{"folds": 5, "probe": "logistic", "num_train": 2000, "num_test": 1000},
    }


def _write_arrays(folder: Path, transforms: dict[str, Any], generator: np.random.Generator) -> None:
    """Write one number an image, by which backbones are compared; what is easy is so for all of them."""
    easy = np.random.default_rng(0).normal(0, 0.05, _IMAGES)
    for name, transform in transforms.items():
        noise = generator.normal(0, 0.05, _IMAGES)
        arrays = {
            f"{metric}_per_image": (transform[metric]["mean"] + sign * (easy + noise))[:, None]
            for metric, sign in (("similarity", 1), ("distance", -20))
        }
        names = np.asarray([f"{index:04}.jpg (1000 bytes)" for index in range(_IMAGES)])
        np.savez(folder / f"{name}.npz", names=names, parameters=np.linspace(0, 1, _K)[:, None], **arrays)


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
