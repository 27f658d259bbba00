"""Landmarks that follow their images into the square that a network sees."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from solo_invariance.data.decoding import image_size
from solo_invariance.data.framing import Framing, SquareCrops
from solo_invariance.data.images import ImageFiles
from solo_invariance.transfer.tasks.task import Split


def framed_points(points: Tensor, sizes: Sequence[tuple[int, int]], crop_size: int) -> Tensor:
    """Return landmarks in pixels of the square that a network sees; those outside of it stay outside.

    Args:
        points: x and y, (N, P, 2), in pixels of each image; 0 is the centre of its first column or row.
        sizes: Width and height of each image, in pixels.
        crop_size: Side of the square, in pixels.

    Returns:
        (N, 2 P) float32: x and y of the first landmark, of the second, ...
    """
    framing = Framing(crop_size)
    moved = [framing.points(row, *size).flatten() for row, size in zip(points, sizes, strict=True)]
    return torch.stack(moved).float()


def whole_images(paths: Sequence[Path], points: Tensor, crop_size: int) -> Split:
    """Return image files with their landmarks, (N, P, 2), in pixels of the files.

    Raises:
        UserError: A file is no image; the message names it.
    """
    return Split(ImageFiles.of(paths), framed_points(points, [image_size(path) for path in paths], crop_size))


def square_crops(paths: Sequence[Path], points: Tensor, squares: Tensor, crop_size: int) -> Split:
    """Return a square of each image file, with its landmarks.

    Args:
        paths: N image files.
        points: (N, P, 2), in pixels of the files.
        squares: int64 (N, 3): left, top and side, in pixels of the files.
        crop_size: Side of the square that a network sees, in pixels.
    """
    inside = points - squares[:, None, :2]
    targets = framed_points(inside, [(side, side) for side in squares[:, 2].tolist()], crop_size)
    return Split(SquareCrops(ImageFiles.of(paths), squares), targets)
