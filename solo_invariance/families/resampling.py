"""Sampling pixels: the geometry of a whole family is composed to one map, and the image is interpolated once.

Coordinates are normalised: an image spans [-1, 1] on both axes, pixel borders at the ends (``align_corners=False``). A
map says where each output point looks in the input. It is given in steps, in the order in which the operations are
applied; a step is a homography or a field of displacements.
"""

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

_MAX_SUBSAMPLES = 8


def resample(images: Tensor, steps: Sequence[Tensor], size: int, *, axis_aligned: bool) -> Tensor:
    """Sample each image once through its map, to squares of ``size`` pixels, antialiased where it shrinks.

    Args:
        images: (N, C, H, W) float32.
        steps: From output to input coordinates, in the operations' order: homographies (N, 3, 3), or displacements
            (N, 2, G, G) in normalised units on a lattice whose corners are the image's. On the CPU.
        size: Side of the output, in pixels.
        axis_aligned: The steps are homographies that only scale and shift the axes. Then the resampling is separable:
            along each axis the weights are those of torchvision's ``resized_crop`` with bilinear interpolation and
            ``antialias=True``, and the images are two batched matrix products. Otherwise the map is sampled
            bilinearly at as many points a pixel as it shrinks, and what lies outside the image is its reflection.

    Returns:
        (N, C, size, size)
    """
    if axis_aligned:
        matrices = _compose(steps, len(images)).to(images.device, non_blocking=True)
        horizontal = _axis_weights(matrices[:, 0, 0], matrices[:, 0, 2], images.shape[3], size)
        vertical = _axis_weights(matrices[:, 1, 1], matrices[:, 1, 2], images.shape[2], size)
        return vertical[:, None] @ images @ horizontal[:, None].transpose(2, 3)
    subsamples = _subsamples(_compose(steps, len(images)), images.shape[2] / size)
    views = images.new_empty(len(images), images.shape[1], size, size)
    for count in subsamples.unique().tolist():
        chosen = (subsamples == count).nonzero()[:, 0]
        rows = chosen.to(images.device, non_blocking=True)
        part = [step[chosen].to(images.device, non_blocking=True) for step in _merge(steps)]
        views.index_copy_(0, rows, _warp_antialiased(images.index_select(0, rows), part, size, count))
    return views


def warp_nearest(images: Tensor, matrices: Tensor) -> Tensor:
    """Sample through homographies with the nearest pixel and zeros outside, as torchvision's ``affine`` does.

    Args:
        images: (N, C, H, W) floating point.
        matrices: (N, 3, 3), from output to input coordinates.

    Returns:
        (N, C, H, W)
    """
    matrices = matrices.to(images.device, images.dtype, non_blocking=True)
    points = _points(images, images.shape[2], images.shape[3])
    grid = _through_homography(points.expand(len(images), *points.shape), matrices)
    return F.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def _axis_weights(scale: Tensor, shift: Tensor, in_size: int, out_size: int) -> Tensor:
    """Weights (N, out_size, in_size) of a triangle filter as wide as the output pixel, each row summing to 1.

    Input pixels outside the box that the output covers get no weight, as if the box had been cut out first.
    """
    out_centres = (torch.arange(out_size, device=scale.device, dtype=scale.dtype) * 2 + 1) / out_size - 1
    centres = ((scale[:, None] * out_centres + shift[:, None]) + 1) * (in_size / 2)
    pixels = torch.arange(in_size, device=scale.device, dtype=scale.dtype) + 0.5
    support = (scale.abs() * (in_size / out_size)).clamp(min=1.0)
    weights = (1 - (pixels - centres[..., None]).abs() / support[:, None, None]).clamp(min=0)
    first = (shift - scale.abs() + 1) * (in_size / 2)
    last = (shift + scale.abs() + 1) * (in_size / 2)
    # Half a pixel of slack: a pixel that the box's border cuts through still counts.
    inside = (pixels > first[:, None] - 0.5 + 1e-4) & (pixels < last[:, None] + 0.5 - 1e-4)
    weights = weights * inside[:, None]
    return weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-12)


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


def _subsamples(matrices: Tensor, ratio: float) -> Tensor:
    """How many points to sample along each axis of an output pixel, (N,): the input pixels that it spans, rounded up.

    Args:
        matrices: (N, 3, 3).
        ratio: Side of the input over the output's, both in pixels.
    """
    corners = torch.tensor([[0.0, 0.0], [-1, -1], [1, -1], [-1, 1], [1, 1]], dtype=matrices.dtype)
    mapped = torch.einsum("nij,pj->npi", matrices, F.pad(corners, (0, 1), value=1.0))
    depth = mapped[..., 2, None, None]
    # The derivative of (A x + t) / (c x + d) by x; constant but for perspective, so the corners see its extremes.
    images = mapped[..., :2] / mapped[..., 2:]
    jacobians = (matrices[:, None, :2, :2] - images[..., None] * matrices[:, None, 2:, :2]) / depth
    stretch = torch.linalg.matrix_norm(jacobians, ord=2).amax(dim=1) * ratio
    return (stretch - 1e-3).ceil().clamp(1, _MAX_SUBSAMPLES).int()


def _warp_antialiased(images: Tensor, steps: Sequence[Tensor], size: int, count: int) -> Tensor:
    """The mean of ``count`` x ``count`` bilinear samples an output pixel."""
    points = _points(images, size, size)
    offsets = (torch.arange(count) * 2 + 1) / count - 1  # of the subsamples' centres, in half output pixels
    total: Tensor | None = None
    for y in offsets.tolist():
        for x in offsets.tolist():
            shifted = torch.stack([points[..., 0] + x / size, points[..., 1] + y / size], dim=-1)
            grid = _through(shifted.expand(len(images), *shifted.shape), steps)
            sample = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
            total = sample if total is None else total.add_(sample)
    assert total is not None
    return total if count == 1 else total.div_(count**2)


def _points(images: Tensor, height: int, width: int) -> Tensor:
    """The centres (height, width, 2) of the output's pixels, x before y."""
    x = (torch.arange(width, device=images.device, dtype=images.dtype) * 2 + 1) / width - 1
    y = (torch.arange(height, device=images.device, dtype=images.dtype) * 2 + 1) / height - 1
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)


def _through(points: Tensor, steps: Sequence[Tensor]) -> Tensor:
    """Map points (N, H, W, 2) of the output to the input: the last operation's step comes first."""
    for step in reversed(steps):
        points = _through_homography(points, step) if step.ndim == 3 else points + displacement_at(points, step)
    return points


def _through_homography(points: Tensor, matrices: Tensor) -> Tensor:
    mapped = torch.einsum("nij,nhwj->nhwi", matrices[:, :, :2], points) + matrices[:, None, None, :, 2]
    return mapped[..., :2] / mapped[..., 2:]


def displacement_at(points: Tensor, lattice: Tensor) -> Tensor:
    """Interpolate a lattice of displacements (N, 2, G, G) bicubically at points (N, H, W, 2); same shape as points."""
    field = F.grid_sample(lattice, points, mode="bicubic", padding_mode="border", align_corners=True)
    return field.permute(0, 2, 3, 1)
