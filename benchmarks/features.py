"""Features: found in the cache against computed, and computed by two processes against one."""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.photographs import photograph
from benchmarks.running import Step
from benchmarks.timing import Comparison, compare
from solo_invariance.backbones import Backbone, BackboneConfig, load_backbone
from solo_invariance.data.images import ImageFiles, TensorImages
from solo_invariance.features import FeatureCache, digests_of, extract_features
from solo_invariance.features.digests import digest_of_backbone

_PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")


def steps(device: torch.device, quick: bool = False) -> list[Step]:
    return [
        Step("features found in the cache", 55 if quick else 220, partial(_cache, device, 256 if quick else 1024)),
        Step("features in two processes", 20 if quick else 270, partial(_two_processes, quick)),
    ]


def _cache(device: torch.device, count: int) -> Iterator[Comparison]:
    with tempfile.TemporaryDirectory() as folder:
        files = ImageFiles(_photographs(Path(folder) / "images", count))
        cache = FeatureCache(Path(folder) / "cache", 10**9)
        backbone = load_backbone(BackboneConfig(name="random:resnet18")).to(device)
        note = f"{count} JPEGs of 500 x 375 pixels"
        yield _hit(backbone, files, cache, note)
        yield compare(
            "features found in the cache",
            lambda: extract_features(backbone, files, cache=cache),
            "hashing files and weights alone",
            lambda: (digests_of(files), digest_of_backbone(backbone)),
            target=1 / 1.25,
            note=note,
            items=count,
        )


def _hit(backbone: Backbone, files: ImageFiles, cache: FeatureCache, note: str) -> Comparison:
    return compare(
        "features found in the cache",
        lambda: extract_features(backbone, files, cache=cache),
        "computed again",
        lambda: extract_features(backbone, files),
        target=10,
        note=f"ResNet-18 at 224 px, {note}",
        items=len(files),
    )


def _photographs(folder: Path, count: int) -> Path:
    """Write cut-outs of photographs, no two of them the same."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(count):
        pixels = photograph(_PHOTOGRAPHS[index % len(_PHOTOGRAPHS)])
        top, left = (int(generator.integers(0, side - 200)) for side in pixels.shape[:2])
        cut = Image.fromarray(pixels[top : top + 200, left : left + 267])
        cut.resize((500, 375)).save(folder / f"{index:04}.jpg", quality=92)
    return folder


def _two_processes(quick: bool) -> Iterator[Comparison]:
    """Time processes that are given the same work and a folder for their features, once they have started."""
    count = 4096 if quick else 16384
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(1 if quick else 5):
        for processes, found in seconds.items():
            found.append(_together(processes, count))
    ratios = [one / two for one, two in zip(*seconds.values(), strict=True)]
    yield Comparison(
        "features in two processes",
        "in one",
        statistics.median(seconds[2]),
        statistics.median(seconds[1]),
        statistics.median(ratios),
        (min(ratios), max(ratios)),
        1.7,
        f"ResNet-10, {count} images of 64 px in memory, one thread a process, through an empty cache",
        count / statistics.median(seconds[2]),
        count / statistics.median(seconds[1]),
    )


def _together(processes: int, count: int) -> float:
    """Return the seconds until the last of some processes has the features of all images."""
    context = multiprocessing.get_context("spawn")
    barrier, seconds = context.Barrier(processes), context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        arguments = (Path(folder), count, barrier, seconds)
        started = [context.Process(target=_extract, args=arguments) for _ in range(processes)]
        for process in started:
            process.start()
        for process in started:
            process.join()
        assert all(process.exitcode == 0 for process in started)
        return max(seconds.get() for _ in started)


def _extract(folder: Path, count: int, barrier: Any, seconds: Any) -> None:
    torch.set_num_threads(1)
    backbone = load_backbone(BackboneConfig(name="random:resnet10", crop_size=64))
    generator = torch.Generator().manual_seed(0)
    images = TensorImages(torch.randint(256, (count, 3, 64, 64), dtype=torch.uint8, generator=generator))
    extract_features(backbone, TensorImages(images.images[:64]))
    barrier.wait()
    started = time.perf_counter()
    extract_features(backbone, images, cache=FeatureCache(folder, 10**9))
    seconds.put(time.perf_counter() - started)
