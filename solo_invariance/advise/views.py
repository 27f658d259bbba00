"""Views of a task's images: what families and transforms make of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from solo_invariance.data.images import ImageSource
from solo_invariance.data.reading import load_batches
from solo_invariance.families import Canvas, Family, FamilyViews, default_canvas_size, identity, sizes_of
from solo_invariance.families.crops import generator_of
from solo_invariance.measure.transforms import ResizeCrop, Transform, centre_crop

_BATCH = 256  # views are drawn batch by batch: another number is other views
_GRID = 16


class Canvases(NamedTuple):
    """Images as families take them.

    Attributes:
        pixels: uint8 (N, 3, C, C).
        sizes: Heights and widths (N, 2) of the images, in pixels.
    """

    pixels: Tensor
    sizes: Tensor

    @classmethod
    def of(cls, source: ImageSource, crop_size: int, num_workers: int = 0) -> "Canvases":
        """Return the canvases of all images of a source, for views of some pixels, as in training.

        Raises:
            UserError: An image cannot be read; the message names it.
        """
        size = default_canvas_size(crop_size)
        canvas = Canvas(size, sharp=size > crop_size)
        batches = load_batches(source, range(len(source)), _BATCH, num_workers)
        made = [canvas(image) for _, images in batches for image in images]
        return cls(torch.stack([one.pixels for one in made]), sizes_of([one.extent for one in made]))


class Change(Protocol):
    """A change of images, by random parameters."""

    def views(self, images: Canvases, count: int, seed: int) -> list[Tensor]:
        """Return ``count`` views of each of N images, each uint8 (N, 3, S, S), the same for the same seed."""

    def plain(self, images: Canvases) -> Tensor:
        """Return the images as they are without the change, uint8 (N, 3, S, S)."""


@dataclass(frozen=True)
class FamilyChange:
    """What a family's views change.

    Args:
        family: It.
        crop_size: S, in pixels.
    """

    family: Family
    crop_size: int

    def views(self, images: Canvases, count: int, seed: int) -> list[Tensor]:
        """Return the views that training would draw."""
        make = FamilyViews(self.family, self.crop_size, count, mean=None, std=None, seed=seed)
        return _in_batches(images, lambda pixels, sizes, _: make(pixels, sizes))

    def plain(self, images: Canvases) -> Tensor:
        """Return the middle squares."""
        return FamilyChange(identity, self.crop_size).views(images, 1, 0)[0]


@dataclass(frozen=True)
class TransformChange:
    """What a synthetic transform changes, by parameters that are drawn from its grid.

    Args:
        transform: It.
        crop_size: S, in pixels.
    """

    transform: Transform
    crop_size: int

    @property
    def geometry(self) -> ResizeCrop:
        """The sizes of the images and of their crops, of which transforms need what lies around."""
        return ResizeCrop.of_crop(self.crop_size)

    def views(self, images: Canvases, count: int, seed: int) -> list[Tensor]:
        """Return views that are each made with parameters of its own."""
        grid = self.transform.grid(_GRID, self.geometry, "clean")
        squares = self._squares(images)

        def apply(pixels: Tensor, sizes: Tensor, first: int) -> list[Tensor]:
            generator = generator_of([seed, first])
            drawn = torch.randint(len(grid), (count, len(pixels)), generator=generator)
            rows = torch.stack([self.transform.parameters_of_row(grid, first + n) for n in range(len(pixels))])
            floats = pixels.float().div(255)
            every = torch.arange(len(pixels))
            return [self.transform.apply(floats, rows[every, one], self.geometry) for one in drawn]

        return _in_batches(squares, apply)

    def plain(self, images: Canvases) -> Tensor:
        """Return the middle crops of the middle squares."""
        return centre_crop(self._squares(images).pixels, self.geometry)

    def _squares(self, images: Canvases) -> Canvases:
        side = self.geometry.resize
        pixels = FamilyChange(identity, side).views(images, 1, 0)[0]
        return Canvases(pixels, torch.tensor([side, side]).expand(len(pixels), 2))


def _in_batches(images: Canvases, make: Callable[[Tensor, Tensor, int], Sequence[Tensor]]) -> list[Tensor]:
    """Return views (N, 3, S, S), in bytes, of what makes some of each batch, of values in [0, 1]."""
    made = []
    for first in range(0, len(images.pixels), _BATCH):
        views = make(images.pixels[first : first + _BATCH], images.sizes[first : first + _BATCH], first)
        made.append([view.mul(255).round().clamp(0, 255).to(torch.uint8) for view in views])
    return [torch.cat(parts) for parts in zip(*made, strict=True)]
