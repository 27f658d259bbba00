"""The cost of measuring: over the forward passes alone, with a budget, in memory, and with several processes."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.photographs import photograph
from benchmarks.rows import Row, judged
from benchmarks.timing import Comparison, compare
from solo_invariance.backbones import Backbone, BackboneConfig, load_backbone
from solo_invariance.data.images import ImageFiles
from solo_invariance.data.latent_scenes.dataset import LatentScenes
from solo_invariance.measure import (
    Geometry,
    InvarianceMeasurement,
    MeasureSettings,
    Transform,
    estimate,
)
from solo_invariance.measure.loop.adaptive import first_rows, next_rows
from solo_invariance.measure.loop.sampling import AdaptiveSampling
from solo_invariance.measure.loop.summary import post_stratified
from solo_invariance.plugins import discover, load_plugin

_PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")
_REPETITIONS = 400


def run(device: torch.device, quick: bool = False) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        images = _cut_outs(Path(folder), 96)
        yield from _against_the_floor(images, device, quick)
        yield from _precisions(images, device)
    yield from _budgets(device, quick)
    yield from _memory(quick)
    yield _two_processes(quick)
    yield compare(
        "render 200 LatentScenes",
        lambda: LatentScenes(200, size=64).images,
        "two seconds (100 images a second)",
        lambda: __import__("time").sleep(2),
        target=1.0,
        note="64 px",
    )


def _cut_outs(folder: Path, count: int) -> Path:
    """Write JPEG cut-outs of photographs, 375 pixels high, of different widths."""
    generator = np.random.default_rng(0)
    for index in range(count):
        pixels = photograph(_PHOTOGRAPHS[index % len(_PHOTOGRAPHS)])
        height, width = (int(generator.integers(side // 2, side + 1)) for side in pixels.shape[:2])
        top, left = (
            int(generator.integers(0, side - cut + 1)) for side, cut in zip(pixels.shape, (height, width), strict=False)
        )
        cut = Image.fromarray(pixels[top : top + height, left : left + width])
        cut.resize((round(375 * width / height), 375)).save(folder / f"{index:03}.jpg", quality=92)
    return folder


def _transforms() -> dict[str, Transform]:
    return {plugin.name: load_plugin("transforms", plugin.name) for plugin in discover("transforms")}


def _against_the_floor(folder: Path, device: torch.device, quick: bool) -> Iterator[Comparison]:
    """Time whole measurements, from files to intervals, against as many forward passes on ready tensors."""
    for name in ("resnet18",) if quick else ("resnet18", "resnet50"):
        count, k = (512, 256) if device.type == "cuda" else (2, 16 if name == "resnet18" else 8)
        backbone = load_backbone(BackboneConfig(name=f"random:{name}")).to(device)
        settings = MeasureSettings(k=k, num_images=count)
        source = ImageFiles(folder, settings.geometry.resize)
        measurement = InvarianceMeasurement(backbone, source, settings)
        transforms = _transforms()
        views = count * (1 + sum(len(t.grid(k, settings.geometry, "clean")) for t in transforms.values()))
        ready = torch.rand(measurement.stream.batch_size, 3, 224, 224, device=device)
        yield compare(
            f"measure 18 transforms, {name}",
            lambda m=measurement, t=transforms, s=source: m.measure(t, s),  # type: ignore[misc]
            "the forward passes alone",
            lambda b=backbone, r=ready, v=views: _forward(b, r, v),  # type: ignore[misc]
            pairs=3 if quick else 5,
            target=1 / 1.10,
            note=f"{count} JPEGs x k={k}, 224 px",
            items=views,
        )


@torch.inference_mode()
def _forward(backbone: Backbone, ready: Tensor, views: int) -> None:
    for part in [len(ready)] * (views // len(ready)) + [views % len(ready)]:
        if part:
            backbone(ready[:part])


@dataclass(frozen=True)
class PrecisionEffect(Row):
    """What half precision and compilation do to the numbers, and to the time of a forward pass.

    Args:
        option: What was changed.
        difference: Largest difference of a transform's mean similarity.
        interval: Half the mean width of its 95 % interval, to compare with.
    """

    title: ClassVar[str] = "What options of speed do to the similarities (18 transforms)"
    option: str
    difference: float
    interval: float

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "option": self.option,
            "largest difference": f"{self.difference:.5f}",
            "half a 95 % interval": f"{self.interval:.3f}",
        }


def _precisions(folder: Path, device: torch.device) -> Iterator[PrecisionEffect]:
    backbone = load_backbone(BackboneConfig(name="random:resnet18", crop_size=96)).to(device)
    settings = MeasureSettings(k=4, num_images=16, geometry=Geometry(110, 96), batch_size=32)
    source = ImageFiles(folder, settings.geometry.resize)
    numbers = _similarities(backbone, source, settings)
    half_width = float(np.mean([(high - low) / 2 for _, low, high in numbers.values()]))
    options: dict[str, dict[str, Any]] = {"precision=bf16": {"precision": "bf16"}, "compile=true": {"compiled": True}}
    if device.type == "cuda":
        options["precision=fp16"] = {"precision": "fp16"}
    for option, changes in options.items():
        changed = _similarities(backbone, source, replace(settings, **changes))
        yield PrecisionEffect(option, max(abs(changed[n][0] - numbers[n][0]) for n in numbers), half_width)


def _similarities(backbone: Backbone, source: ImageFiles, settings: MeasureSettings) -> dict[str, tuple[float, ...]]:
    measured = InvarianceMeasurement(backbone, source, settings).measure(_transforms(), source)[""]
    similarities = {name: one.summary["similarity"] for name, one in measured.items()}
    return {name: (one["mean"], *one["ci95"]) for name, one in similarities.items()}


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

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        ratio = self.full_passes / self.passes
        return {
            "transform": self.transform,
            "standard error": f"{self.standard_error:.4f}",
            "passes, full": str(self.full_passes),
            "adaptive": f"{self.passes:.0f}",
            "ratio": judged(f"{ratio:.1f}", ratio >= 10),
            "coverage": judged(f"{self.coverage:.3f}", self.coverage >= 0.95),
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
            peak = _measure(*arguments, f"out={folder}/out{count}")["megabytes"]
            growth = None if before is None else 1000 * (peak - before[1]) / (count - before[0])
            yield Memory(count, peak, growth)
            before = count, peak


def _many(folder: Path, count: int) -> None:
    pixels = LatentScenes(64, size=64).images.permute(0, 2, 3, 1).numpy()
    for index in range(count):
        Image.fromarray(pixels[index % 64]).save(folder / f"{index:05}.png")


def _two_processes(quick: bool) -> Comparison:
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
                _measure(*shared, f"devices={processes}", f"out={out}")
                found.append(json.loads(Path(out, "invariance.json").read_text())["timings"]["total_seconds"])
    ratios = [one / two for one, two in zip(*seconds.values(), strict=True)]
    return Comparison(
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
    command = ["measure", "backbone.name=random:resnet10", "backbone.crop_size=64", "device=cpu", *arguments]
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
