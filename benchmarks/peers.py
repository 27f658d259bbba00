"""What a user would run instead of a family: torchvision's and Kornia's operations of the same kind and numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import groupby
from operator import or_
from typing import Any

import kornia.augmentation as K
import torch
import torchvision.transforms.v2 as T
from torch import Tensor

from solo_invariance.families import (
    JPEG,
    ColorJitter,
    ColorTemperature,
    Elastic,
    Equalize,
    Erasing,
    GaussianBlur,
    GaussianNoise,
    Grayscale,
    HorizontalFlip,
    MotionBlur,
    Operation,
    Perspective,
    Posterize,
    ResizedCrop,
    Rotation,
    Scale,
    Shear,
    SmoothBrightness,
    SmoothShadow,
    Solarize,
    Translation,
    VerticalFlip,
)

Augmentation = Callable[[Tensor], Tensor]

_AFFINE: dict[type[Operation], Callable[[Any], dict[str, Any]]] = {
    Rotation: lambda o: {"degrees": o.degrees},
    Translation: lambda o: {"translate": (o.x[1], o.y[1])},
    Scale: lambda o: {"scale": o.factor},
    Shear: lambda o: {"shear": (*o.x, *o.y)},
}


@dataclass(frozen=True)
class Peer:
    """A library of augmentations.

    Args:
        name: Of the library, and how it draws.
        one: Its operation of the same kind as one of ours, None where it has none.
        affine: Its operation that rotates, moves, scales and shears at once.
        chain: Makes one augmentation of a list, for a batch, each sample with its own draws.
        resize: Makes its plain resize to a square of some pixels.
        notes: On operations that are not quite ours.
    """

    name: str
    one: Callable[[Operation, int], Any]
    affine: Callable[..., Any]
    chain: Callable[[list[Any]], Augmentation]
    resize: Callable[[int], Augmentation]
    notes: dict[type[Operation], str]

    def has(self, operation: Operation) -> bool:
        """Return whether there is an operation of this kind."""
        return type(operation) in _AFFINE or self.one(operation, 224) is not None

    def augmentation(self, operations: Sequence[Operation], size: int) -> Augmentation:
        """Return the library's augmentation of float images (N, 3, H, W) to views of ``size`` pixels.

        Neighbouring affine operations, whose probability is taken to be 1, become one, as a user would write them.
        """
        chain: list[Any] = []
        for affine, group in groupby(operations, lambda operation: type(operation) in _AFFINE):
            if affine:
                numbers = [_AFFINE[type(operation)](operation) for operation in group]
                chain.append(self.affine(**reduce(or_, numbers, {"degrees": 0.0})))
            else:
                chain += [self.one(operation, size) for operation in group]
        resize, augment = self.resize(size), self.chain(chain) if chain else _nothing
        crops = any(isinstance(operation, ResizedCrop) for operation in operations)

        def apply(images: Tensor) -> Tensor:
            return augment(images if crops or images.shape[-1] == size else resize(images))

        return apply


def comparable(operation: Operation) -> Operation:
    """Return the operation with numbers that the peers have too: they erase with a constant."""
    return replace(operation, fill=0.5) if isinstance(operation, Erasing) else operation


def _nothing(images: Tensor) -> Tensor:
    return images


def _torchvision(operation: Operation, size: int) -> T.Transform | None:
    match operation:
        case ResizedCrop(scale, ratio):
            return T.RandomResizedCrop(size, scale, ratio, antialias=True)
        case HorizontalFlip(p):
            return T.RandomHorizontalFlip(p)
        case VerticalFlip(p):
            return T.RandomVerticalFlip(p)
        case Perspective(distortion, p):
            return T.RandomPerspective(distortion, p)
        case Elastic(p=p):
            return _sometimes(T.ElasticTransform(), p)
        case ColorJitter(brightness, contrast, saturation, hue, p):
            return _sometimes(T.ColorJitter(brightness, contrast, saturation, hue), p)
        case Grayscale(p):
            return T.RandomGrayscale(p)
        case GaussianBlur(sigma, p):
            return _sometimes(T.GaussianBlur(_kernel(operation), sigma), p)
        case Solarize((threshold, _), p):
            return T.RandomSolarize(threshold, p)
        case Posterize((low, high), p):
            return _sometimes(T.RandomChoice([T.RandomPosterize(bits, p=1.0) for bits in range(low, high + 1)]), p)
        case Equalize(p):
            return T.RandomEqualize(p)
        case Erasing(scale, ratio, float(fill), p):
            return T.RandomErasing(p, scale, ratio, fill)
        case GaussianNoise((low, high), p):
            return _sometimes(T.GaussianNoise(sigma=(low + high) / 2), p)
        case JPEG((low, high), p):
            # Its codec takes 8 bits, in the CPU's memory.
            to_codec, back = T.ToDtype(torch.uint8, scale=True), T.ToDtype(torch.float32, scale=True)
            codec = T.JPEG((int(low), int(high)))
            return _sometimes(T.Lambda(lambda image: back(codec(to_codec(image).cpu()).to(image.device))), p)
        case _:
            return None


def _sometimes(transform: T.Transform, p: float) -> T.Transform:
    return transform if p == 1 else T.RandomApply([transform], p)


def _sample_by_sample(chain: list[T.Transform]) -> Augmentation:
    one = T.Compose(chain)
    return lambda images: torch.stack([one(image) for image in images])


def _kornia(operation: Operation, size: int) -> Any:
    match operation:
        case ResizedCrop(scale, ratio):
            return K.RandomResizedCrop((size, size), scale, ratio)
        case HorizontalFlip(p):
            return K.RandomHorizontalFlip(p=p)
        case VerticalFlip(p):
            return K.RandomVerticalFlip(p=p)
        case Perspective(distortion, p):
            return K.RandomPerspective(distortion, p=p)
        case Elastic(p=p):
            return K.RandomElasticTransform(p=p)
        case ColorJitter(brightness, contrast, saturation, hue, p):
            return K.ColorJitter(brightness, contrast, saturation, hue, p=p)
        case Grayscale(p):
            return K.RandomGrayscale(p=p)
        case GaussianBlur(sigma, p):
            return K.RandomGaussianBlur(_kernel(operation), sigma, p=p)
        case Solarize(threshold, p):
            return K.RandomSolarize(threshold, (0.0, 0.0), p=p)
        case Posterize(bits, p):
            return K.RandomPosterize((float(bits[0]), float(bits[1])), p=p)
        case Equalize(p):
            return K.RandomEqualize(p=p)
        case ColorTemperature((low, high), p):
            every_500_kelvin = list(range(int(low - 3000) // 500, int(high - 3000) // 500 + 1))
            return K.RandomPlanckianJitter("blackbody", every_500_kelvin, p=p)
        case SmoothBrightness(p=p):
            return K.RandomPlasmaBrightness(p=p)
        case SmoothShadow(p=p):
            return K.RandomPlasmaShadow(p=p)
        case Erasing(scale, ratio, float(fill), p):
            return K.RandomErasing(scale, ratio, fill, p=p)
        case GaussianNoise((low, high), p):
            return K.RandomGaussianNoise(std=(low + high) / 2, p=p)
        case MotionBlur((low, high), p):
            pixels = (max(3, int(low * size) // 2 * 2 + 1), max(3, int(high * size - 1) // 2 * 2 + 1))
            return K.RandomMotionBlur(pixels, (0.0, 180.0), (0.0, 0.0), "reflect", "bilinear", p=p)
        case JPEG(quality, p):
            return K.RandomJPEG(quality, p=p)
        case _:
            return None


def _kernel(blur: GaussianBlur) -> tuple[int, int]:
    side = 2 * int(3 * blur.sigma[1] + 0.5) + 1
    return side, side


_NOT_ANTIALIASED = "peer not antialiased"
_NOTES: dict[type[Operation], str] = {
    Scale: _NOT_ANTIALIASED,
    Shear: _NOT_ANTIALIASED,
    Perspective: _NOT_ANTIALIASED,
    Elastic: "peer bends at every pixel",
    Erasing: "with a constant",
    GaussianNoise: "peer of one deviation",
}

PEERS = (
    # It draws one set of parameters a call, so that a batch is a loop; its resize takes the batch whole.
    Peer(
        "torchvision v2, a sample at a time",
        _torchvision,
        lambda **numbers: T.RandomAffine(**numbers, interpolation=T.InterpolationMode.BILINEAR),
        _sample_by_sample,
        lambda size: T.Resize((size, size), antialias=True),
        _NOTES,
    ),
    # Its crop has no antialiasing to be turned on; its resize has, but turned off unless asked for.
    Peer(
        "Kornia's AugmentationSequential",
        _kornia,
        lambda **numbers: K.RandomAffine(**numbers, p=1.0),
        lambda chain: K.AugmentationSequential(*chain),
        lambda size: K.Resize((size, size), antialias=False),
        {
            **_NOTES,
            ResizedCrop: _NOT_ANTIALIASED,
            MotionBlur: "peer of one length a batch",
            SmoothBrightness: "peer of a fractal field",
            SmoothShadow: "peer of a fractal field",
        },
    ),
)
