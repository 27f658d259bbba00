"""Elastic deformation."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from solo_invariance.families.operations.appearance import gaussian_blur
from solo_invariance.families.operations.noise import normal_noise, uniform_noise
from solo_invariance.families.operations.operation import send
from solo_invariance.families.operations.resampling import displacement_at
from solo_invariance.measure.transforms.transform import (
    Box,
    ResizeCrop,
    Window,
    WindowTransform,
    in_eight_bits,
)
from solo_invariance.protocols import ProtocolName, protocol_named

_CELLS = 4
_KERNEL = 17
_MOST = 1 / 28  # of the crop's side
_ROWS, _FIELDS = 2**20, 2**12  # that seeds tell apart


@dataclass(frozen=True)
class Deform(WindowTransform):
    """Elastic deformation. Parameters are (size, field, reach, row); what they say depends on the protocol.

    ``clean``: a smooth random field displaces pixels by ``size`` pixels, the root mean square over the crop, on
    ``linspace(0, crop_size / 28, k)``, of which 0 is the identity. The field is drawn at the corners of 4 x 4 cells
    that span the crop, and bicubic in between. ``field`` is its seed, so that every image sees the same fields, and
    runs pair. ``reach`` and ``row`` are 0.

    ``paper``: albumentations 1.0.3's ``ElasticTransform(sigma=size, approximate=True)``, sigma on
    ``linspace(10, 50, 8)`` cut to integers and repeated. Three control points of the image are moved by up to
    ``reach`` = 50 pixels, uniformly, and the affine map that this makes is most of what is seen: the elastic part,
    noise in (-1, 1) smoothed by a Gaussian of ``size`` pixels with a kernel of 17 x 17, moves pixels by hundredths.
    Linear interpolation, reflected at the border's pixels. Each image and parameter have draws of their own, seeded by
    ``field`` and ``row``, the row of the measurement. No parameter changes nothing.
    """

    kind = "spatial"
    unit = "pixels"

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
        reach = protocol_named(protocol).affine_of_deformation
        if reach:
            size = torch.linspace(10, 50, 8).trunc().repeat(math.ceil(k / 8))[:k]
        else:
            size = torch.linspace(0, geometry.crop_size * _MOST, k)
        constant = torch.tensor([[reach, 0.0]]).expand(k, 2)
        return torch.cat([size[:, None], torch.arange(float(k))[:, None], constant], dim=1)

    def parameters_of_row(self, parameters: Tensor, row: int) -> Tensor:
        rows = (parameters[:, 2:3] > 0) * float(row)
        return torch.cat([parameters[:, :3], rows], dim=1)

    def change(self, images: Tensor, parameters: Tensor, window: Window, *, eight_bits: bool) -> Tensor:
        if not parameters[:, 2].any():
            deformed = self._bend(images, parameters, window.box)
            return in_eight_bits(deformed) if eight_bits else deformed
        seeds = parameters[:, 3].long() % _ROWS * _FIELDS + parameters[:, 1].long()
        (height, width), near = images.shape[-2:], window.box.around(1, images)
        moves = (2 * uniform_noise(seeds, (3, 2)).double() - 1) * parameters[:, 2, None, None]
        moved = affine(images, affine_map(moves, height, width), near)
        moved = in_eight_bits(moved) if eight_bits else moved
        noisy = near.around(_KERNEL // 2, images)
        noise = 2 * uniform_noise(send(seeds + _ROWS * _FIELDS, images.device), (2, noisy.height, noisy.width)) - 1
        shift = near.within(noisy).cut(smooth(noise, parameters[:, 0].float()))
        deformed = window.box.within(near).cut(displace(moved, shift))
        return in_eight_bits(deformed) if eight_bits else deformed

    @staticmethod
    def _bend(images: Tensor, parameters: Tensor, box: Box) -> Tensor:
        seeds = send(parameters[:, 1].long(), images.device)
        size = send(parameters[:, 0].to(images.dtype), images.device)
        shift = smooth_field(seeds, box).mul_(size[:, None, None, None])
        return _sample(images, box, shift)

    def identity(self, grid: Tensor) -> int | None:
        return super().identity(grid[:, :1])

    def coordinates(self, parameters: Tensor) -> Tensor:
        return parameters[..., :1]

    @property
    def neutral(self) -> tuple[float, ...]:
        return (0.0,)


def affine_map(moves: Tensor, height: int, width: int) -> Tensor:
    """Return the affine maps that move control points, from output to input positions (x, y, 1), (N, 2, 3).

    With c half of (height, width), taken for (x, y), and s a third of the short side, both cut to whole pixels, the
    points are c + s, (c_1 + s, c_2 - s) and c - s. Pixel centres are at whole numbers.

    Args:
        moves: By how many pixels each point is moved in the input, (N, 3, 2), float64.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
    """
    centre, side = torch.tensor([height // 2, width // 2]).double(), min(height, width) // 3
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64)
    points = centre + signs * side
    ones = points.new_ones(3, 1)
    # The image follows the points: what lies at a point comes to lie at the moved one.
    homogeneous = torch.cat([points + moves, ones.expand(len(moves), 3, 1)], dim=2)
    return torch.linalg.solve(homogeneous, points.expand(len(moves), 3, 2)).transpose(1, 2)


def affine(images: Tensor, maps: Tensor, box: Box) -> Tensor:
    """Return a box of images (N, C, H, W) that are sampled through ``affine_map``'s maps, linearly."""
    maps = maps.to(images.dtype)
    maps = send(maps, images.device)
    y, x = _places(images, box)
    where = maps[:, :, 0, None, None] * x + (maps[:, :, 1, None, None] * y + maps[:, :, 2, None, None])
    return _look_up(images, where)


def smooth(noise: Tensor, sigma: Tensor) -> Tensor:
    """Smooth noise (N, 2, H, W) by a Gaussian of ``sigma`` pixels (N,), with a kernel of 17 x 17 where it fits."""
    kernel = min(_KERNEL, (min(noise.shape[-2:]) - 1) // 2 * 2 + 1)
    return gaussian_blur(noise, sigma, kernel)


def displace(images: Tensor, shift: Tensor) -> Tensor:
    """Return what lies ``shift``, x and y (N, 2, H, W) in pixels, from each pixel of images (N, C, H, W), linearly."""
    return _sample(images, Box(0, 0, *images.shape[-2:]), shift)


def smooth_field(seeds: Tensor, box: Box) -> Tensor:
    """Return smooth displacements over a box, x and y, (N, 2, height, width), whose root mean square length is 1."""
    lattice = normal_noise(seeds, (2, _CELLS + 1, _CELLS + 1))
    rows, columns = (torch.linspace(-1, 1, size, device=seeds.device) for size in (box.height, box.width))
    points = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    field = displacement_at(points.expand(len(seeds), -1, -1, -1), lattice).permute(0, 3, 1, 2)
    return field / field.square().sum(dim=1).mean(dim=(1, 2)).sqrt()[:, None, None, None]


def _sample(images: Tensor, box: Box, shift: Tensor) -> Tensor:
    y, x = _places(images, box)
    return _look_up(images, torch.stack([shift[:, 0] + x, shift[:, 1] + y], dim=1))


def _places(images: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    rows = torch.arange(box.top, box.top + box.height, device=images.device, dtype=images.dtype)
    columns = torch.arange(box.left, box.left + box.width, device=images.device, dtype=images.dtype)
    return rows[:, None], columns


def _look_up(images: Tensor, where: Tensor) -> Tensor:
    """Interpolate images (N, C, H, W) linearly at x and y (N, 2, h, w), in pixels, reflected at the border's pixels."""
    height, width = images.shape[-2:]
    last = torch.tensor([width - 1, height - 1], device=images.device, dtype=images.dtype)
    grid = where.movedim(1, -1) * (2 / last) - 1
    return grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=True)


deform = Deform()
