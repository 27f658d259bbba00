"""What a transform is, and the sizes that it works with."""

import math
from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from solo_invariance.backbones.resize_crop import ResizeCrop
from solo_invariance.measure.transforms.resizing import Axis, resize
from solo_invariance.protocols import ProtocolName

Geometry = ResizeCrop
"""Its former name."""


class Transform(ABC):
    """A transform of images by parameters; subclasses are frozen dataclasses.

    Attributes:
        kind: Whether it moves pixels (``spatial``) or changes their values (``appearance``).
        unit: Of the parameters.
    """

    kind: Literal["spatial", "appearance"]
    unit: str

    @abstractmethod
    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
        """Return the parameters (K, P) to measure at; K is at most ``k``, or fixed where the transform is on or off."""

    @abstractmethod
    def apply(self, images: Tensor, parameters: Tensor, geometry: ResizeCrop) -> Tensor:
        """Return what the backbone sees of the transformed images.

        The images are transformed as they are given, whatever their size; then the short side is resized to
        ``geometry.resize``, where it is not that already, and the centre is cropped: ``centre_crop`` does both.
        The paper's protocol gives images as they were loaded, the clean one gives images that were resized before.

        Args:
            images: (N, 3, H, W) in [0, 1].
            parameters: (N, P), a row an image.
            geometry: Sizes of images and crops.

        Returns:
            (N, 3, crop_size, crop_size) in [0, 1]
        """

    def apply_in_eight_bits(self, images: Tensor, parameters: Tensor, geometry: ResizeCrop) -> Tensor:
        """Return the transformed images as the official code has them, which keeps 8 bits of them.

        Values are multiples of 1/255, in the images and in what is returned; arguments as ``apply``, whose result is
        rounded by default. Backbones see the difference where an image is smooth.
        """
        return in_eight_bits(self.apply(images, parameters, geometry))

    def weights(self, grid: Tensor) -> Tensor:
        """Return how much of a transform's range each step of a grid (K, P) stands for: (K,), float64, of sum 1.

        By the trapezoid rule where steps are the product of their parameters' values: an end stands for half of what a
        step between two others does. Steps of any other grid stand for the same.
        """
        columns = [column.unique(return_inverse=True) for column in grid.double().T]
        if math.prod(len(values) for values, _ in columns) != len(grid):
            return torch.full((len(grid),), 1 / len(grid), dtype=torch.float64)
        shares = torch.stack([_cells(values)[place] for values, place in columns]).prod(dim=0)
        return shares / shares.sum()

    def parameters_of_row(self, parameters: Tensor, row: int) -> Tensor:
        """Return the parameters (V, P) of the views of one row of a measurement, which is an image or a draw of it.

        They are the grid's by default; a transform that draws anew for every image adds what tells rows apart.
        """
        return parameters

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


def _cells(values: Tensor) -> Tensor:
    """Return the lengths (K,) of what is nearer to each of ascending values (K,) than to others, within their range."""
    if len(values) == 1:
        return torch.ones_like(values)
    gaps = values.diff() / 2
    return torch.cat([gaps, gaps.new_zeros(1)]) + torch.cat([gaps.new_zeros(1), gaps])


def in_eight_bits(values: Tensor) -> Tensor:
    """Round values in [0, 1] to the nearest multiples of 1/255."""
    return values.mul(255).round_().div_(255)


def centre_crop(images: Tensor, geometry: ResizeCrop) -> Tensor:
    """Return the centre squares (N, 3, crop_size, crop_size) of images (N, 3, H, W), which are resized before.

    Args:
        images: uint8, or floats in [0, 1]. Their short side is resized to ``geometry.resize`` pixels, where it is of
            another size: bilinear and antialiased, and of uint8 images to Pillow's bytes.
        geometry: Sizes of images and crops.
    """
    window = Window.of(images, geometry)
    cut = window.box.cut(images)
    if window.is_plain:
        return cut
    if images.is_floating_point():
        return window.resized(cut, eight_bits=False)
    return window.resized(cut.float().div(255), eight_bits=True).mul(255).round().to(images.dtype)


class Box(NamedTuple):
    """A part of an image: its first row and column, its height and width, all in pixels."""

    top: int
    left: int
    height: int
    width: int

    def grown(self, margin: int, images: Tensor) -> tuple[Tensor, "Box"]:
        """Return the box of images with a margin round it, as far as they go, and its place in that."""
        around = self.around(margin, images)
        return around.cut(images), self.within(around)

    def around(self, margin: int, images: Tensor) -> "Box":
        """Return the box with a margin round it, as far as images go."""
        top, left = max(0, self.top - margin), max(0, self.left - margin)
        bottom = min(images.shape[-2], self.top + self.height + margin)
        right = min(images.shape[-1], self.left + self.width + margin)
        return Box(top, left, bottom - top, right - left)

    def within(self, outer: "Box") -> "Box":
        """Return the box's place in another one that it lies in."""
        return self._replace(top=self.top - outer.top, left=self.left - outer.left)

    def cut(self, images: Tensor) -> Tensor:
        """Return the box of images."""
        return images[..., self.top : self.top + self.height, self.left : self.left + self.width]


class Window(NamedTuple):
    """What the centre crop shows of images, once they are resized: no other pixel of them needs to be computed.

    Args:
        rows: The crop's rows, as sums of the images'.
        columns: Its columns.
        geometry: Sizes of images and crops.
    """

    rows: Axis
    columns: Axis
    geometry: ResizeCrop

    @classmethod
    def of(cls, images: Tensor, geometry: ResizeCrop) -> "Window":
        """Return the window of images (N, 3, H, W)."""
        sizes, crop_size = images.shape[-2:], geometry.crop_size
        resized = [int(geometry.resize * size / min(sizes)) for size in sizes]
        rows, columns = (
            Axis(size, out, round((out - crop_size) / 2), crop_size) for size, out in zip(sizes, resized, strict=True)
        )
        return cls(rows, columns, geometry)

    @property
    def is_plain(self) -> bool:
        """Whether the images have the size that they would be resized to."""
        return self.rows.in_size == self.rows.out_size and self.columns.in_size == self.columns.out_size

    @property
    def box(self) -> Box:
        """The part of the images that is looked at."""
        if self.is_plain:
            return Box(self.rows.first, self.columns.first, self.rows.length, self.columns.length)
        (top, bottom), (left, right) = self.rows.span, self.columns.span
        return Box(top, left, bottom - top, right - left)

    def resized(self, pixels: Tensor, *, eight_bits: bool) -> Tensor:
        """Return the crops (N, 3, crop_size, crop_size) of what ``box`` has of the images, all in [0, 1]."""
        return pixels if self.is_plain else resize(pixels, self.rows, self.columns, eight_bits=eight_bits)


class WindowTransform(Transform):
    """A transform that computes no more of an image than the centre crop shows: subclasses say how."""

    def apply(self, images: Tensor, parameters: Tensor, geometry: ResizeCrop) -> Tensor:
        return self._views(images, parameters, geometry, eight_bits=False)

    def apply_in_eight_bits(self, images: Tensor, parameters: Tensor, geometry: ResizeCrop) -> Tensor:
        """Return the views with 8 bits a value after each step, as Pillow has them; arguments as ``apply``."""
        return self._views(images, parameters, geometry, eight_bits=True)

    @abstractmethod
    def change(self, images: Tensor, parameters: Tensor, window: Window, *, eight_bits: bool) -> Tensor:
        """Return ``window.box`` of the transformed images.

        Args:
            images: (N, 3, H, W) in [0, 1], all of them.
            parameters: (N, P), a row an image, on the CPU.
            window: What is seen of the images.
            eight_bits: Whether values are, and are to be, multiples of 1/255.
        """

    def _views(self, images: Tensor, parameters: Tensor, geometry: ResizeCrop, *, eight_bits: bool) -> Tensor:
        window = Window.of(images, geometry)
        return window.resized(self.change(images, parameters, window, eight_bits=eight_bits), eight_bits=eight_bits)


def one_of_the_same(images: Tensor) -> Tensor:
    """Return the one image (1, 3, H, W) that images were expanded from, or all of them (N, 3, H, W)."""
    return images[:1] if len(images) and images.stride(0) == 0 else images
