"""Whether a device gives the CPU's numbers: families by the same parameters, measuring, probes and neighbours."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.families import FAMILIES, always
from benchmarks.floor import Subject, cut_outs
from benchmarks.photographs import canvases_of
from benchmarks.probing import Problem, classes, latents, numbers
from benchmarks.rows import Check, Row, Unmeasured
from benchmarks.timing import compare
from solo_invariance.families import OPERATIONS, Family, default_canvas_size
from solo_invariance.transfer.probes.kernel_ridge import KernelRidgeProbe
from solo_invariance.transfer.probes.logistic import LogisticProbe
from solo_invariance.transfer.probes.nearest_neighbours import KNNProbe
from solo_invariance.transfer.probes.ridge import RidgeProbe

_CPU = torch.device("cpu")


def families(device: torch.device, batch: int, size: int) -> Iterator[Check]:
    """Every family, as it is and under autocast, and every operation alone, by the same parameters."""
    canvases = canvases_of(batch, default_canvas_size(size), _CPU)
    for family in FAMILIES:
        yield _views(f"family {family.name}", family, canvases, size, device)
    yield _views("family default, autocast", FAMILIES[0], canvases, size, device, autocast=True)
    for name in OPERATIONS:
        yield _views(f"operation {name}", always(name), canvases, size, device)


def _views(
    what: str, family: Family, canvases: Tensor, size: int, device: torch.device, autocast: bool = False
) -> Check:
    """Compare all but one value in a thousand: a colour at a threshold may fall on either side of it."""
    parameters = family.draw(len(canvases), torch.Generator().manual_seed(0))
    here = family.apply(canvases, parameters, size)
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        there = family.apply(canvases.to(device), parameters, size).cpu()
    off = (there - here).abs().flatten()
    near = float(off.quantile(0.999))
    note = f"99.9 % of the values, in [0, 1]; the worst is off by {float(off.max()):.1e}"
    return Check(what, "the CPU's views", near if torch.isfinite(there).all() else float("inf"), 1e-3, note)


def measuring(device: torch.device, count: int, size: int, k: int) -> Iterator[Check]:
    """The mean similarities to all transforms, in float32 throughout and as the device computes by default."""
    with tempfile.TemporaryDirectory() as folder:
        cut_outs(Path(folder), count)

        def similarities(on: torch.device) -> dict[str, float]:
            measured = Subject(Path(folder), on, "resnet18", size, k).measure()
            return {name: mean for name, (mean, _, _) in measured.items()}

        here = similarities(_CPU)

        def check(what: str, limit: float) -> Check:
            off = {name: abs(mean - here[name]) for name, mean in similarities(device).items()}
            worst = max(off, key=off.__getitem__)
            note = f"{worst}, the largest of {len(off)}; {count} images x k={k}, {size} px"
            return Check(what, "the CPU's", off[worst], limit, note)

        with without_tf32():
            yield check("similarities, float32", 1e-3)
        yield check("similarities, by default", 1e-2)


@contextmanager
def without_tf32() -> Iterator[None]:
    """Convolve in float32 proper, of which a GPU rounds the factors to 10 bits by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def probes(device: torch.device, count: int, width: int, pairs: int) -> Iterator[Row]:
    """Each probe's fit: its predictions and choice against those of the CPU, and its time."""
    yield from _probe("ridge probe", RidgeProbe, numbers(count, width, 8), device, pairs, 1e-6)
    yield from _probe("logistic probe", LogisticProbe, classes(count, width), device, pairs, 2e-3)
    few = min(count, 400), min(width, 64)
    yield from _probe("kernel ridge probe", KernelRidgeProbe, latents(*few), device, pairs, 1e-5)


def _probe(
    what: str, kind: Callable[[], Any], problem: Problem, device: torch.device, pairs: int, limit: float
) -> Iterator[Row]:
    features, targets = problem.features.to(device), problem.targets.to(device)
    here, there = kind().fit(problem.features, problem.targets), kind().fit(features, targets)
    wanted, found = here.predict(problem.test_features), there.predict(problem.test_features.to(device)).cpu()
    score = there.score(problem.test_features.to(device), problem.test_targets.to(device))
    wanted_score = here.score(problem.test_features, problem.test_targets)
    note = f"scores {score:.6f} against {wanted_score:.6f}; n = {len(features)}, D = {features.shape[1]}"
    if wanted.is_floating_point():
        yield Check(what, "the CPU's predictions", float((found - wanted).norm() / wanted.norm()), limit, note)
    else:
        yield Check(what, "the CPU's predictions", float((found != wanted).double().mean()), limit, f"share; {note}")
    yield compare(
        f"{what} on {device.type}",
        lambda: kind().fit(features, targets),
        "the same on the CPU",
        lambda: kind().fit(problem.features, problem.targets),
        pairs=pairs,
        note=f"n = {len(features)}, D = {features.shape[1]}, {torch.get_num_threads()} threads",
    )


def neighbours(device: torch.device, count: int, width: int) -> Iterator[Row]:
    """Nearest neighbours, found by faiss, on the GPU where it can."""
    try:
        import faiss
    except ImportError:
        yield Unmeasured("nearest neighbours", "faiss is absent", wrong=False)
        return
    on_gpu = device.type == "cuda" and faiss.get_num_gpus() > 0
    if not on_gpu:
        yield Unmeasured("nearest neighbours on the GPU", "this faiss has no GPU: searched on the CPU", wrong=False)
    problem = classes(count, width)
    here = KNNProbe().fit(problem.features, problem.targets).predict(problem.test_features)
    there = KNNProbe().fit(problem.features.to(device), problem.targets.to(device))
    share = float((there.predict(problem.test_features.to(device)).cpu() != here).double().mean())
    note = f"share, by faiss {'with' if on_gpu else 'without'} a GPU"
    yield Check("nearest neighbours of features there", "the CPU's predictions", share, 1e-3, note)


def memory(device: torch.device) -> Iterator[Row]:
    """The most memory of the device that a measurement takes, of some images and of four times as many."""
    if device.type != "cuda":
        yield Unmeasured("memory of measuring", "needs CUDA", wrong=False)
        return
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (64, 256):
            # Small batches of small views, so that what is kept of each view would be seen.
            subject = Subject(cut_outs(Path(folder), count), device, "resnet18", 64, 16, batch_size=32)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            subject.measure()
            peaks.append(torch.cuda.max_memory_allocated() / 2**20)
            del subject
    note = f"growth from {peaks[0]:.0f} MiB with 64 images to {peaks[1]:.0f} MiB with 256"
    yield Check("memory of measuring on the device", "flat", peaks[1] / peaks[0] - 1, 0.1, note)
