import json
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs

from solo_invariance.backbones import Architecture, Backbone, InputSpec, Provenance
from solo_invariance.cli import main
from solo_invariance.processes import Processes

# Here and in what tests start: everything is small, and the tests themselves share the cores.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")

Result = TypeVar("Result")
Cli = Callable[..., tuple[int, str, str]]


_PLANNED = re.compile("(?:study|arms|seeds|evaluate|measure|transfer|fuse|pretrain|images|how|work|task|out|time) {3,}")


class _Threads(Processes):
    def __init__(self, rank: int, given: list[list[Any]], barrier: threading.Barrier) -> None:
        self.rank, self.count = rank, len(given)
        self._given, self._barrier = given, barrier

    def wait(self) -> None:
        self._barrier.wait(timeout=60)

    def gather(self, items: list[Any]) -> list[Any]:
        self._given[self.rank] = items
        self.wait()
        gathered = [item for part in self._given for item in part]
        self.wait()
        return gathered


@pytest.fixture(scope="session", autouse=True)
def _own_feature_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave the user's features alone, in fixtures that tests share, too."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SOLO_INVARIANCE_CACHE", str(tmp_path_factory.mktemp("features")))
        environment.delenv("SOLO_INVARIANCE_CACHE_GB", raising=False)
        yield


@pytest.fixture(autouse=True)
def feature_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's features."""
    folder = tmp_path_factory.mktemp("features")
    monkeypatch.setenv("SOLO_INVARIANCE_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _root_logger_as_found() -> Iterator[None]:
    """Hydra logs, where it is asked to, to the standard output of that time, which in a test is closed when it ends."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in root.handlers[:]:
        if type(handler) in (logging.StreamHandler, logging.FileHandler):  # pytest has kinds of its own
            root.removeHandler(handler)
            handler.close()


@pytest.fixture
def in_solo_learn(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let Hydra compose as in solo-learn's scripts, which have imported this module; gives its registry."""
    registry: dict[str, Any] = {}
    host = SimpleNamespace(BaseMethod=SimpleNamespace(_BACKBONES=registry))
    monkeypatch.setitem(sys.modules, "solo.methods.base", host)
    return registry


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[Processes], Result]], list[Result]]:
    """Do some work in processes that are threads, which is enough to see what they share; return what each gives."""
    # Arrays have headers that NumPy reads by `ast`, which several threads cannot use at once in Python 3.11.
    lock, read = threading.Lock(), np.lib.format.read_array

    def one_at_a_time(*arguments: object, **options: object) -> np.ndarray:
        with lock:
            return read(*arguments, **options)

    monkeypatch.setattr(np.lib.format, "read_array", one_at_a_time)

    def run(count: int, work: Callable[[Processes], Result]) -> list[Result]:
        barrier, given = threading.Barrier(count), [list[Any]() for _ in range(count)]
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(work, [_Threads(rank, given, barrier) for rank in range(count)]))

    return run


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command in this process; returns the exit code, what it printed and what it complained about."""
    monkeypatch.setenv("COLUMNS", "200")

    return _CommandLine(capfd)


class _CommandLine:
    """Runs commands; ``plan`` has what the last one said before its work, by title."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self.plan: dict[str, str] = {}

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._capfd.readouterr()
        try:
            code = main(arguments)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        out, err = self._capfd.readouterr()
        lines = err.splitlines(keepends=True)
        self.plan = {line[:10].rstrip(): line[11:].rstrip("\n") for line in lines if _PLANNED.match(line)}
        return code, out, "".join(line for line in lines if not _PLANNED.match(line))


@pytest.fixture(scope="session")
def photo() -> torch.Tensor:
    """A photograph as float (1, 3, 256, 300) in [0, 1]."""
    pixels = torch.from_numpy(photographs.astronaut()[:256, :300].copy())
    return pixels.permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six classes of JPEG cut-outs of photographs, of unequal sizes, in `train` and `val`."""
    root = tmp_path_factory.mktemp("photos")
    sources = {
        name: getattr(photographs, name)()[..., :3]
        for name in ("astronaut", "coffee", "chelsea", "rocket", "immunohistochemistry", "retina")
    }
    generator = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for name, pixels in sources.items():
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                height, width = generator.integers(60, 120, 2)
                top = generator.integers(0, pixels.shape[0] - height)
                left = generator.integers(0, pixels.shape[1] - width)
                cut = Image.fromarray(pixels[top : top + height, left : left + width])
                cut.save(root / split / name / f"{index}.jpg", quality=90)
    return root


@pytest.fixture
def tiny_backbone() -> Backbone:
    """A randomly initialised ResNet-10 of 64 features for images of 32 pixels."""
    torch.manual_seed(0)
    architecture = Architecture("resnet10", {"width": 0.125})
    return Backbone(architecture.build(), architecture, InputSpec(32), Provenance("tiny"))


@pytest.fixture
def host_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Write a checkpoint as a host does: backbone.* and other weights in state_dict, args.json beside it."""

    def write(family: str = "ventral", seed: int = 0, width: float = 0.125, args: bool = True) -> Path:
        directory = tmp_path / f"{family}-{seed}"
        directory.mkdir(exist_ok=True)
        torch.manual_seed(seed)
        network = Architecture("resnet10", {"width": width}).build()
        state = {f"backbone.{name}": value for name, value in network.state_dict().items()}
        path = directory / f"{family}-0-ep=1.ckpt"
        torch.save({"state_dict": {**state, "projector.0.weight": torch.zeros(2, 2)}, "epoch": 1}, path)
        if args:
            config = {
                "name": "a-run",
                "method": "mocov2plus",
                "backbone": {"name": "resnet10", "kwargs": {"width": width}},
                "data": {"dataset": "latent_scenes"},
                "augmentations": [{"family": family, "crop_size": 32, "num_crops": 2}],
            }
            (directory / "args.json").write_text(json.dumps(config))
        return path

    return write


@pytest.fixture(scope="session")
def solo_learn() -> Path:
    """The checkout that SOLO_LEARN_DIR names."""
    directory = os.environ.get("SOLO_LEARN_DIR")
    if not directory:
        pytest.skip("SOLO_LEARN_DIR is not set: no solo-learn checkout to run")
    return Path(directory)


def _estimate(mean: float, half_width: float = 0.02) -> dict[str, Any]:
    return {"mean": mean, "ci95": [mean - half_width, mean + half_width]}


def _transform(mean: float, kind: str = "spatial", half_width: float = 0.02, **changes: Any) -> dict[str, Any]:
    """A result of three parameters, whose distance is ten times the lack of similarity."""
    curve = [1.0, mean, 2 * mean - 1]
    distance = _estimate(10 * (1 - mean), half_width)
    return {
        "kind": kind,
        "unit": "degrees",
        "parameters": [0.0, 90.0, 180.0],
        "identity": 0,
        "similarity": {**_estimate(mean, half_width), "curve": curve},
        "distance": {**distance, "curve": [10 * (1 - value) for value in curve]},
        "similarity_without_identity": _estimate(mean - 0.1, half_width),
        **changes,
    }


def _view(mean: float, kind: str = "spatial", half_width: float = 0.02) -> dict[str, Any]:
    distance = _estimate(10 * (1 - mean), half_width)
    return {
        "kind": kind,
        "similarity": _estimate(mean, half_width),
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
def write_invariance(tmp_path: Path) -> Callable[..., Path]:
    """Write ``invariance.json`` into a directory below ``tmp_path``; keyword arguments replace its keys."""

    def write(directory: str, label: str, /, **changes: Any) -> Path:
        document = _common("invariance", label) | {"protocol": "clean", "num_images": 256, "k": 16, "transforms": {}}
        return _write_json(tmp_path / directory / "invariance.json", document | changes)

    return write


@pytest.fixture
def write_transfer(tmp_path: Path) -> Callable[..., Path]:
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
        return _write_json(tmp_path / directory / "transfer.json", document | changes)

    return write


@pytest.fixture
def make_transform() -> Callable[..., dict[str, Any]]:
    return _transform


@pytest.fixture
def make_view() -> Callable[..., dict[str, Any]]:
    return _view


def _write_json(file: Path, document: dict[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document), encoding="utf-8")
    return file
