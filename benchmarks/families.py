"""The cost of a family: in the data workers, and on the device."""

import io
from collections.abc import Callable, Iterator

import kornia.augmentation as K
import numpy as np
import torch
import torchvision.transforms.v2 as T
from PIL import Image
from skimage import data as photographs

from benchmarks.timing import Comparison, compare
from solo_invariance.families import Canvas, Family, default, dorsal, ventral


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photographs.astronaut()).resize((500, 375)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def _worker_pipeline() -> Callable[[Image.Image], list[torch.Tensor]]:
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


def workers() -> Iterator[Comparison]:
    content = _jpeg()
    canvas, pipeline = Canvas(256), _worker_pipeline()
    yield compare(
        "data worker: canvas",
        lambda: [canvas(_open(content)) for _ in range(40)],
        "torchvision + PIL pipeline, two crops",
        lambda: [pipeline(_open(content)) for _ in range(40)],
        target=4.0,
        note="40 JPEGs of 500x375, one thread",
    )
    yield compare(
        "data worker: canvas",
        lambda: [canvas(_open(content)) for _ in range(40)],
        "decode + resize alone",
        lambda: [_decode_and_resize(content) for _ in range(40)],
        target=1 / 1.5,
        note="the least that any pipeline does",
    )


def _decode_and_resize(content: bytes) -> np.ndarray:
    image = _open(content)
    return np.array(image.resize((341, 256), Image.Resampling.BILINEAR))


def device(device: torch.device, size: int, batch: int) -> Iterator[Comparison]:
    images = torch.randint(
        0, 256, (batch, 3, round(size * 8 / 7), round(size * 8 / 7)), dtype=torch.uint8, device=device
    )
    jitter = (0.4, 0.4, 0.4, 0.1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    peers = {
        "default": K.AugmentationSequential(
            K.RandomResizedCrop((size, size), scale=(0.2, 1.0)),
            K.ColorJitter(*jitter, p=0.8),
            K.RandomGrayscale(p=0.2),
            K.RandomGaussianBlur((13, 13), (0.1, 2.0), p=0.5),
            K.RandomHorizontalFlip(p=0.5),
            K.Normalize(mean, std),
        ),
        "ventral": K.AugmentationSequential(
            K.RandomResizedCrop((size, size), scale=(0.2, 1.0)), K.RandomHorizontalFlip(p=0.5), K.Normalize(mean, std)
        ),
        "dorsal": K.AugmentationSequential(
            K.Resize((size, size)),
            K.ColorJitter(*jitter, p=0.8),
            K.RandomGrayscale(p=0.2),
            K.RandomGaussianBlur((13, 13), (0.1, 2.0), p=0.5),
            K.Normalize(mean, std),
        ),
    }
    generator = torch.Generator().manual_seed(0)
    for family in (default, ventral, dorsal):
        yield compare(
            f"family {family.name} on {device.type}",
            lambda family=family: _ours(family, images, generator, size),
            "Kornia's AugmentationSequential",
            lambda peer=peers[family.name]: _theirs(peer, images),
            note=f"{batch} views of {size} px",
        )


def _ours(family: Family, images: torch.Tensor, generator: torch.Generator, size: int) -> torch.Tensor:
    views = family.apply(images, family.draw(len(images), generator), size)
    return _finished(views)


def _theirs(peer: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    return _finished(peer(images.float() / 255))


def _finished(views: torch.Tensor) -> torch.Tensor:
    if views.is_cuda:
        torch.cuda.synchronize()
    return views


def run(chosen: torch.device) -> Iterator[Comparison]:
    yield from workers()
    yield from device(chosen, 64, 128)
    yield from device(chosen, 224, 128 if chosen.type == "cuda" else 16)
