"""The cost of a family: in the data workers, on the device against its peers, and beside a training step."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torchvision.transforms.v2 as T
from PIL import Image
from torch import Tensor

from benchmarks.peers import PEERS, Peer, comparable
from benchmarks.photographs import canvases_of, file_sizes, photograph
from benchmarks.running import Step
from benchmarks.timing import Comparison, compare
from benchmarks.training import training
from solo_invariance.families import (
    OPERATIONS,
    Canvas,
    CropEntry,
    CropPipeline,
    Family,
    ResizedCrop,
    corruption,
    default,
    default_canvas_size,
    dorsal,
    geometric,
    identity,
    occlusion,
    photometric,
    strong_dorsal,
    ventral,
)
from solo_invariance.known_datasets import IMAGENET

FAMILIES = (default, ventral, dorsal, geometric, photometric, occlusion, corruption, strong_dorsal, identity)


def steps(device: torch.device, quick: bool = False) -> list[Step]:
    sizes = ((64, 128),) if quick else ((224, 256 if device.type == "cuda" else 16), (64, 128))
    beside = Step("crops beside the training step", 25, partial(training, device, 256 if device.type == "cuda" else 8))
    return [
        *(() if quick else (beside,)),
        Step("canvas in a data worker", 9, workers),
        *(
            Step(f"family {family.name}, {size} px", 2, partial(family_against_peers, family, device, size, batch))
            for size, batch in sizes
            for family in FAMILIES
        ),
        *(
            Step(f"whole canvas, {family.name}", 2, partial(whole_against_centre, family, device, *sizes[0]))
            for family in (default, ventral, dorsal)
        ),
        *(
            Step(f"operation {name}, {size} px", 1, partial(operation_against_peers, name, device, size, batch))
            for size, batch in sizes
            for name in OPERATIONS
        ),
    ]


def workers() -> Iterator[Comparison]:
    content = _jpeg()
    canvas, pipeline = Canvas(256, sharp=True), _worker_pipeline()
    yield compare(
        "data worker: canvas",
        lambda: [canvas(_open(content)) for _ in range(40)],
        "torchvision + PIL pipeline, two crops",
        lambda: [pipeline(_open(content)) for _ in range(40)],
        target=4.0,
        note="JPEGs of 500x375, one thread",
        items=40,
    )
    yield compare(
        "data worker: canvas",
        lambda: [canvas(_open(content)) for _ in range(40)],
        "decode + resize alone",
        lambda: [_decode_and_resize(content) for _ in range(40)],
        target=1 / 1.5,
        note="the least that any pipeline does",
        items=40,
    )
    centre = replace(canvas, whole=False)
    yield compare(
        "data worker: canvas",
        lambda: [canvas(_open(content)) for _ in range(40)],
        "canvas of the centre",
        lambda: [centre(_open(content)) for _ in range(40)],
        target=1 / 1.1,
        note="JPEGs of 500x375: what the whole image costs over its centre",
        items=40,
    )


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photograph("astronaut")).resize((500, 375)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def _worker_pipeline() -> Callable[[Image.Image], list[Tensor]]:
    """The paper's default family as CPU pipelines of solo-learn's kind make it, two crops."""
    one = T.Compose(
        [
            T.RandomResizedCrop(224, scale=(0.2, 1.0), interpolation=T.InterpolationMode.BICUBIC),
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            T.RandomGrayscale(0.2),
            T.RandomApply([T.GaussianBlur(23, (0.1, 2.0))], p=0.5),
            T.RandomHorizontalFlip(),
            T.PILToTensor(),
            T.ToDtype(torch.float32, scale=True),
            T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    return lambda image: [one(image), one(image)]


def _decode_and_resize(content: bytes) -> np.ndarray:
    image = _open(content)
    return np.array(image.resize((341, 256), Image.Resampling.BILINEAR))


def family_against_peers(family: Family, device: torch.device, size: int, batch: int) -> Iterator[Comparison]:
    """A built-in family, from the canvases that it would get."""
    canvases = canvases_of(batch, default_canvas_size(size), device)
    for peer in PEERS:
        if family.operations or canvases.shape[-1] != size:
            yield from _against(peer, f"family {family.name}", family, canvases, size)


def whole_against_centre(family: Family, device: torch.device, size: int, batch: int) -> Iterator[Comparison]:
    """Two crops of each canvas of the whole image, normalised, against those of its centre."""
    pipeline = CropPipeline((CropEntry(family, size, 2),), *IMAGENET)
    canvases = {whole: canvases_of(batch, default_canvas_size(size), device, whole) for whole in (True, False)}
    sizes = {whole: file_sizes(batch, whole) for whole in (True, False)}

    def crops(whole: bool) -> list[Tensor]:
        return pipeline(canvases[whole], [0], sizes=sizes[whole])

    yield compare(
        f"family {family.name}, whole",
        lambda: crops(True),
        "of the centre",
        lambda: crops(False),
        target=1 / 1.1,
        note=f"two crops of {size} px of {batch} on {device.type}",
        items=batch,
    )


def operation_against_peers(name: str, device: torch.device, size: int, batch: int) -> Iterator[Comparison]:
    """An operation alone, of images of the crop size; a crop is cut from the canvas."""
    canvases = canvases_of(batch, round(size * 8 / 7) if OPERATIONS[name] is ResizedCrop else size, device)
    for peer in PEERS:
        yield from _against(peer, f"operation {name}", always(name), canvases, size)


def always(name: str) -> Family:
    """Return an operation alone, applied to every image."""
    operation: Any = OPERATIONS[name]()
    return Family(name, (replace(operation, p=1.0) if "p" in operation.numbers else operation,))


def _against(peer: Peer, what: str, family: Family, canvases: Tensor, size: int) -> Iterator[Comparison]:
    """Ours and the peer's from the same 8-bit canvases to float views in [0, 1]; nothing where they share nothing."""
    operations = [comparable(operation) for operation in family.operations]
    shared = tuple(operation for operation in operations if peer.has(operation))
    if operations and not shared:
        return
    missing = [f"without {operation.name}" for operation in operations if not peer.has(operation)]
    notes = dict.fromkeys(peer.notes[type(operation)] for operation in shared if type(operation) in peer.notes)
    ours, theirs = replace(family, operations=shared), peer.augmentation(shared, size)
    generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def run_theirs() -> Tensor:
        return theirs(canvases.float().div(255))

    yield compare(
        what,
        lambda: ours.apply(canvases, ours.draw(len(canvases), generator), size),
        peer.name,
        run_theirs,
        note=", ".join([f"{len(canvases)} of {size} px on {canvases.device.type}", *missing, *notes]),
        items=len(canvases),
    )
