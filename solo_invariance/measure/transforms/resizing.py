"""Resizing as Pillow does it, bilinear and antialiased, of no more of an image than is wanted.

Pillow's resizing is two sums of neighbouring pixels, along the rows first, and after each it rounds to 8 bits. Its
weights are whole numbers of 22 bits; here they are split into halves of 11 bits, so that single precision holds every
product and sum exactly and matrix products, on any device, give Pillow's bytes. (Some versions of Pillow go along the
columns first where that is cheaper; not where both axes are resized by one ratio or enlarged, as here.)
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_WEIGHT_BITS = 22
_HALF = 2 ** (_WEIGHT_BITS // 2)
_BLOCK = 56  # pixels of the result for which one matrix has the weights: fewer zeros, but more products


class Axis(NamedTuple):
    """Some pixels of one axis of a resized image.

    Args:
        in_size: Pixels of the image along the axis.
        out_size: Pixels of the resized image.
        first: The first of these that is wanted.
        length: How many are wanted.
    """

    in_size: int
    out_size: int
    first: int
    length: int

    @property
    def span(self) -> tuple[int, int]:
        """The first of the image's pixels that is looked at, and the one after the last."""
        lows, highs = self._reach()
        return int(lows[0]), int(highs[-1])

    def weights(self) -> np.ndarray:
        """Return by which weights each wanted pixel is a sum of the image's pixels, (length, in_size), float64."""
        scale = self.in_size / self.out_size
        lows, highs = self._reach()
        places = np.arange(self.in_size)
        weights = np.clip(1 - np.abs((places - self._centres()[:, None] + 0.5) * (1 / max(scale, 1.0))), 0, None)
        weights *= (places >= lows[:, None]) & (places < highs[:, None])
        return weights / weights.sum(axis=1, keepdims=True)

    def _centres(self) -> np.ndarray:
        return (np.arange(self.first, self.first + self.length) + 0.5) * (self.in_size / self.out_size)

    def _reach(self) -> tuple[np.ndarray, np.ndarray]:
        support = max(self.in_size / self.out_size, 1.0)
        lows = (self._centres() - support + 0.5).clip(0).astype(np.int64)
        highs = (self._centres() + support + 0.5).astype(np.int64).clip(max=self.in_size)
        return lows, highs


def resize(pixels: Tensor, rows: Axis, columns: Axis, *, eight_bits: bool) -> Tensor:
    """Return some pixels of resized images, bilinear and antialiased.

    Args:
        pixels: What ``rows.span`` and ``columns.span`` have of the images, (N, C, h, w) in [0, 1].
        rows: The wanted rows.
        columns: The wanted columns.
        eight_bits: Round to 8 bits, as Pillow does: values are multiples of 1/255, here and in what is returned.

    Returns:
        (N, C, rows.length, columns.length) in [0, 1]
    """
    if eight_bits:
        levels = pixels.mul(255).round_()
        return _along_columns(_along_rows(levels, columns, True), rows, True).div_(255)
    return _along_columns(_along_rows(pixels, columns, False), rows, False)


def _along_rows(pixels: Tensor, axis: Axis, eight_bits: bool) -> Tensor:
    blocks = _blocks(axis, eight_bits, pixels.device)
    parts = [pixels[..., start:stop] @ weights.T for start, stop, weights in blocks]
    return torch.cat([_rounded(part, -1) if eight_bits else part for part in parts], dim=-1)


def _along_columns(pixels: Tensor, axis: Axis, eight_bits: bool) -> Tensor:
    blocks = _blocks(axis, eight_bits, pixels.device)
    parts = [weights @ pixels[..., start:stop, :] for start, stop, weights in blocks]
    return torch.cat([_rounded(part, -2) if eight_bits else part for part in parts], dim=-2)


def _rounded(sums: Tensor, dim: int) -> Tensor:
    """Round the sums, of which the second half along ``dim`` is by the weights' lower bits; halves go up."""
    high, low = sums.chunk(2, dim=dim)
    return low.div_(_HALF).floor_().add_(high).add_(_HALF / 2).div_(_HALF).floor_()


@lru_cache(maxsize=512)
def _blocks(axis: Axis, eight_bits: bool, device: torch.device) -> list[tuple[int, int, Tensor]]:
    """Return matrices that make the wanted pixels, some at a time, and the parts of ``axis.span`` that each takes.

    With 8 bits, each matrix has the upper halves of the weights and then the lower ones.
    """
    return [
        (start, stop, torch.from_numpy(weights).float().to(device))
        for start, stop, weights in _pieces(axis, eight_bits)
    ]


def _pieces(axis: Axis, eight_bits: bool) -> Iterator[tuple[int, int, np.ndarray]]:
    begin, _ = axis.span
    for first in range(axis.first, axis.first + axis.length, _BLOCK):
        block = axis._replace(first=first, length=min(_BLOCK, axis.first + axis.length - first))
        start, stop = block.span
        weights = block.weights()[:, start:stop]
        if eight_bits:
            whole = np.floor(weights * 2**_WEIGHT_BITS + 0.5)
            weights = np.concatenate([whole // _HALF, whole % _HALF])
        yield start - begin, stop - begin, weights
