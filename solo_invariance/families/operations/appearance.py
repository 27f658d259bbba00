"""Appearance: operations that change pixel values and leave them where they are.

The functions work on float images in [0, 1], one number an image, with torchvision's meaning. Kornia does the work
where its meaning is the same, but for contrast, saturation, hue and posterising: written for what they need to read and
write, they take a quarter of the time or less.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torchvision.transforms.v2.functional as F
from kornia.enhance import adjust_brightness_accumulative
from kornia.enhance import solarize as _solarize
from kornia.filters import filter2d_separable, gaussian_blur2d
from torch import Tensor

from solo_invariance.families.operations.operation import (
    Operation,
    Parameters,
    check_number,
    check_probability,
    check_range,
    draw_applied,
    send,
    uniform,
)

Adjustment = Callable[[Tensor, Tensor], Tensor]

_FREQUENCIES = 64


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by a factor and clamp to [0, 1]; images (N, 3, H, W), factor (N,)."""
    return adjust_brightness_accumulative(images, factor)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean grey and clamp to [0, 1]; images (N, 3, H, W), factor (N,)."""
    return blend(images, mean_grey(images), factor)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the greyscale image and clamp to [0, 1]; images (N, 3, H, W), factor (N,)."""
    return blend(images, luma(images), factor)


def blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """Go from other images (0) to images (1), or beyond, and clamp to [0, 1]; (N, 3, H, W) each, factor (N,)."""
    factor = factor[:, None, None, None]
    return (images * factor).add_(other * (1 - factor)).clamp_(0, 1)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Shift the hue by a part of a turn in [-0.5, 0.5]; images (N, 3, H, W), turns (N,).

    The shift leaves a pixel's highest and lowest value as they are: each channel lies between them, by how far round
    the circle its own hue is from the pixel's.
    """
    hue, high, spread = hue_and_range(images)
    return torch.addcmul(high[:, None], spread[:, None], depths(hue.add_(turns[:, None, None])), value=-1)


def hue_and_range(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return each pixel's hue in turns, -1/6 to 5/6, highest value, and how far below the lowest is, (N, H, W) each."""
    red, green, blue = images.unbind(dim=1)
    high = images.amax(dim=1)
    spread = high - images.amin(dim=1)
    sixth = spread.clamp(min=1e-8).reciprocal_().div_(6)
    hue = torch.where(
        high == red,
        (green - blue).mul_(sixth),
        torch.where(high == green, (blue - red).mul_(sixth).add_(1 / 3), (red - green).mul_(sixth).add_(2 / 3)),
    )
    return hue, high, spread


def depths(hue: Tensor) -> Tensor:
    """Return where the channels lie, 0 for a pixel's highest value and 1 for its lowest, (N, 3, H, W), by its hue."""
    own = torch.arange(3, device=hue.device, dtype=hue.dtype)[:, None, None] / 3
    distance = hue[:, None] - own
    distance.sub_(distance.round()).abs_()
    return distance.mul_(6).sub_(1).clamp_(0, 1)


def to_grayscale(images: Tensor) -> Tensor:
    """Replace the three channels by 0.299 R + 0.587 G + 0.114 B; images (N, 3, H, W)."""
    return luma(images).expand_as(images)


def mean_grey(images: Tensor) -> Tensor:
    """Return the mean (N, 1, 1, 1) of the greyscale images of images (N, 3, H, W)."""
    return luma(images.mean(dim=(2, 3), keepdim=True))


def luma(images: Tensor) -> Tensor:
    """Return 0.299 R + 0.587 G + 0.114 B, (N, 1, H, W), of images (N, 3, H, W)."""
    red, green, blue = images.split(1, dim=1)
    return (red * 0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur with a Gaussian of ``sigma`` pixels, reflecting at the border; images (N, 3, H, W), sigma (N,)."""
    return gaussian_blur2d(images, (kernel_size, kernel_size), sigma[:, None].expand(-1, 2).contiguous())


def gaussian_kernels(sigma: Tensor, radius: int, scale: Tensor, most: int) -> Tensor:
    """Return what a Gaussian blur of images is on the images resized: kernels (N, 2 R + 1) that sum to 1.

    They let each frequency of the resized image through as the Gaussian, sampled at the pixels of the image, does. The
    same Gaussian sampled at the pixels of the resized image would not: between those that are farther apart than it is
    wide, nothing is left of it.

    Args:
        sigma: Standard deviations (N,), in pixels of the image.
        radius: Of the sampled Gaussian, in pixels of the image.
        scale: Pixels of the resized image for one of the image (N,); 1 gives the sampled Gaussian.
        most: The largest R. A kernel reaches ``radius``, or ``radius * scale`` where that is more.
    """
    reach = (radius * scale.clamp(min=1.0)).ceil().clamp(max=min(most, _FREQUENCIES - 1))
    own, offsets = torch.arange(radius + 1), torch.arange(int(reach.max()) + 1)
    gaussian = torch.exp(-((own / sigma[:, None]) ** 2) / 2)
    gaussian[:, 1:] *= 2  # on either side
    frequencies = (torch.arange(_FREQUENCIES) + 0.5) * (math.pi / _FREQUENCIES)
    seen = (frequencies * scale[:, None]).clamp(max=math.pi)
    response = torch.einsum("nfr,nr->nf", torch.cos(seen[..., None] * own), gaussian)
    half = response @ torch.cos(frequencies[:, None] * offsets) * (offsets <= reach[:, None])
    kernels = torch.cat([half.flip(1)[:, :-1], half], dim=1)
    return kernels / kernels.sum(dim=1, keepdim=True)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values at and above a threshold; images (N, 3, H, W), threshold (N,)."""
    return _solarize(images, threshold)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest bits, 1 to 8, of each value taken as 8 bits; images (N, 3, H, W), bits (N,) whole numbers."""
    step = torch.exp2(8 - bits.to(images.dtype))[:, None, None, None]
    return images.mul(255).round_().div_(step).floor_().mul_(step / 255)


def equalize(images: Tensor) -> Tensor:
    """Equalise each channel's histogram, in 8 bits; images (N, 3, H, W).

    This is torchvision's function: Kornia's takes values that are not whole 8-bit ones to the level below.
    """
    return F.equalize(images.mul(255).round().to(torch.uint8)).to(images.dtype).div(255)


class PhotometricOperation(Operation):
    """An operation on pixel values."""

    def resized(self, parameters: Parameters, scale: Tensor) -> Parameters:
        """Return the parameters with which it does to a resized image what these do to the image.

        Only lengths in pixels are concerned: an operation that has none returns what it is given.

        Args:
            parameters: As drawn.
            scale: (N, 2) pixels of the resized images for one of the images, across and down.
        """
        return parameters

    @abstractmethod
    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Return the changed images, (N, 3, H, W) in [0, 1]."""


class OccasionalOperation(PhotometricOperation):
    """A photometric operation with a probability ``p``: subclasses say what they draw besides, and how they change.

    The images that were not chosen cost nothing.
    """

    p: float

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``applied`` (N,) bool, and what ``draw_numbers`` draws."""
        return {"applied": draw_applied(n, self.p, generator), **self.draw_numbers(n, generator)}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Change the images that were chosen."""
        names = [name for name in parameters if name != "applied"]

        def change(chosen: Tensor, *numbers: Tensor) -> Tensor:
            return self.change(chosen, **dict(zip(names, numbers, strict=True)))

        return apply_where_(parameters["applied"], images.clone(), change, *(parameters[name] for name in names))

    def draw_numbers(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw the numbers of the change, for all ``n`` images; none by default."""
        return {}

    @abstractmethod
    def change(self, images: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the changed images.

        Subclasses name what they drew: ``change(self, images, kelvin)``. Images and numbers are those that were chosen,
        on the images' device.
        """


@dataclass(frozen=True)
class ColorJitter(PhotometricOperation):
    """Change brightness, contrast, saturation and hue, in an order drawn for each image.

    Args:
        brightness: The factor is drawn from [max(0, 1 - brightness), 1 + brightness].
        contrast: The factor is drawn from [max(0, 1 - contrast), 1 + contrast].
        saturation: The factor is drawn from [max(0, 1 - saturation), 1 + saturation].
        hue: The shift is drawn from [-hue, hue], in turns, at most 0.5.
        p: Probability of jittering an image at all, in [0, 1].
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {
        "brightness": "largest change of a factor of 1",
        "contrast": "largest change of a factor of 1",
        "saturation": "largest change of a factor of 1",
        "hue": "turns",
    }
    no_quantities: ClassVar[frozenset[str]] = frozenset({"order"})

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    p: float = 0.8

    def __post_init__(self) -> None:
        check_probability(self)
        for name in ("brightness", "contrast", "saturation"):
            check_number(self, name)
        check_number(self, "hue", high=0.5, meaning="turns")

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``applied`` (N,) bool, one factor (N,) an operation, and ``order`` (N, 4), a permutation an image."""
        applied = draw_applied(n, self.p, generator)
        factors = {
            name: uniform((n,), max(0.0, 1 - getattr(self, name)), 1 + getattr(self, name), generator)
            for name in ("brightness", "contrast", "saturation")
        }
        hue = uniform((n,), -self.hue, self.hue, generator)
        order = torch.rand((n, 4), generator=generator).argsort(dim=1)
        return {"applied": applied, **factors, "hue": hue, "order": order}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Apply the four adjustments, each image in its own order."""
        adjustments: list[tuple[str, Adjustment]] = [
            ("brightness", adjust_brightness),
            ("contrast", adjust_contrast),
            ("saturation", adjust_saturation),
            ("hue", adjust_hue),
        ]
        images = images.clone()
        for step in range(len(adjustments)):
            for index, (name, adjust) in enumerate(adjustments):
                chosen = parameters["applied"] & (parameters["order"][:, step] == index)
                apply_where_(chosen, images, adjust, parameters[name])
        return images


@dataclass(frozen=True)
class Grayscale(OccasionalOperation):
    """Remove the colour.

    Args:
        p: Probability, in [0, 1].
    """

    p: float = 0.2

    def __post_init__(self) -> None:
        check_probability(self)

    def change(self, images: Tensor) -> Tensor:
        """Replace the channels by the luma."""
        return to_grayscale(images)


@dataclass(frozen=True)
class GaussianBlur(OccasionalOperation):
    """Blur with a Gaussian.

    Args:
        sigma: Range of the standard deviation, in pixels: of the file, where the image is cropped after it; else of the
            crop.
        p: Probability, in [0, 1].

    The kernel reaches three standard deviations of the largest sigma to either side, but stays inside the image.
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {"sigma": "pixels"}

    sigma: tuple[float, float] = (0.1, 2.0)
    p: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "sigma", low=0.0, low_open=True)
        check_probability(self)

    def draw_numbers(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``sigma`` (N,) in pixels."""
        return {"sigma": uniform((n,), *self.sigma, generator)}

    def resized(self, parameters: Parameters, scale: Tensor) -> Parameters:
        """Add ``scale`` (N, 2)."""
        return {**parameters, "scale": scale}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Blur where applied."""
        applied = parameters["applied"]
        # Sigma and scale stay on the CPU, where the kernels are made without waiting for the device.
        chosen = {name: value[applied] for name, value in parameters.items() if name != "applied"}
        return apply_where_(applied, images.clone(), lambda part: self.change(part, **chosen))

    def change(self, images: Tensor, sigma: Tensor, scale: Tensor | None = None) -> Tensor:
        """Blur."""
        radius, most = int(3 * self.sigma[1] + 0.5), min(images.shape[-2:]) - 1
        if scale is None:
            return gaussian_blur(images, sigma, 2 * min(radius, most) + 1)
        kernels = gaussian_kernels(sigma.repeat(2), radius, scale.T.flatten(), most)
        across, down = send(kernels, images.device).chunk(2)
        return filter2d_separable(images, across, down)


@dataclass(frozen=True)
class Solarize(OccasionalOperation):
    """Invert the bright values.

    Args:
        threshold: Range of the value at and above which values are inverted, in [0, 1]; one half in 8 bits by default.
        p: Probability, in [0, 1].
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {"threshold": "value in [0, 1]"}

    threshold: tuple[float, float] = (128 / 255, 128 / 255)
    p: float = 0.2

    def __post_init__(self) -> None:
        check_range(self, "threshold", low=0.0, high=1.0)
        check_probability(self)

    def draw_numbers(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``threshold`` (N,)."""
        return {"threshold": uniform((n,), *self.threshold, generator)}

    def change(self, images: Tensor, threshold: Tensor) -> Tensor:
        """Solarise."""
        return solarize(images, threshold)


@dataclass(frozen=True)
class Posterize(OccasionalOperation):
    """Keep only the highest bits of each value.

    Args:
        bits: Range of how many, whole numbers from 1 to 8 (which changes nothing); both ends can be drawn.
        p: Probability, in [0, 1].
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {"bits": "bits"}

    bits: tuple[int, int] = (3, 6)
    p: float = 0.2

    def __post_init__(self) -> None:
        check_range(self, "bits", low=1, high=8)
        if any(end != int(end) for end in self.bits):
            raise ValueError(f"{self.name}.bits={list(self.bits)}: expected whole numbers")
        check_probability(self)

    def draw_numbers(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``bits`` (N,) int64."""
        low, high = (int(end) for end in self.bits)
        return {"bits": torch.randint(low, high + 1, (n,), generator=generator)}

    def change(self, images: Tensor, bits: Tensor) -> Tensor:
        """Posterise."""
        return posterize(images, bits)


@dataclass(frozen=True)
class Equalize(OccasionalOperation):
    """Equalise each channel's histogram.

    Args:
        p: Probability, in [0, 1].
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        check_probability(self)

    def change(self, images: Tensor) -> Tensor:
        """Equalise."""
        return equalize(images)


def apply_where_(applied: Tensor, images: Tensor, function: Callable[..., Tensor], *parameters: Tensor) -> Tensor:
    """Change the images that were chosen, in place, and only compute those.

    Args:
        applied: (N,) bool on the CPU: which images are chosen is known without a host synchronisation.
        images: (N, ...), changed.
        function: Gets the chosen images and the matching entries of ``parameters``.
        parameters: (N, ...) each, on the CPU.

    Returns:
        ``images``
    """
    chosen = applied.nonzero()[:, 0]
    if len(chosen) == 0:
        return images
    rows = send(chosen, images.device)
    arguments = [send(p[chosen], images.device) for p in parameters]
    return images.index_copy_(0, rows, function(images.index_select(0, rows), *arguments).to(images.dtype))
