"""Transforms that move pixels."""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor

from solo_invariance.families.operations.appearance import gaussian_blur
from solo_invariance.families.operations.noise import uniform_noise
from solo_invariance.families.operations.operation import send
from solo_invariance.families.operations.resampling import warp_nearest
from solo_invariance.families.operations.spatial import rotation_matrix, shear_matrix
from solo_invariance.measure.transforms.transform import (
    _ROUNDING,
    ResizeCrop,
    Transform,
    _CentreBox,
    centre_crop,
)
from solo_invariance.protocols import ProtocolName, protocol_named


class _Affine(Transform):
    """An affine map about the image's centre, nearest pixel, zeros outside: torchvision's ``affine`` and ``rotate``."""

    kind = "spatial"

    @abstractmethod
    def inverse(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map from output to input pixels about the centre: linear (N, 2, 2) and offset (N, 2)."""

    def apply(self, images: Tensor, parameters: Tensor, geometry: ResizeCrop) -> Tensor:
        linear, offset = self.inverse(parameters.double())
        centre = torch.tensor([images.shape[3] / 2, images.shape[2] / 2], dtype=torch.float64)
        maps = torch.cat([linear, (centre + offset - linear @ centre)[..., None]], dim=2)
        return warp_nearest(images, maps, *_CentreBox.of(images, geometry))  # nothing but the crop is looked up


@dataclass(frozen=True)
class Rotation(_Affine):
    """Rotation counter-clockwise; ``linspace(0, 360, k + 1)`` without the last."""

    unit = "degrees"

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
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

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
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

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
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


def _with_shear(grid: Tensor, protocol: ProtocolName) -> Tensor:
    return torch.cat([grid, torch.full((len(grid), 1), protocol_named(protocol).shear_of_affine)], dim=1)


def _quirk_degrees(degrees: Tensor) -> Tensor:
    return torch.stack([degrees, torch.zeros_like(degrees)], dim=1)


@dataclass(frozen=True)
class Shear(_Affine):
    """Shear by (x, y); the product of ``linspace(-160, 160, sqrt(k) + 1)`` without the last with itself."""

    unit = "degrees"

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
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

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
        n = math.isqrt(math.isqrt(k))
        corner = torch.linspace(0, 0.25, n) * geometry.resize
        side = torch.linspace(0.75, 0.25, n) * geometry.resize
        return torch.cartesian_prod(corner, corner, side, side).reshape(-1, 4)

    def apply(self, images: Tensor, parameters: Tensor, geometry: ResizeCrop) -> Tensor:
        size = [geometry.crop_size, geometry.crop_size]
        return self._apply(lambda crops: F.resize(crops, size, antialias=True), images, parameters, geometry)

    def apply_in_eight_bits(self, images: Tensor, parameters: Tensor, geometry: ResizeCrop) -> Tensor:
        """Resize as Pillow does: first the width, then the height, and after both, halves are rounded up."""

        def resize(crops: Tensor) -> Tensor:
            for size in ([crops.shape[-2], geometry.crop_size], [geometry.crop_size, geometry.crop_size]):
                crops = F.resize(crops, size, antialias=True).mul_(255).add_(0.5 + _ROUNDING).floor_().div_(255)
            return crops

        return self._apply(resize, images, parameters, geometry)

    @staticmethod
    def _apply(resize: Callable[[Tensor], Tensor], images: Tensor, parameters: Tensor, geometry: ResizeCrop) -> Tensor:
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

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
        return torch.tensor([[0.0], [1.0]])

    def apply(self, images: Tensor, parameters: Tensor, geometry: ResizeCrop) -> Tensor:
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

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
        sigma = torch.linspace(10, 50, 8).repeat(math.ceil(k / 8))[:k]
        return torch.stack([sigma, torch.arange(k).float()], dim=1)

    def apply(self, images: Tensor, parameters: Tensor, geometry: ResizeCrop) -> Tensor:
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


rotation = Rotation()


translation = Translation()


scale = Scale()


shear = Shear()


resized_crop = ResizedCrop()


h_flip = HorizontalFlip()


v_flip = VerticalFlip()


deform = Deform()
