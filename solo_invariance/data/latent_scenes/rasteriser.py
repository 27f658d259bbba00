"""Which triangle covers which pixel, for many images at once.

Triangles are cut into the rows, and these into the pixels, that they cover: ragged batches without a loop and without a
wasted test. M triangles on the screen are `(3, 3, M)`: x, y (pixels, y down) and inverse depth, of three corners each.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_TRIANGLE_BITS = 32
_LEAST_AREA = 2e-3  # twice the area in square pixels; in thinner triangles the depth is all rounding


class Hits(NamedTuple):
    """What is seen at the P pixels that anything covers.

    Attributes:
        pixel: `(P,)`, index into the flattened frame.
        triangle: `(P,)`, the nearest one there.
        weights: `(3, P)`, barycentric coordinates in the scene of the point seen.
    """

    pixel: Tensor
    triangle: Tensor
    weights: Tensor


def nearest_triangles(screen: Tensor, image: Tensor, frame: tuple[int, int, int]) -> Hits:
    """Find what is seen at every pixel.

    Args:
        screen: `(3, 3, M)`, corners on the screen.
        image: `(M,)`, the image that each triangle belongs to.
        frame: images, rows and columns.
    """
    triangle, pixel = _fragments(screen, image, frame)
    _, inverse_depth = _interpolation(screen, triangle, pixel, frame)
    # The bits of positive floats are in the order of the floats, so one integer holds depth first, then the triangle.
    key = (inverse_depth.view(torch.int32).long() << _TRIANGLE_BITS) | triangle
    best = key.new_zeros(frame).view(-1).scatter_reduce(0, pixel, key, "amax")
    pixel = best.nonzero().squeeze(1)
    triangle = best[pixel] & (2**_TRIANGLE_BITS - 1)
    weights, _ = _interpolation(screen, triangle, pixel, frame)
    return Hits(pixel, triangle, weights)


def coverage(screen: Tensor, image: Tensor, frame: tuple[int, int, int]) -> Tensor:
    """1 where anything is and 0 elsewhere, float32 in the shape of `frame`.

    Args:
        screen: `(3, 3, M)`, corners on the screen.
        image: `(M,)`, the image that each triangle belongs to.
        frame: images, rows and columns.
    """
    _, pixel = _fragments(screen, image, frame)
    return torch.zeros(frame, device=screen.device).view(-1).scatter(0, pixel, 1.0).view(frame)


def pick(values: Tensor, index: Tensor) -> Tensor:
    """`values[..., index]`, for `index` `(P,)`: several times faster."""
    return values.gather(-1, index.expand(*values.shape[:-1], -1))


def ragged_range(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Count from zero for every entry of `counts`: each step's entry, and the step.

    Example:
        >>> ragged_range(torch.tensor([2, 0, 3]))
        (tensor([0, 0, 2, 2, 2]), tensor([0, 1, 0, 1, 2]))
    """
    entry = torch.repeat_interleave(counts)
    return entry, torch.arange(len(entry), device=counts.device) - pick(counts.cumsum(0) - counts, entry)


def _fragments(screen: Tensor, image: Tensor, frame: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Triangle and pixel of every pair in which the triangle faces the camera and covers the pixel's centre."""
    _, rows, columns = frame
    x, y, _ = screen
    facing = (x[2] - x[0]) * (y[1] - y[0]) - (x[1] - x[0]) * (y[2] - y[0]) > _LEAST_AREA
    first, last = _centres(y.amin(0), y.amax(0), rows)
    triangle, step = ragged_range((last - first + 1).clamp(min=0) * facing)
    row = pick(first, triangle) + step
    start, stop = _centres(*_span(x, y, triangle, row), columns)
    line, step = ragged_range((stop - start + 1).clamp(min=0))
    left = (pick(image, triangle) * rows + row) * columns + start
    return pick(triangle, line), pick(left, line) + step


def _interpolation(
    screen: Tensor, triangle: Tensor, pixel: Tensor, frame: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Barycentric coordinates in the scene `(3, P)`, and inverse depth `(P,)`, of triangles at pixels' centres."""
    x, y, inverse_depth = pick(screen, triangle)
    (x0, x1, x2), (y0, y1, y2) = x - pixel % frame[2] - 0.5, y - pixel // frame[2] % frame[1] - 0.5
    areas = torch.stack([x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0])
    weights = areas * inverse_depth
    total = weights[0] + weights[1] + weights[2]
    return weights / total, total / (areas[0] + areas[1] + areas[2])


def _span(x: Tensor, y: Tensor, triangle: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """Where rows enter and leave their triangles, by edges that go down the screen and edges that go up."""
    next_x, next_y = x.roll(-1, 0), y.roll(-1, 0)
    slope = (next_x - x) / (next_y - y)
    edge = pick(x, triangle) + (row + 0.5 - pick(y, triangle)) * pick(slope, triangle)
    left = edge.masked_fill(pick(y >= next_y, triangle), -torch.inf).amax(0)
    right = edge.masked_fill(pick(y <= next_y, triangle), torch.inf).amin(0)
    return left, right


def _centres(low: Tensor, high: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First and last of the pixels 0 to size - 1 whose centres lie between `low` and `high`."""
    return (low - 0.5).ceil().clamp(0, size).long(), (high - 0.5).floor().clamp(-1, size - 1).long()
