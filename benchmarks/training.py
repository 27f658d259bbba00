"""What a family's crops cost beside the training step that uses them."""

import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models import get_model

from benchmarks.photographs import canvases_of, file_sizes
from benchmarks.rows import Check, Row, Unmeasured, judged
from benchmarks.timing import Timing, in_turns
from solo_invariance.families import (
    CropEntry,
    CropPipeline,
    Family,
    default,
    default_canvas_size,
    dorsal,
    geometric,
    photometric,
    ventral,
)
from solo_invariance.known_datasets import IMAGENET

_FAMILIES = (default, ventral, dorsal, photometric, geometric)


@dataclass(frozen=True)
class Share(Row):
    """The time that a family's crops take beside the training step that uses them.

    Args:
        family: Makes two crops an image.
        seconds: Median time of making them, from canvases to normalised crops.
        step_seconds: Median time of the forward and backward passes.
        share: Median of the first over the second.
        spread: Least and largest share.
        target: The largest share aimed for.
        note: Units and sizes.
    """

    title: ClassVar[str] = "Crops beside the training step that uses them"
    family: str
    seconds: float
    step_seconds: float
    share: float
    spread: tuple[float, float]
    target: float
    note: str

    def met(self) -> bool:
        """Return whether the share is small enough."""
        return self.share <= self.target

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "family": self.family,
            "two crops": f"{self.seconds * 1000:.1f} ms",
            "step": f"{self.step_seconds * 1000:.1f} ms",
            "share": judged(f"{self.share:.3f}", self.met()),
            "spread": f"{self.spread[0]:.3f} to {self.spread[1]:.3f}",
            "target": f"{self.target:.2f}",
            "note": self.note,
        }


def training(
    device: torch.device, batch: int, size: int = 224, architecture: str = "resnet50", pairs: int = 5
) -> Iterator[Share]:
    """A network on two crops with SimCLR's loss, in mixed precision on CUDA, channels last."""
    network = get_model(architecture, num_classes=128).to(device, memory_format=torch.channels_last)
    labels = torch.arange(batch, device=device)
    crops = _two_crops(device, batch, size)
    ready = torch.cat(crops(default))

    def step() -> None:
        network.zero_grad(set_to_none=True)
        with torch.autocast(device.type, enabled=device.type == "cuda"):
            first, second = F.normalize(network(ready), dim=1).split(batch)
            loss = F.cross_entropy(first @ second.T / 0.1, labels)
        loss.backward()

    steps, *times = in_turns([step, *(partial(crops, family) for family in _FAMILIES)], pairs)
    precision = "mixed precision" if device.type == "cuda" else "float32"
    for family, seconds in zip(_FAMILIES, times, strict=True):
        shares = [a / b for a, b in zip(seconds, steps, strict=True)]
        yield Share(
            family.name,
            statistics.median(seconds),
            statistics.median(steps),
            statistics.median(shares),
            (min(shares), max(shares)),
            0.10,
            f"{architecture}, two crops of {size} px, batch {batch}, {precision} on {device.type}",
        )


def views(device: torch.device, count: int, size: int = 224, rounds: int = 5) -> Iterator[Timing]:
    """The default family's views, two an image, from canvases to normalised crops."""
    crops = _two_crops(device, count // 2, size)
    (seconds,) = in_turns([lambda: crops(default)], rounds)
    yield Timing(
        f"{count} views of the default family",
        statistics.median(seconds),
        (min(seconds), max(seconds)),
        0.023,
        f"two of each of {count // 2} canvases, {size} px, eager",
    )


def synchronisation(device: torch.device, families: Iterable[Family], batch: int, size: int = 224) -> Iterator[Row]:
    """Whether making crops waits for the device."""
    crops = _two_crops(device, batch, size)
    if device.type != "cuda":
        yield Unmeasured("host synchronisation inside a family", "needs CUDA", wrong=False)
        return
    for family in families:
        crops(family)
        torch.cuda.set_sync_debug_mode("error")
        try:
            crops(family)
            where = ""
        except RuntimeError as error:
            where = str(error).splitlines()[0]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        yield Check(f"family {family.name}", "no host synchronisation", float(bool(where)), 0, where or "0: none")


def _two_crops(device: torch.device, batch: int, size: int) -> Callable[[Family], list[Tensor]]:
    canvases, sizes = canvases_of(batch, default_canvas_size(size), device, whole=True), file_sizes(batch, whole=True)

    def crops(family: Family) -> list[Tensor]:
        pipeline = CropPipeline((CropEntry(family, size, 2),), *IMAGENET)
        return pipeline(canvases, [0], torch.channels_last, sizes)

    return crops
