"""The paper's synthetic transforms: for each a grid of parameters, and a way to apply them.

Grids and meanings: Ericsson, Gouk & Hospedales (2022) and its official code. Every transform takes one row of
parameters an image, so that images and parameters mix freely in a batch.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor

from solo_invariance.families.geometry import rotation_matrix, shear_matrix
from solo_invariance.families.noise import uniform_noise
from solo_invariance.families.operation import send
from solo_invariance.families.photometry import (
    adjust_hue,
    blend,
    depths,
    gaussian_blur,
    hue_and_range,
    luma,
    mean_grey,
    to_grayscale,
)
from solo_invariance.families.photometry import equalize as equalize_histograms
from solo_invariance.families.photometry import posterize as keep_highest_bits
from solo_invariance.families.resampling import warp_nearest

Protocol = Literal["paper", "clean"]

_ROUNDING = 1e-3  # in levels of 8 bits, more than floating point is off by


class Geometry(NamedTuple):
    """Sizes in pixels: images have their short side at ``resize``; the backbone sees crops of ``crop_size``."""

    resize: int = 256
    crop_size: int = 224


class Transform(ABC):
    """A transform of images by parameters; subclasses are frozen dataclasses.

    Attributes:
        kind: Whether it moves pixels (``spatial``) or changes their values (``appearance``).
        unit: Of the parameters.
    """

    kind: Literal["spatial", "appearance"]
    unit: str

    @abstractmethod
    def grid(self, k: int, geometry: Geometry, protocol: Protocol) -> Tensor:
        """Return the parameters (K, P) to measure at; K is at most ``k``, or fixed where the transform is on or off."""

    @abstractmethod
    def apply(self, images: Tensor, parameters: Tensor, geometry: Geometry) -> Tensor:
        """Return the transformed images.

        Args:
            images: (N, 3, H, W) in [0, 1], short side ``geometry.resize``.
            parameters: (N, P), a row an image.
            geometry: See there.

        Returns:
            (N, 3, crop_size, crop_size) in [0, 1]
        """

    def apply_in_eight_bits(self, images: Tensor, parameters: Tensor, geometry: Geometry) -> Tensor:
        """Return the transformed images as the official code has them, which keeps 8 bits of them.

        Values are multiples of 1/255, in the images and in what is returned; arguments as ``apply``, whose result is
        rounded by default. Backbones see the difference where an image is smooth.
        """
        return in_eight_bits(self.apply(images, parameters, geometry))

    def identity(self, grid: Tensor) -> int | None:
        """Return the index of the parameters that change nothing, None where the grid has none."""
        neutral = self.neutral
        if neutral is None:
            return None
        matches = torch.isclose(grid.double(), torch.tensor(neutral).double(), atol=1e-4).all(dim=1).nonzero()
        return int(matches[0, 0]) if len(matches) else None

    def is_exact(self, grid: Tensor, identity: int | None) -> bool:
        """Return whether the parameters at ``identity`` truly change nothing: the paper shears by a degree even so."""
        if identity is None or self.neutral is None:
            return True
        return not grid[identity, len(self.neutral) :].any()

    def coordinates(self, parameters: Tensor) -> Tensor:
        """Return parameters (..., P) as numbers (..., C) that change as smoothly as the views do.

        An angle, for one, becomes its cosine and sine: 359 degrees are next to 0.
        """
        return parameters

    @property
    def neutral(self) -> tuple[float, ...] | None:
        """The parameters that change nothing."""
        return None


def in_eight_bits(values: Tensor) -> Tensor:
    """Round values in [0, 1] to the nearest multiples of 1/255."""
    return values.mul(255).round_().div_(255)


def centre_crop(images: Tensor, geometry: Geometry) -> Tensor:
    """Cut the centre square of ``geometry.crop_size`` pixels out of images (N, 3, H, W)."""
    return F.center_crop(images, [geometry.crop_size, geometry.crop_size])


class _CentreBox(NamedTuple):
    """The centre crop's place in an image: its first row and column, and its side, all in pixels."""

    top: int
    left: int
    size: int

    @classmethod
    def of(cls, images: Tensor, geometry: Geometry) -> "_CentreBox":
        """Return the box that ``centre_crop`` cuts out of images (N, 3, H, W), which are not smaller than it."""
        size, (height, width) = geometry.crop_size, images.shape[-2:]
        return cls(round((height - size) / 2), round((width - size) / 2), size)

    def grown(self, margin: int, images: Tensor) -> tuple[Tensor, "_CentreBox"]:
        """Return the box of images with a margin round it, as far as they go, and its place in that."""
        top, left = max(0, self.top - margin), max(0, self.left - margin)
        bottom, right = self.top + self.size + margin, self.left + self.size + margin
        return images[..., top:bottom, left:right], _CentreBox(self.top - top, self.left - left, self.size)

    def cut(self, images: Tensor) -> Tensor:
        """Return the box of images."""
        return images[..., self.top : self.top + self.size, self.left : self.left + self.size]


# Spatial


class _Affine(Transform):
    """An affine map about the image's centre, nearest pixel, zeros outside: torchvision's ``affine`` and ``rotate``."""

    kind = "spatial"

    @abstractmethod
    def inverse(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map from output to input pixels about the centre: linear (N, 2, 2) and offset (N, 2)."""

    def apply(self, images: Tensor, parameters: Tensor, geometry: Geometry) -> Tensor:
        linear, offset = self.inverse(parameters.double())
        centre = torch.tensor([images.shape[3] / 2, images.shape[2] / 2], dtype=torch.float64)
        maps = torch.cat([linear, (centre + offset - linear @ centre)[..., None]], dim=2)
        return warp_nearest(images, maps, *_CentreBox.of(images, geometry))  # nothing but the crop is looked up


# The official code passes shear=1 (a degree) where it means none.
_SHEAR_QUIRK = {"paper": 1.0, "clean": 0.0}


@dataclass(frozen=True)
class Rotation(_Affine):
    """Rotation counter-clockwise; ``linspace(0, 360, k + 1)`` without the last."""

    unit = "degrees"

    def grid(self, k: int, geometry: Geometry, protocol: Protocol) -> Tensor:
        return torch.linspace(0, 360, k + 1)[:k, None]

    def inverse(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        linear = rotation_matrix(parameters[:, 0])
        return linear, torch.zeros_like(linear[:, 0])

    def coordinates(self, parameters: Tensor) -> Tensor:
        return _on_a_circle(parameters / 360)

    @property
    def neutral(self) -> tuple[float, ...]:
        return (0.0,)


@dataclass(frozen=True)
class Translation(_Affine):
    """Translation by (x, y) pixels; the product of ``linspace(-a, a, sqrt(k) + 1)`` without the last with itself.

    ``a`` is half of what the centre crop leaves over, (resize - crop_size) / 2. A third column holds a shear in
    degrees: 1 in the paper's protocol, which its code applies by mistake, 0 in the clean one.
    """

    unit = "pixels"

    def grid(self, k: int, geometry: Geometry, protocol: Protocol) -> Tensor:
        side = math.isqrt(k)
        reach = (geometry.resize - geometry.crop_size) / 2
        steps = torch.linspace(-reach, reach, side + 1)[:side]
        return _with_shear(torch.cartesian_prod(steps, steps), protocol)

    def inverse(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        linear = shear_matrix(_quirk_degrees(parameters[:, 2]))
        return linear, -(linear @ parameters[:, :2, None])[..., 0]

    def identity(self, grid: Tensor) -> int | None:
        return super().identity(grid[:, :2])

    def coordinates(self, parameters: Tensor) -> Tensor:
        return parameters[..., :2]

    @property
    def neutral(self) -> tuple[float, ...]:
        return (0.0, 0.0)


@dataclass(frozen=True)
class Scale(_Affine):
    """Zoom about the centre by a factor; ``linspace(1/4, 2, k)``. The second column is a shear, as in translation."""

    unit = "factor"

    def grid(self, k: int, geometry: Geometry, protocol: Protocol) -> Tensor:
        return _with_shear(torch.linspace(1 / 4, 2, k)[:, None], protocol)

    def inverse(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        linear = shear_matrix(_quirk_degrees(parameters[:, 1])) / parameters[:, :1, None]
        return linear, torch.zeros_like(linear[:, 0])

    def identity(self, grid: Tensor) -> int | None:
        return super().identity(grid[:, :1])

    def coordinates(self, parameters: Tensor) -> Tensor:
        return parameters[..., :1]

    @property
    def neutral(self) -> tuple[float, ...]:
        return (1.0,)


def _on_a_circle(turns: Tensor) -> Tensor:
    angle = 2 * math.pi * turns
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def _with_shear(grid: Tensor, protocol: Protocol) -> Tensor:
    return torch.cat([grid, torch.full((len(grid), 1), _SHEAR_QUIRK[protocol])], dim=1)


def _quirk_degrees(degrees: Tensor) -> Tensor:
    return torch.stack([degrees, torch.zeros_like(degrees)], dim=1)


@dataclass(frozen=True)
class Shear(_Affine):
    """Shear by (x, y); the product of ``linspace(-160, 160, sqrt(k) + 1)`` without the last with itself."""

    unit = "degrees"

    def grid(self, k: int, geometry: Geometry, protocol: Protocol) -> Tensor:
        side = math.isqrt(k)
        steps = torch.linspace(-160, 160, side + 1)[:side]
        return torch.cartesian_prod(steps, steps)

    def inverse(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        linear = shear_matrix(parameters)
        return linear, torch.zeros_like(linear[:, 0])

    @property
    def neutral(self) -> tuple[float, ...]:
        return (0.0, 0.0)


@dataclass(frozen=True)
class ResizedCrop(Transform):
    """Crop a box (top, left, height, width) and resize it to the crop size, bilinear with antialiasing.

    The product of a, a, b, b with ``a = resize * linspace(0, 0.25, n)``, ``b = resize * linspace(0.75, 0.25, n)`` and
    ``n`` the fourth root of k. Boxes are cut at whole pixels.
    """

    kind = "spatial"
    unit = "pixels (top, left, height, width)"

    def grid(self, k: int, geometry: Geometry, protocol: Protocol) -> Tensor:
        n = math.isqrt(math.isqrt(k))
        corner = torch.linspace(0, 0.25, n) * geometry.resize
        side = torch.linspace(0.75, 0.25, n) * geometry.resize
        return torch.cartesian_prod(corner, corner, side, side).reshape(-1, 4)

    def apply(self, images: Tensor, parameters: Tensor, geometry: Geometry) -> Tensor:
        size = [geometry.crop_size, geometry.crop_size]
        return self._apply(lambda crops: F.resize(crops, size, antialias=True), images, parameters, geometry)

    def apply_in_eight_bits(self, images: Tensor, parameters: Tensor, geometry: Geometry) -> Tensor:
        """Resize as Pillow does: first the width, then the height, and after both, halves are rounded up."""

        def resize(crops: Tensor) -> Tensor:
            for size in ([crops.shape[-2], geometry.crop_size], [geometry.crop_size, geometry.crop_size]):
                crops = F.resize(crops, size, antialias=True).mul_(255).add_(0.5 + _ROUNDING).floor_().div_(255)
            return crops

        return self._apply(resize, images, parameters, geometry)

    @staticmethod
    def _apply(resize: Callable[[Tensor], Tensor], images: Tensor, parameters: Tensor, geometry: Geometry) -> Tensor:
        views = images.new_empty(len(images), images.shape[1], geometry.crop_size, geometry.crop_size)
        boxes, owner = parameters.int().unique(dim=0, return_inverse=True)
        for index, (top, left, height, width) in enumerate(boxes.tolist()):
            rows = (owner == index).nonzero()[:, 0].to(images.device)
            views[rows] = resize(F.crop(images[rows], top, left, height, width))
        return views


class _OnOff(Transform):
    """A transform without numbers: parameter 0 leaves the image alone, 1 applies it."""

    unit = "off / on"

    @abstractmethod
    def change(self, images: Tensor) -> Tensor:
        """Return the changed images, same shape."""

    def grid(self, k: int, geometry: Geometry, protocol: Protocol) -> Tensor:
        return torch.tensor([[0.0], [1.0]])

    def apply(self, images: Tensor, parameters: Tensor, geometry: Geometry) -> Tensor:
        views = centre_crop(images, geometry).clone()
        on = (parameters[:, 0] > 0.5).nonzero()[:, 0].to(images.device)
        if len(on):
            views[on] = centre_crop(self.change(images[on]), geometry)
        return views

    @property
    def neutral(self) -> tuple[float, ...]:
        return (0.0,)


@dataclass(frozen=True)
class HorizontalFlip(_OnOff):
    """Mirror left and right."""

    kind = "spatial"

    def change(self, images: Tensor) -> Tensor:
        return images.flip(-1)


@dataclass(frozen=True)
class VerticalFlip(_OnOff):
    """Mirror top and bottom."""

    kind = "spatial"

    def change(self, images: Tensor) -> Tensor:
        return images.flip(-2)


@dataclass(frozen=True)
class Deform(Transform):
    """Elastic deformation: a random field of at most ``alpha`` pixels, smoothed by a Gaussian.

    Parameters are (sigma, field): sigma on ``linspace(10, 50, 8)`` repeated, in pixels, and the number that seeds the
    field, so that every image sees the same fields.
    """

    alpha: float = 1.0
    kind = "spatial"
    unit = "(sigma in pixels, field)"

    def grid(self, k: int, geometry: Geometry, protocol: Protocol) -> Tensor:
        sigma = torch.linspace(10, 50, 8).repeat(math.ceil(k / 8))[:k]
        return torch.stack([sigma, torch.arange(k).float()], dim=1)

    def apply(self, images: Tensor, parameters: Tensor, geometry: Geometry) -> Tensor:
        rows, owner = parameters.unique(dim=0, return_inverse=True)
        height, width = images.shape[-2:]
        box = _CentreBox.of(images, geometry)
        fields = 2 * uniform_noise(send(rows[:, 1].long(), images.device), (2, height, width)) - 1
        kernel = min(17, (min(height, width) - 1) // 2 * 2 + 1)
        near, inner = box.grown(kernel // 2, fields)
        fields = inner.cut(gaussian_blur(near.to(images.dtype), rows[:, 0].to(images.dtype), kernel))
        pixel = torch.tensor([2 / width, 2 / height], device=images.device, dtype=images.dtype)
        shift = fields.permute(0, 2, 3, 1)[owner.to(images.device)] * (self.alpha * pixel)
        identity = torch.eye(2, 3, device=images.device, dtype=images.dtype)[None]
        grid = torch.nn.functional.affine_grid(identity, [1, 1, height, width], align_corners=False)
        grid = box.cut(grid.movedim(-1, 1)).movedim(1, -1) + shift
        return torch.nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    def coordinates(self, parameters: Tensor) -> Tensor:
        return parameters[..., :1]


# Appearance


class _Photometric(Transform):
    """A change of pixel values by one number."""

    kind = "appearance"
    unit = "factor"

    def reach(self, geometry: Geometry) -> int | None:
        """Return from how far, in pixels, a pixel's new value depends on others, None for the whole image."""
        return 0

    @abstractmethod
    def adjust(self, images: Tensor, amount: Tensor, geometry: Geometry) -> Tensor:
        """Return the changed images; ``amount`` is (N,), on the CPU."""

    def apply(self, images: Tensor, parameters: Tensor, geometry: Geometry) -> Tensor:
        return self._apply(self.adjust, images, parameters, geometry)

    def _apply(
        self,
        adjust: Callable[[Tensor, Tensor, Geometry], Tensor],
        images: Tensor,
        parameters: Tensor,
        geometry: Geometry,
    ) -> Tensor:
        amount = parameters[:, 0].to(images.dtype)
        box, reach = _CentreBox.of(images, geometry), self.reach(geometry)
        if reach is not None:
            images, box = box.grown(reach, images)
        return box.cut(adjust(images, amount, geometry))


class _Blend(_Photometric):
    """A blend with other images by a factor: 0 is those, 1 the images themselves, and more goes on from there."""

    @abstractmethod
    def others(self, images: Tensor) -> Tensor:
        """Return what images (N, 3, H, W) are blended with, of the same shape or one that is expanded to it."""

    def grid(self, k: int, geometry: Geometry, protocol: Protocol) -> Tensor:
        return torch.linspace(0.25, 5, k)[:, None]

    def adjust(self, images: Tensor, amount: Tensor, geometry: Geometry) -> Tensor:
        return blend(images, self.others(images), send(amount, images.device))

    def apply_in_eight_bits(self, images: Tensor, parameters: Tensor, geometry: Geometry) -> Tensor:
        return self._apply(self._adjust_in_eight_bits, images, parameters, geometry)

    def _adjust_in_eight_bits(self, images: Tensor, amount: Tensor, geometry: Geometry) -> Tensor:
        """Blend as Pillow does: the other image is rounded, and of the blend, decimals are cut off."""
        levels, others = images.mul(255).round_(), self.others(images).mul(255).round_()
        blended = others + send(amount, images.device)[:, None, None, None] * (levels - others)
        return blended.clamp_(0, 255).floor_().div_(255)

    @property
    def neutral(self) -> tuple[float, ...]:
        return (1.0,)


@dataclass(frozen=True)
class Brightness(_Blend):
    """Multiply the values by a factor; ``linspace(0.25, 5, k)``."""

    def others(self, images: Tensor) -> Tensor:
        return images.new_zeros(1, 1, 1, 1)


@dataclass(frozen=True)
class Contrast(_Blend):
    """Blend with the image's mean grey; ``linspace(0.25, 5, k)``."""

    def others(self, images: Tensor) -> Tensor:
        return mean_grey(images)

    def reach(self, geometry: Geometry) -> int | None:
        return None


@dataclass(frozen=True)
class Saturation(_Blend):
    """Blend with the greyscale image; ``linspace(0.25, 5, k)``."""

    def others(self, images: Tensor) -> Tensor:
        return luma(images)


@dataclass(frozen=True)
class Hue(_Photometric):
    """Shift the hue; ``linspace(-0.5, 0.5, k)`` turns."""

    unit = "turns"

    def grid(self, k: int, geometry: Geometry, protocol: Protocol) -> Tensor:
        return torch.linspace(-0.5, 0.5, k)[:, None]

    def adjust(self, images: Tensor, amount: Tensor, geometry: Geometry) -> Tensor:
        return adjust_hue(images, send(amount, images.device))

    def apply_in_eight_bits(self, images: Tensor, parameters: Tensor, geometry: Geometry) -> Tensor:
        return self._apply(self._adjust_in_eight_bits, images, parameters, geometry)

    def _adjust_in_eight_bits(self, images: Tensor, amount: Tensor, geometry: Geometry) -> Tensor:
        """Shift the hue of 8-bit HSV images, as Pillow makes them: hue and saturation are cut off to whole levels."""
        hue, high, spread = hue_and_range(images)
        hue = hue.remainder_(1).mul_(255).add_(_ROUNDING).floor_()
        hue = hue.add_(send((amount * 255).trunc(), images.device)[:, None, None]).remainder_(256).div_(255)
        saturation = (spread / high.clamp(min=1 / 255)).mul_(255).add_(_ROUNDING).floor_().div_(255)
        return in_eight_bits(high[:, None] * (1 - saturation[:, None] * depths(hue)))

    def coordinates(self, parameters: Tensor) -> Tensor:
        return _on_a_circle(parameters)

    @property
    def neutral(self) -> tuple[float, ...]:
        return (0.0,)


@dataclass(frozen=True)
class Blur(_Photometric):
    """Gaussian blur; sigma on ``linspace(1e-5, 20, k)`` pixels, with a kernel of 23 at a crop of 224."""

    unit = "pixels"

    def grid(self, k: int, geometry: Geometry, protocol: Protocol) -> Tensor:
        return torch.linspace(1e-5, 20, k)[:, None]

    def adjust(self, images: Tensor, amount: Tensor, geometry: Geometry) -> Tensor:
        return gaussian_blur(images, amount, self._kernel_size(geometry))

    def reach(self, geometry: Geometry) -> int | None:
        return self._kernel_size(geometry) // 2

    @staticmethod
    def _kernel_size(geometry: Geometry) -> int:
        return 1 + geometry.crop_size // 20 * 2

    @property
    def neutral(self) -> tuple[float, ...]:
        return (1e-5,)


@dataclass(frozen=True)
class Sharpness(_Blend):
    """Blend with the 3x3 smoothing (1 1 1; 1 5 1; 1 1 1) / 13; ``linspace(1, 30, k)``."""

    def grid(self, k: int, geometry: Geometry, protocol: Protocol) -> Tensor:
        return torch.linspace(1, 30, k)[:, None]

    def others(self, images: Tensor) -> Tensor:
        """Smooth; the image's outermost pixels, which have no neighbours all round, stay as they are."""
        smooth, inner = images.clone(), images[..., 1:-1, 1:-1]
        sums = torch.nn.functional.avg_pool2d(images, 3, stride=1, divisor_override=1)
        smooth[..., 1:-1, 1:-1] = sums.add_(inner, alpha=4).div_(13)
        return smooth

    def reach(self, geometry: Geometry) -> int | None:
        return 1


@dataclass(frozen=True)
class Posterize(_Photometric):
    """Keep the highest bits of each value; 1 to 7."""

    unit = "bits"

    def grid(self, k: int, geometry: Geometry, protocol: Protocol) -> Tensor:
        return torch.arange(1.0, 8.0)[:, None]

    def adjust(self, images: Tensor, amount: Tensor, geometry: Geometry) -> Tensor:
        return keep_highest_bits(images, send(amount, images.device))


@dataclass(frozen=True)
class Grayscale(_OnOff):
    """Remove the colour."""

    kind = "appearance"

    def change(self, images: Tensor) -> Tensor:
        return to_grayscale(images)


@dataclass(frozen=True)
class Invert(_OnOff):
    """Turn every value v into 1 - v."""

    kind = "appearance"

    def change(self, images: Tensor) -> Tensor:
        return 1 - images


@dataclass(frozen=True)
class Equalize(_OnOff):
    """Equalise each channel's histogram, in 8 bits."""

    kind = "appearance"

    def change(self, images: Tensor) -> Tensor:
        return equalize_histograms(images)


rotation = Rotation()
translation = Translation()
scale = Scale()
shear = Shear()
resized_crop = ResizedCrop()
h_flip = HorizontalFlip()
v_flip = VerticalFlip()
deform = Deform()
brightness = Brightness()
contrast = Contrast()
saturation = Saturation()
hue = Hue()
blur = Blur()
sharpness = Sharpness()
posterize = Posterize()
grayscale = Grayscale()
invert = Invert()
equalize = Equalize()
