"""Transforms that move pixels."""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor

from solo_invariance.families.operations.resampling import warp_nearest
from solo_invariance.families.operations.spatial import rotation_matrix, shear_matrix
from solo_invariance.measure.transforms.resizing import Axis, resize
from solo_invariance.measure.transforms.transform import ResizeCrop, Transform, Window, WindowTransform, in_eight_bits
from solo_invariance.protocols import ProtocolName, protocol_named


class _Affine(WindowTransform):
    """An affine map about the image's centre, nearest pixel, zeros outside: torchvision's ``affine`` and ``rotate``."""

    kind = "spatial"

    @abstractmethod
    def inverse(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map from output to input pixels about the centre: linear (N, 2, 2) and offset (N, 2)."""

    def change(self, images: Tensor, parameters: Tensor, window: Window, *, eight_bits: bool) -> Tensor:
        linear, offset = self.inverse(parameters.double())
        centre = torch.tensor([images.shape[3] / 2, images.shape[2] / 2], dtype=torch.float64)
        maps = torch.cat([linear, (centre + offset - linear @ centre)[..., None]], dim=2)
        return warp_nearest(images, maps, *window.box)


@dataclass(frozen=True)
class Rotation(_Affine):
    """Rotation counter-clockwise; ``linspace(0, 360, k + 1)`` without the last."""

    unit = "degrees"

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
        return torch.linspace(0, 360, k + 1)[:k, None]

    def weights(self, grid: Tensor) -> Tensor:
        """Return the same for all steps: the circle has no ends."""
        return torch.full((len(grid),), 1 / len(grid), dtype=torch.float64)

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
        return self._crops(images, parameters, geometry, eight_bits=False)

    def apply_in_eight_bits(self, images: Tensor, parameters: Tensor, geometry: ResizeCrop) -> Tensor:
        """Return the crops with Pillow's bytes; arguments as ``apply``."""
        return self._crops(images, parameters, geometry, eight_bits=True)

    @staticmethod
    def _crops(images: Tensor, parameters: Tensor, geometry: ResizeCrop, *, eight_bits: bool) -> Tensor:
        size = geometry.crop_size
        views = images.new_empty(len(images), images.shape[1], size, size)
        top, left, height, width = parameters.double().unbind(dim=1)
        corners = torch.stack([top, left, top + height, left + width], dim=1).round().int()  # as Pillow rounds boxes
        boxes, owner = corners.unique(dim=0, return_inverse=True)
        for index, (first, start, last, end) in enumerate(boxes.tolist()):
            rows = (owner == index).nonzero()[:, 0].to(images.device)
            crops = F.crop(images[rows], first, start, last - first, end - start)
            down, across = Axis(last - first, size, 0, size), Axis(end - start, size, 0, size)
            views[rows] = resize(crops, down, across, eight_bits=eight_bits)
        return views


class _OnOff(WindowTransform):
    """A transform without numbers: parameter 0 leaves the image alone, 1 applies it."""

    unit = "off / on"

    @abstractmethod
    def changed(self, images: Tensor) -> Tensor:
        """Return the changed images, same shape."""

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
        return torch.tensor([[0.0], [1.0]])

    def change(self, images: Tensor, parameters: Tensor, window: Window, *, eight_bits: bool) -> Tensor:
        views = window.box.cut(images).clone()
        on = (parameters[:, 0] > 0.5).nonzero()[:, 0].to(images.device)
        if len(on):
            changed = window.box.cut(self.changed(images[on]))
            views[on] = in_eight_bits(changed) if eight_bits else changed
        return views

    @property
    def neutral(self) -> tuple[float, ...]:
        return (0.0,)


@dataclass(frozen=True)
class HorizontalFlip(_OnOff):
    """Mirror left and right."""

    kind = "spatial"

    def changed(self, images: Tensor) -> Tensor:
        return images.flip(-1)


@dataclass(frozen=True)
class VerticalFlip(_OnOff):
    """Mirror top and bottom."""

    kind = "spatial"

    def changed(self, images: Tensor) -> Tensor:
        return images.flip(-2)


rotation = Rotation()


translation = Translation()


scale = Scale()


shear = Shear()


resized_crop = ResizedCrop()


h_flip = HorizontalFlip()


v_flip = VerticalFlip()
