"""Sampling pixels: the geometry of a whole family is composed to one map, and the image is interpolated once.

Coordinates are normalised: an image spans [-1, 1] on both axes, pixel borders at the ends (``align_corners=False``). A
map says where each output point looks in the input. It is given in steps, in the order in which the operations are
applied; a step is a homography or a field of displacements.
"""

import math
from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_invariance.families.operations.operation import send

_MAX_SUBSAMPLES = 8
_FIXED_BITS = 16
_FIXED_POINT = 2**_FIXED_BITS
_MOST_POINTS = 2**24
_SPACING = 1.25  # of the subsamples, at most, in input pixels


def resample(images: Tensor, steps: Sequence[Tensor], size: int, *, axis_aligned: bool) -> Tensor:
    """Sample each image once through its map, to squares of ``size`` pixels, antialiased where it shrinks.

    Args:
        images: (N, C, H, W) float32.
        steps: From output to input coordinates, in the operations' order: homographies (N, 3, 3), or displacements
            (N, 2, G, G) in normalised units on a lattice whose corners are the image's. On the CPU.
        size: Side of the output, in pixels.
        axis_aligned: The steps are homographies that only scale and shift the axes. Then the resampling is separable:
            along each axis the weights are those of torchvision's ``resized_crop`` with bilinear interpolation and
            ``antialias=True``. Otherwise the map is sampled bilinearly at points that lie at most 1.25 input pixels
            apart (eight points a pixel along each axis at most), and what lies outside the image is its reflection.

    Returns:
        (N, C, size, size)
    """
    matrices = _compose(steps, len(images))
    if axis_aligned:
        rows = _resize_rows(images, matrices[:, 1, 1], matrices[:, 1, 2], size)
        columns = _resize_rows(rows.transpose(2, 3).contiguous(), matrices[:, 0, 0], matrices[:, 0, 2], size)
        return columns.transpose(2, 3).contiguous()
    samples = _subsamples(matrices, images.shape[2] / size, bending=_bending(steps))
    merged = _merge(steps)
    views = images.new_empty(len(images), images.shape[1], size, size)
    for counts in samples.unique(dim=0):
        chosen = (samples == counts).all(dim=1).nonzero()[:, 0]
        places = send(chosen, images.device)
        part = [send(step[chosen], images.device) for step in merged]
        across, down = counts.tolist()
        views.index_copy_(0, places, _warp_antialiased(images.index_select(0, places), part, size, across, down))
    return views


def warp_nearest(images: Tensor, maps: Tensor, top: int, left: int, rows: int, columns: int) -> Tensor:
    """Cut a box out of the images that affine maps make, with the nearest pixel and zeros outside.

    Positions are counted in 1/65536 of a pixel, as Pillow does it, so that the pixels are Pillow's, on every device. In
    floating point, rounding would decide where a position lies half way between two pixels, which a rotation by 90
    degrees may do to all of them.

    Args:
        images: (N, C, H, W).
        maps: From output to input positions (x, y, 1), in pixels, (N, 2, 3), float64 on the CPU; pixel centres are at
            halves.
        top: First row of the box.
        left: Its first column.
        rows: Its height, in pixels.
        columns: Its width, in pixels.

    Returns:
        (N, C, rows, columns)
    """
    height, width = images.shape[2:]
    maps = maps.clone()
    maps[:, :, 2] += maps[:, :, :2].sum(dim=2) / 2  # the first pixel's centre
    steps = send((maps * _FIXED_POINT + 0.5).floor().long(), images.device)[..., None, None]
    down = torch.arange(top, top + rows, device=images.device)[:, None]
    across = torch.arange(left, left + columns, device=images.device)
    x, y = ((step[:, 0] * across + step[:, 2]) + step[:, 1] * down for step in steps.unbind(dim=1))
    x.bitwise_right_shift_(_FIXED_BITS)
    y.bitwise_right_shift_(_FIXED_BITS)
    inside = (x >= 0) & (x < width)
    inside.logical_and_(y >= 0).logical_and_(y < height)
    places = y.mul_(width).add_(x).mul_(inside).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    found = images.flatten(2).gather(2, places).unflatten(2, (rows, columns))
    return found.mul_(inside[:, None])


def _resize_rows(images: Tensor, scale: Tensor, shift: Tensor, size: int) -> Tensor:
    """Resample the vertical axis of images (N, C, H, W) to ``size`` rows; the map, (N,) each, is on the CPU.

    Each row of the output is a weighted sum of few of the input: what an embedding bag computes.
    """
    n, channels, height, width = images.shape
    # How many is known on the CPU; the rest is computed where the images are, from a few numbers an image.
    count = math.ceil(2 * _support(scale, height, size).max().item() - 1e-5)
    scale, shift = send(scale, images.device), send(shift, images.device)
    rows, weights = _taps(scale, shift, height, size, count)
    first_rows = torch.arange(n * channels, device=images.device).reshape(n, channels, 1, 1) * height
    bags = (rows[:, None] + first_rows).reshape(-1, count)
    weights = weights[:, None].expand(n, channels, size, count).reshape(-1, count)
    summed = F.embedding_bag(bags, images.reshape(-1, width), mode="sum", per_sample_weights=weights)
    return summed.reshape(n, channels, size, width)


def _support(scale: Tensor, in_size: int, out_size: int) -> Tensor:
    """Half the width (N,) of the filter, in input pixels: the output pixel's, but not less than an input pixel's."""
    return (scale.abs() * (in_size / out_size)).clamp(min=1.0)


def _taps(scale: Tensor, shift: Tensor, in_size: int, out_size: int, count: int) -> tuple[Tensor, Tensor]:
    """Input pixels (N, out_size, count) that an output pixel looks at, and their weights, which sum to 1.

    The filter is a triangle. Input pixels outside the box that the output covers get no weight, as if the box had been
    cut out first.
    """
    support = _support(scale, in_size, out_size)[:, None]
    out_centres = (torch.arange(out_size, device=scale.device, dtype=scale.dtype) * 2 + 1) / out_size - 1
    centres = ((scale[:, None] * out_centres + shift[:, None]) + 1) * (in_size / 2)
    pixels = (centres - support + 0.5).floor()[..., None] + torch.arange(count, device=scale.device)
    weights = (1 - (pixels + 0.5 - centres[..., None]).abs() / support[..., None]).clamp(min=0)
    first, last = ((shift + sign * scale.abs() + 1)[:, None, None] * (in_size / 2) for sign in (-1, 1))
    # Half a pixel of slack: a pixel that the box's border cuts through still counts.
    inside = (pixels > first - 1 + 1e-4) & (pixels < last - 1e-4)
    weights = weights * inside
    return pixels.long().clamp(0, in_size - 1), weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-12)


def _compose(steps: Sequence[Tensor], n: int) -> Tensor:
    """The product (N, 3, 3) of the homographies; displacements are left out."""
    return reduce(torch.matmul, [step for step in steps if step.ndim == 3], torch.eye(3).expand(n, 3, 3))


def _merge(steps: Sequence[Tensor]) -> list[Tensor]:
    """The same map in fewer steps: neighbouring homographies multiplied."""
    merged: list[Tensor] = []
    for step in steps:
        if merged and step.ndim == merged[-1].ndim == 3:
            merged[-1] = merged[-1] @ step
        else:
            merged.append(step)
    return merged


def _bending(steps: Sequence[Tensor]) -> Tensor | float:
    """By how much displacements stretch the map along the axes at most, (N, 2) or 1: the slopes of their lattices."""
    stretch: Tensor | float = 1.0
    for step in (step for step in steps if step.ndim == 4):
        cells_a_unit = (step.shape[-1] - 1) / 2
        slopes = [torch.linalg.vector_norm(step.diff(dim=axis), dim=1).amax(dim=(1, 2)) for axis in (3, 2)]
        stretch = stretch * (1 + torch.stack(slopes, dim=1) * cells_a_unit)
    return stretch


def _subsamples(matrices: Tensor, ratio: float, bending: Tensor | float = 1.0) -> Tensor:
    """How many points to sample along the axes of an output pixel, (N, 2): the input pixels that it spans.

    Args:
        matrices: (N, 3, 3).
        ratio: Side of the input over the output's, both in pixels.
        bending: See ``_bending``.
    """
    corners = torch.tensor([[0.0, 0.0], [-1, -1], [1, -1], [-1, 1], [1, 1]], dtype=matrices.dtype)
    mapped = torch.einsum("nij,pj->npi", matrices, F.pad(corners, (0, 1), value=1.0))
    depth = mapped[..., 2, None, None]
    # The derivative of (A x + t) / (c x + d) by x; constant but for perspective, so the corners see its extremes.
    images = mapped[..., :2] / mapped[..., 2:]
    jacobians = (matrices[:, None, :2, :2] - images[..., None] * matrices[:, None, 2:, :2]) / depth
    stretch = torch.linalg.vector_norm(jacobians, dim=2).amax(dim=1) * ratio * bending
    return (stretch / _SPACING - 1e-3).ceil().clamp(1, _MAX_SUBSAMPLES).int()


def _warp_antialiased(images: Tensor, steps: Sequence[Tensor], size: int, across: int, down: int) -> Tensor:
    """The mean of ``across`` x ``down`` bilinear samples an output pixel."""
    rows, columns = size * down, size * across
    # Few large calls, as a GPU waits for the launch of small ones; few enough points for the memory of any.
    parts = max(1, _MOST_POINTS // (rows * columns))
    views = []
    for some, *maps in zip(images.split(parts), *(step.split(parts) for step in steps), strict=True):
        grid = _grid(some, maps, rows, columns)
        sample = F.grid_sample(some, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        views.append(sample if across * down == 1 else F.avg_pool2d(sample, (down, across)))
    return torch.cat(views)


def _grid(images: Tensor, steps: Sequence[Tensor], height: int, width: int) -> Tensor:
    """Where the output's pixels look in the input; (N, height, width, 2), x before y.

    The last operation's step comes first. The coordinates stay a row and a column until a step makes them planes.
    """
    across, along = (torch.arange(side, device=images.device, dtype=images.dtype) for side in (width, height))
    x = ((across * 2 + 1) / width - 1)[None, None, :]
    y = ((along * 2 + 1) / height - 1)[None, :, None]
    for step in reversed(steps):
        if step.ndim == 3:
            m = step[:, :, :, None, None]
            depth = (m[:, 2, 0] * x + m[:, 2, 2]) + m[:, 2, 1] * y
            x, y = (((m[:, row, 0] * x + m[:, row, 2]) + m[:, row, 1] * y) / depth for row in (0, 1))
        else:
            along_x, along_y = _displacement(x, y, step)
            x, y = x + along_x, y + along_y
    return torch.stack(torch.broadcast_tensors(x.expand(len(images), height, width), y), dim=-1)


def _displacement(x: Tensor, y: Tensor, lattice: Tensor) -> tuple[Tensor, Tensor]:
    if len(x) == x.shape[1] == y.shape[2] == 1:  # a row and a column still: the interpolation is separable
        horizontal, vertical = _cubic_weights(x.flatten(), lattice), _cubic_weights(y.flatten(), lattice)
        field = vertical @ lattice @ horizontal.T
    else:
        field = displacement_at(torch.stack(torch.broadcast_tensors(x, y), dim=-1), lattice).permute(0, 3, 1, 2)
    return field[:, 0], field[:, 1]


def _cubic_weights(points: Tensor, lattice: Tensor) -> Tensor:
    """Weights (P, G) of a lattice's places along one axis at points (P,), as ``displacement_at`` interpolates."""
    unit = torch.eye(lattice.shape[-1], device=points.device, dtype=points.dtype)[None, :, None, :]
    row = torch.stack([points, torch.zeros_like(points)], dim=-1)[None, None]
    return F.grid_sample(unit, row, mode="bicubic", padding_mode="border", align_corners=True)[0, :, 0].T


def displacement_at(points: Tensor, lattice: Tensor) -> Tensor:
    """Interpolate a lattice of displacements (N, 2, G, G) bicubically at points (N, H, W, 2); same shape as points."""
    field = F.grid_sample(lattice, points, mode="bicubic", padding_mode="border", align_corners=True)
    return field.permute(0, 2, 3, 1)
