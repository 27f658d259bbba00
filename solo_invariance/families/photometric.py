"""Appearance: operations that change pixel values and leave them where they are.

The functions work on float images in [0, 1], one number an image, with torchvision's meaning; Kornia does the work
wherever its meaning is the same.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from kornia.enhance import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_saturation_with_gray_subtraction,
)
from kornia.enhance import adjust_hue as _adjust_hue_radians
from kornia.filters import gaussian_blur2d
from torch import Tensor

from solo_invariance.families.operation import Operation, Parameters, check_probability, check_range, uniform

Adjustment = Callable[[Tensor, Tensor], Tensor]


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by a factor and clamp to [0, 1]; images (N, 3, H, W), factor (N,)."""
    return adjust_brightness_accumulative(images, factor)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean grey and clamp to [0, 1]; images (N, 3, H, W), factor (N,)."""
    return adjust_contrast_with_mean_subtraction(images, factor)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the greyscale image and clamp to [0, 1]; images (N, 3, H, W), factor (N,)."""
    return adjust_saturation_with_gray_subtraction(images, factor)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Shift the hue by a part of a turn in [-0.5, 0.5]; images (N, 3, H, W), turns (N,)."""
    return _adjust_hue_radians(images, turns * (2 * torch.pi))


def to_grayscale(images: Tensor) -> Tensor:
    """Replace the three channels by 0.299 R + 0.587 G + 0.114 B; images (N, 3, H, W)."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=images.dtype).to(images.device, non_blocking=True)
    return (images * weights[:, None, None]).sum(dim=1, keepdim=True).expand_as(images)


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur with a Gaussian of ``sigma`` pixels, reflecting at the border; images (N, 3, H, W), sigma (N,)."""
    return gaussian_blur2d(images, (kernel_size, kernel_size), sigma[:, None].expand(-1, 2).contiguous())


class PhotometricOperation(Operation):
    """An operation on pixel values."""

    @abstractmethod
    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Return the changed images, (N, 3, H, W) in [0, 1]."""


@dataclass(frozen=True)
class ColorJitter(PhotometricOperation):
    """Change brightness, contrast, saturation and hue, in an order drawn for each image.

    Args:
        brightness: The factor is drawn from [max(0, 1 - brightness), 1 + brightness].
        contrast: Likewise.
        saturation: Likewise.
        hue: The shift is drawn from [-hue, hue], in turns, at most 0.5.
        p: Probability of jittering an image at all, in [0, 1].
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    p: float = 0.8

    def __post_init__(self) -> None:
        check_probability(self)
        for name in ("brightness", "contrast", "saturation", "hue"):
            strength = getattr(self, name)
            if strength < 0 or (name == "hue" and strength > 0.5):
                limit = "[0, 0.5] turns" if name == "hue" else "[0, inf)"
                raise ValueError(f"ColorJitter.{name} lies in {limit}, got {strength}")

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``applied`` (N,) bool, one factor (N,) an operation, and ``order`` (N, 4), a permutation an image."""
        applied = torch.rand(n, generator=generator) < self.p
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
class Grayscale(PhotometricOperation):
    """Remove the colour.

    Args:
        p: Probability, in [0, 1].
    """

    p: float = 0.2

    def __post_init__(self) -> None:
        check_probability(self)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``applied`` (N,) bool."""
        return {"applied": torch.rand(n, generator=generator) < self.p}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Replace the channels by the luma where applied."""
        return apply_where_(parameters["applied"], images.clone(), to_grayscale)


@dataclass(frozen=True)
class GaussianBlur(PhotometricOperation):
    """Blur with a Gaussian.

    Args:
        sigma: Range of the standard deviation, in pixels of the crop.
        p: Probability, in [0, 1].

    The kernel reaches three standard deviations of the largest sigma to either side, but stays inside the image.
    """

    sigma: tuple[float, float] = (0.1, 2.0)
    p: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "sigma", low=0.0, low_open=True)
        check_probability(self)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``applied`` (N,) bool and ``sigma`` (N,) in pixels."""
        return {
            "applied": torch.rand(n, generator=generator) < self.p,
            "sigma": uniform((n,), *self.sigma, generator),
        }

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Blur where applied."""
        radius = min(int(3 * self.sigma[1] + 0.5), min(images.shape[-2:]) - 1)

        def blur(chosen: Tensor, sigma: Tensor) -> Tensor:
            return gaussian_blur(chosen, sigma, 2 * radius + 1)

        return apply_where_(parameters["applied"], images.clone(), blur, parameters["sigma"])


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
    rows = chosen.to(images.device, non_blocking=True)
    arguments = [p[chosen].to(images.device, non_blocking=True) for p in parameters]
    return images.index_copy_(0, rows, function(images.index_select(0, rows), *arguments).to(images.dtype))
