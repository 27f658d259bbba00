"""Measuring over its floor, the backbone's forward passes alone on ready tensors, and what limits it."""

import os
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.photographs import photograph
from benchmarks.rows import Row, judged
from benchmarks.timing import compare, in_turns
from solo_invariance.backbones import BackboneConfig, load_backbone
from solo_invariance.data.images import ImageFiles
from solo_invariance.data.reading import read_ahead
from solo_invariance.measure import Geometry, InvarianceMeasurement, MeasureSettings, Transform
from solo_invariance.plugins import discover, load_plugin

_PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")
_MOST_IMAGES = 256


def cut_outs(folder: Path, count: int) -> Path:
    """Write JPEG cut-outs of photographs, 375 pixels high, of different widths, as many as are not there yet."""
    generator = np.random.default_rng(0)
    for index in range(count):
        pixels = photograph(_PHOTOGRAPHS[index % len(_PHOTOGRAPHS)])
        height, width = (int(generator.integers(side // 2, side + 1)) for side in pixels.shape[:2])
        top, left = (
            int(generator.integers(0, side - cut + 1)) for side, cut in zip(pixels.shape, (height, width), strict=False)
        )
        if not (path := folder / f"{index:03}.jpg").exists():
            cut = Image.fromarray(pixels[top : top + height, left : left + width])
            cut.resize((round(375 * width / height), 375)).save(path, quality=92)
    return folder


def all_transforms() -> dict[str, Transform]:
    return {plugin.name: load_plugin("transforms", plugin.name) for plugin in discover("transforms")}


class Subject:
    """A random backbone and a folder of images to measure it on. What is known here of measuring is in this class.

    Args:
        folder: Of the images, all of which are measured and the reference.
        device: To compute on.
        network: Name of the architecture.
        size: Side of what the backbone sees, in pixels.
        k: Number of parameters, where a transform has a choice.
        options: Other settings of the measurement.
    """

    def __init__(self, folder: Path, device: torch.device, network: str, size: int, k: int, **options: Any) -> None:
        self.backbone = load_backbone(BackboneConfig(name=f"random:{network}", crop_size=size)).to(device)
        self.device, self.k, self.geometry = device, k, Geometry(round(size * 8 / 7), size)
        self.source = ImageFiles(folder, self.geometry.resize)
        self.settings = MeasureSettings(k=k, num_images=len(self.source), geometry=self.geometry, **options)
        self.transforms = all_transforms()
        self.measurement = InvarianceMeasurement(self.backbone, self.source, self.settings)
        self.batch_size = self.measurement.stream.batch_size

    @property
    def views_an_image(self) -> int:
        """How many views are made of an image, the clean one included."""
        return 1 + sum(len(transform.grid(self.k, self.geometry, "clean")) for transform in self.transforms.values())

    def measure(self) -> dict[str, tuple[float, float, float]]:
        """Measure all transforms; return the mean similarities and their 95 % intervals."""
        measured = self.measurement.measure(self.transforms, self.source)[""]
        found = {name: one.summary["similarity"] for name, one in measured.items()}
        return {name: (one["mean"], *one["ci95"]) for name, one in found.items()}

    def ready(self) -> Tensor:
        """Return a batch of views, as the backbone takes them."""
        return torch.rand(self.batch_size, 3, self.geometry.crop_size, self.geometry.crop_size, device=self.device)

    def passes(self, ready: Tensor, views: int) -> None:
        """Compute the features of as many views, in the precision of the measurement."""
        for part in [len(ready)] * (views // len(ready)) + [views % len(ready)]:
            if part:
                self.measurement.stream.features(ready[:part])

    @torch.inference_mode()
    def make_views(self, image: Tensor) -> None:
        """Make all views of an image (3, H, W), on the device and in [0, 1], a batch at a time."""
        for transform in self.transforms.values():
            for some in transform.grid(self.k, self.geometry, "clean").split(self.batch_size):
                transform.apply(image.expand(len(some), *image.shape), some, self.geometry)

    def read(self, threads: int) -> None:
        """Decode and resize all images."""
        for _ in read_ahead(self.source, torch.arange(len(self.source)).split(32), threads):
            pass


def against_passes(
    device: torch.device,
    network: str,
    size: int,
    k: int,
    seconds: float,
    pairs: int,
    target: float,
    precision: str = "fp32",
    stages: bool = False,
) -> Iterator[Row]:
    """Time whole measurements, from files to intervals, against as many forward passes on ready tensors.

    Args:
        device: To compute on.
        network: Name of the architecture.
        size: Side of what the backbone sees, in pixels.
        k: Number of parameters, where a transform has a choice.
        seconds: About how long one run is to take; it is of two images at least.
        pairs: How often each is run.
        target: The most times the passes' time.
        precision: Of the passes.
        stages: Say what limits the measurement, too.
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = Subject(cut_outs(Path(folder), 2), device, network, size, k, precision=precision)
        ready = trial.ready()
        ((alone,),) = in_turns([lambda: trial.passes(ready, len(ready))], 1)
        count = min(_MOST_IMAGES, max(4, round(seconds * len(ready) / alone / trial.views_an_image)))
        subject = Subject(cut_outs(Path(folder), count), device, network, size, k, precision=precision)
        views = count * subject.views_an_image
        comparison = compare(
            f"measure 18 transforms, {network}, {precision}",
            subject.measure,
            "the forward passes alone",
            lambda: subject.passes(ready, views),
            pairs=pairs,
            target=1 / target,
            note=f"{count} JPEGs x k={k}, {size} px",
            items=views,
        )
        yield comparison
        if stages:
            yield _stages(subject, views / comparison.seconds, views / comparison.peer_seconds)


@dataclass(frozen=True)
class Throughput(Row):
    """What each stage of measuring alone gets through, in views a second.

    Args:
        what: Is measured.
        whole: Views a second of the measurement.
        passes: Of the forward passes alone.
        transforms: Of the transforms alone.
        images: Images that are decoded and resized a second, by as many threads as by default.
        images_all_cores: Likewise, by as many threads as there are cores.
        views_an_image: That an image is good for.
        target: What decoding and transforms are to feed, in views a second.
    """

    title: ClassVar[str] = "What limits measuring: views a second of each stage alone"
    what: str
    whole: float
    passes: float
    transforms: float
    images: float
    images_all_cores: float
    views_an_image: int
    target: float = 8000

    @property
    def limit(self) -> str:
        """The slowest stage."""
        stages = {
            "passes": self.passes,
            "transforms": self.transforms,
            "decoding": self.images * self.views_an_image,
        }
        return min(stages, key=stages.__getitem__)

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain data, with what limits."""
        return {**super().as_dict(), "limit": self.limit}

    def met(self) -> bool:
        """Return whether decoding and transforms feed what they are to."""
        return min(self.transforms, self.images * self.views_an_image) >= self.target

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "what": self.what,
            "whole": f"{self.whole:.0f}",
            "passes": f"{self.passes:.0f}",
            "transforms": f"{self.transforms:.0f}",
            "decoding": f"{self.images * self.views_an_image:.0f}",
            "limit": judged(self.limit, self.met()),
            "images decoded a second": f"{self.images:.0f}",
            "on all cores": f"{self.images_all_cores:.0f}",
            "views an image": str(self.views_an_image),
        }


def _stages(subject: Subject, whole: float, passes: float) -> Throughput:
    image = subject.source[0].to(subject.device).float().div(255)  # type: ignore[union-attr]
    threads, count = subject.settings.reading.num_workers, len(subject.source)
    times = in_turns(
        [lambda: subject.make_views(image), lambda: subject.read(threads), lambda: subject.read(os.cpu_count() or 1)], 3
    )
    making, reading, reading_all = (statistics.median(seconds) for seconds in times)
    return Throughput(
        f"measure 18 transforms, {subject.settings.precision}, k={subject.k}, {subject.geometry.crop_size} px",
        whole,
        passes,
        (subject.views_an_image - 1) / making,
        count / reading,
        count / reading_all,
        subject.views_an_image,
    )
