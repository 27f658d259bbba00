"""The cost of measuring: over the forward passes alone, with a budget, in memory, and with several processes."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.floor import Subject, against_passes, cut_outs
from benchmarks.listing import write_small_files
from benchmarks.rows import Row, Unmeasured, judged
from benchmarks.running import Step
from benchmarks.timing import Comparison, compare
from solo_invariance.backbones import BackboneConfig, load_backbone
from solo_invariance.data.latent_scenes.dataset import LatentScenes
from solo_invariance.measure import (
    Geometry,
    InvarianceMeasurement,
    MeasureSettings,
    estimate,
)
from solo_invariance.measure.loop.adaptive import first_rows, next_rows
from solo_invariance.measure.loop.sampling import AdaptiveSampling
from solo_invariance.measure.loop.summary import post_stratified
from solo_invariance.plugins import load_plugin

_REPETITIONS = 400
_NETWORK = ("backbone.name=random:resnet10", "backbone.crop_size=64")
# bf16 has 8 bits, and a random network's features of like images are near each other.
_BF16_LIMIT, _LIMIT = 0.1, 0.01


def steps(device: torch.device, quick: bool = False) -> list[Step]:
    # On a CPU a run of two images, of which there are at least so many, takes longer than is asked for here.
    k, seconds = (64, 3.0) if device.type == "cuda" else (8, 1.0)
    pairs, cost = (3, 80) if quick else (5, 160)
    over_passes = partial(against_passes, device, size=224, k=k, seconds=seconds, pairs=pairs, target=1.10)
    return [
        *(
            Step(f"{network} over its forward passes", cost, partial(over_passes, network=network))
            for network in ("resnet50", "resnet18")[1 if quick else 0 :]
        ),
        Step("budget=adaptive against budget=full", 30 if quick else 90, partial(_budgets, device, quick)),
        Step("two processes against one", 40 if quick else 200, partial(_two_processes, quick)),
        Step("memory by the number of images", 30 if quick else 90, partial(_memory, quick)),
        Step("very many images", 40 if quick else 400, partial(_very_many, quick)),
        Step("half precision and compilation", 60, partial(precisions, device), checks=True),
        Step("rendering of LatentScenes", 15, _rendering),
    ]


def _rendering() -> Iterator[Row]:
    yield compare(
        "render 200 LatentScenes",
        lambda: LatentScenes(200, size=64).images,
        "two seconds (100 images a second)",
        lambda: time.sleep(2),
        target=1.0,
        note="64 px",
    )


@dataclass(frozen=True)
class PrecisionEffect(Row):
    """What half precision and compilation do to the numbers, and to the time of a forward pass.

    Args:
        option: What was changed.
        difference: Largest difference of a transform's mean similarity.
        interval: Half the mean width of its 95 % interval, to compare with.
        limit: The largest difference that is rounding.
    """

    title: ClassVar[str] = "What options of speed do to the similarities (18 transforms)"
    is_check: ClassVar[bool] = True
    option: str
    difference: float
    interval: float
    limit: float

    def met(self) -> bool:
        """Return whether the difference is rounding."""
        return self.difference <= self.limit

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "option": self.option,
            "largest difference": judged(f"{self.difference:.5f}", self.met()),
            "limit": f"{self.limit:.2f}",
            "half a 95 % interval": f"{self.interval:.3f}",
        }


def precisions(device: torch.device, size: int = 96, count: int = 16, compiled: bool = True) -> Iterator[Row]:
    options: dict[str, dict[str, Any]] = {"precision=bf16": {"precision": "bf16"}}
    if device.type == "cuda":
        options["precision=fp16"] = {"precision": "fp16"}
    if compiled:
        options["compile=true"] = {"compiled": True}
    else:
        yield Unmeasured("compile=true", "left out: compiling takes too long here", wrong=False)
    with tempfile.TemporaryDirectory() as folder:
        cut_outs(Path(folder), count)
        numbers = Subject(Path(folder), device, "resnet18", size, 4, batch_size=32).measure()
        half_width = float(np.mean([(high - low) / 2 for _, low, high in numbers.values()]))
        for option, changes in options.items():
            changed = Subject(Path(folder), device, "resnet18", size, 4, batch_size=32, **changes).measure()
            difference = max(abs(changed[n][0] - numbers[n][0]) for n in numbers)
            yield PrecisionEffect(option, difference, half_width, _BF16_LIMIT if "bf16" in option else _LIMIT)


@dataclass(frozen=True)
class BudgetRow(Row):
    """The adaptive budget against the full one, at the same standard error of the mean.

    Args:
        transform: What was measured.
        standard_error: Of the full budget, and asked of the adaptive one.
        full_passes: Forward passes of the full budget.
        passes: Of the adaptive one, the mean over repetitions.
        coverage: How often, over repetitions, its 95 % interval holds the full value of all images.
        note: Sizes.
    """

    title: ClassVar[str] = "budget=adaptive against budget=full at the same standard error"
    transform: str
    standard_error: float
    full_passes: int
    passes: float
    coverage: float
    note: str

    def met(self) -> bool:
        """Return whether it takes few enough passes and its interval covers."""
        return self._few_passes() and self._covers()

    def _few_passes(self) -> bool:
        return self.full_passes / self.passes >= 10

    def _covers(self) -> bool:
        return self.coverage >= 0.95

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "transform": self.transform,
            "standard error": f"{self.standard_error:.4f}",
            "passes, full": str(self.full_passes),
            "adaptive": f"{self.passes:.0f}",
            "ratio": judged(f"{self.full_passes / self.passes:.1f}", self._few_passes()),
            "coverage": judged(f"{self.coverage:.3f}", self._covers()),
            "note": self.note,
        }


def _budgets(device: torch.device, quick: bool) -> Iterator[BudgetRow]:
    """Measure every parameter on every image once, and let the adaptive budget draw from that again and again.

    The full budget is that of half the images; its standard error is what the adaptive budget is asked for, which may
    draw from all of them. The value to be covered is that of all images at all parameters.
    """
    count, k = (120, 64) if quick else (300, 256)
    backbone = load_backbone(BackboneConfig(name="random:resnet10", crop_size=32, kwargs={"width": 0.125})).to(device)
    settings = MeasureSettings(k=k, num_images=count, geometry=Geometry(37, 32), batch_size=256)
    source = _embedded(count, 37)
    measurement = InvarianceMeasurement(backbone, source, settings)
    names = ("rotation", "hue", "brightness", "resized_crop")
    for name in names:
        transform = load_plugin("transforms", name)
        values = torch.from_numpy(measurement.measure_transform(name, transform, source).arrays["similarity"]).double()
        identity = transform.identity(transform.grid(k, settings.geometry, "clean"))
        yield _simulate(name, values, identity)


def _embedded(count: int, size: int) -> Any:
    from solo_invariance.data.images import TensorImages

    return TensorImages(LatentScenes(count, size=64).images, size)


def _simulate(name: str, values: Tensor, identity: int | None) -> BudgetRow:
    """Repeat the adaptive budget on scores (images, parameters) that are all known."""
    images, parameters = values.shape
    others = [index for index in range(parameters) if index != identity]
    truth = float(values[:, others].mean())
    half = values[: images // 2, others].mean(dim=1)
    target = float(half.std() / len(half) ** 0.5)
    passes, covered = [], 0
    for seed in range(_REPETITIONS):
        rows, (low, high) = _adaptive(values, identity, target, seed)
        passes.append(rows)
        covered += low <= truth <= high
    return BudgetRow(
        name,
        target,
        (images // 2) * (parameters + 1),
        float(np.mean(passes)),
        covered / _REPETITIONS,
        f"{images} images x {parameters}, {_REPETITIONS} repetitions",
    )


def _adaptive(values: Tensor, identity: int | None, target: float, seed: int) -> tuple[int, tuple[float, float]]:
    """Return the forward passes of one adaptive measurement, clean images included, and its interval."""
    images, parameters = values.shape
    design = AdaptiveSampling(parameters, identity, seed)
    order = np.random.default_rng(seed).permutation(images)
    rows: int | None = first_rows(design.rows_to_cover)
    while rows is not None:
        done = rows
        items = np.arange(done) % images
        chosen = torch.stack([design.parameters(row) for row in range(done)])
        terms = values[torch.from_numpy(order[items])[:, None], chosen][..., None]
        scores = terms.mean(dim=1)[:, 0]
        if design.strata is not None:
            even = design.weights(torch.arange(parameters)[None], count_identity=False)[0]
            weights = torch.full(chosen.shape, 1 / design.num_views, dtype=torch.float64)
            scores = post_stratified(terms, weights, design.strata[chosen], even, design.strata)[:, 0]
        rows = next_rows(done, scores.numpy(), items, images, target, design.rows_to_cover // 2)
    means = np.bincount(items, scores.numpy()) / np.bincount(items)
    found = estimate(torch.from_numpy(means)[:, None], seed=seed, resamples=1000)
    return done * design.num_views + len(np.unique(items)), (found.low, found.high)


@dataclass(frozen=True)
class Memory(Row):
    """The most memory that a measurement took, by its number of images.

    Args:
        images: Measured, and used as reference.
        megabytes: Largest resident set of the process.
        growth: Over the row before, in kilobytes an image; a feature vector of it has so many.
    """

    title: ClassVar[str] = "Memory of a measurement (ResNet-10, embedded photographs, whole process)"
    images: int
    megabytes: float
    growth: float | None

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "images": str(self.images),
            "MB": f"{self.megabytes:.0f}",
            "kB more an image": "" if self.growth is None else f"{self.growth:.1f}",
        }


def _memory(quick: bool) -> Iterator[Memory]:
    before: tuple[int, float] | None = None
    with tempfile.TemporaryDirectory() as folder:
        for count in (100, 400) if quick else (200, 800, 3200):
            images = Path(folder) / f"images{count}"
            images.mkdir()
            _many(images, count)
            arguments = (f"data.path={images}", f"num_images={count}", "transforms=[h_flip,posterize]", "k=8")
            peak = _measure(*_NETWORK, *arguments, f"out={folder}/out{count}")["megabytes"]
            growth = None if before is None else 1000 * (peak - before[1]) / (count - before[0])
            yield Memory(count, peak, growth)
            before = count, peak


@dataclass(frozen=True)
class VeryMany(Memory):
    """A measurement of very many small images with a small network, whose features take half a kilobyte.

    Args:
        seconds: From the command to its end, imports, listing and hashing among them.
    """

    title: ClassVar[str] = (
        "Very many images (a quarter of ResNet-10's width, 32 px, h_flip and rotation, k=4, one thread)"
    )
    seconds: float

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        speed = {"seconds": f"{self.seconds:.0f}", "images a second": f"{self.images / self.seconds:.0f}"}
        return super().cells() | speed


def _very_many(quick: bool) -> Iterator[VeryMany]:
    before: tuple[int, float] | None = None
    for count in (500, 2_000) if quick else (10_000, 100_000):
        with tempfile.TemporaryDirectory() as folder:
            write_small_files(Path(folder) / "images", count)
            network = ("backbone.name=random:resnet10w025", "backbone.crop_size=32", "batch_size=256")
            arguments = (f"data.path={folder}/images", f"num_images={count}", "transforms=[h_flip,rotation]", "k=4")
            started = time.perf_counter()
            peak = _measure(*network, *arguments, f"out={folder}/out")["megabytes"]
            seconds = time.perf_counter() - started
            growth = None if before is None else 1000 * (peak - before[1]) / (count - before[0])
            yield VeryMany(count, peak, growth, seconds)
            before = count, peak


def _many(folder: Path, count: int) -> None:
    pixels = LatentScenes(64, size=64).images.permute(0, 2, 3, 1).numpy()
    for index in range(count):
        Image.fromarray(pixels[index % 64]).save(folder / f"{index:05}.png")


def _two_processes(quick: bool) -> Iterator[Comparison]:
    """Time the measuring itself, from images to results, with one thread a process; not how processes start."""
    count = 40 if quick else 160
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        _many(images, count)
        shared = (f"data.path={images}", f"num_images={count}", "transforms=[rotation,hue,brightness]", "k=32")
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for pair in range(1 if quick else 3):
            for processes, found in seconds.items():
                out = f"{folder}/{pair}-{processes}"
                _measure(*_NETWORK, *shared, f"devices={processes}", f"out={out}")
                found.append(json.loads(Path(out, "invariance.json").read_text())["timings"]["total_seconds"])
    ratios = [one / two for one, two in zip(*seconds.values(), strict=True)]
    yield Comparison(
        "measure in two processes",
        "in one",
        float(np.median(seconds[2])),
        float(np.median(seconds[1])),
        float(np.median(ratios)),
        (min(ratios), max(ratios)),
        1.7,
        f"{count} images x 96 views, one thread a process, once they have started",
    )


_SCRIPT = """
import json, resource, sys
from solo_invariance.cli import main
if __name__ == "__main__":
    code = main(sys.argv[1:])
    print(json.dumps({"code": code, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}))
"""


def _measure(*arguments: str) -> dict[str, Any]:
    """Run the measuring command in a process of its own; return its exit code and largest memory."""
    command = ["measure", "device=cpu", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "measure.py"  # a file, which started processes can import
        script.write_text(_SCRIPT)
        done = subprocess.run(
            [sys.executable, str(script), *command],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["code"] == 0, done.stderr
    return result
