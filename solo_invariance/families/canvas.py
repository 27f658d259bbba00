"""The canvas: the one thing that data workers do to an image, so that the accelerator can do all the rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F

from solo_invariance.data.decoding import decode_scaled, reading, to_rgb
from solo_invariance.data.framing import resize_for

_DRAFT_MARGIN = 1.5


def default_canvas_size(crop_size: int) -> int:
    """Return the canvas side for a crop side: the same up to 96 pixels, 8/7 of it above (224 gives 256).

    Small images (CIFAR, STL) are crops as they are; enlarging them first would only blur them.
    """
    return crop_size if crop_size <= 96 else resize_for(crop_size)


class CanvasImage(NamedTuple):
    """An image on its canvas; a batch of them, as PyTorch collates it, has (N, 3, size, size) and N texts.

    Args:
        pixels: uint8 (3, size, size).
        extent: Height and width of what the canvas shows, in pixels of the file: ``"375x500"``. It is text because
            whoever moves a batch to the accelerator moves its tensors and leaves text on the CPU, where operations are
            drawn without waiting for the sizes to come back.
    """

    pixels: Tensor
    extent: str


def sizes_of(extents: Sequence[str]) -> Tensor:
    """Return heights and widths (N, 2), int64, of the extents of N canvases.

    Example:
        >>> sizes_of(["375x500", "500x375"]).tolist()
        [[375, 500], [500, 375]]
    """
    return torch.tensor([[int(side) for side in extent.split("x")] for extent in extents])


@dataclass(frozen=True)
class Canvas:
    """Resize an image, or its centre square, to a square, in 8 bits.

    Args:
        size: Side of the canvas, in pixels.
        sharp: Resize with a bicubic filter, which keeps more detail for the crops that are resized again from the
            canvas, rather than a bilinear one, which is torchvision's usual for crops. Both are antialiased.
        whole: Keep the whole image, stretched to the square: crops are then cut from all of it. Otherwise keep its
            centre square.
    """

    size: int
    sharp: bool = False
    whole: bool = True

    def __call__(self, image: Image.Image | Tensor | CanvasImage) -> CanvasImage:
        """Return one image on its canvas.

        Args:
            image: A PIL image of any size and mode, or a uint8 tensor (3, H, W); what ``load`` returned stays as it is.

        Raises:
            UserError: The picture is broken, or nothing says what its numbers mean.
        """
        if isinstance(image, CanvasImage):
            return image
        if isinstance(image, Tensor):
            height, width = image.shape[-2:]
            return CanvasImage(self._resized(image), self._extent(width, height))
        with reading("an image of the dataset"):
            picture = to_rgb(image)
        return self._painted(picture, picture.size)

    def load(self, path: str) -> CanvasImage:
        """Read an image file on its canvas, in no more detail than that needs.

        Large JPEGs are decoded at a half, a quarter or an eighth of their size, but not below one and a half times the
        canvas, so that the last resizing still filters: the canvas stays within 40 dB of the one from full decoding.

        Raises:
            UserError: The file cannot be read; the message names it.
        """
        return self._painted(*decode_scaled(path, round(self.size * _DRAFT_MARGIN)))

    def _painted(self, image: Image.Image, file_size: tuple[int, int]) -> CanvasImage:
        """The canvas of an image that was decoded from a file of some width and height."""
        if image.size != (self.size, self.size):
            image = self._square(image, *file_size)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return CanvasImage(pixels, self._extent(*file_size))

    def _square(self, image: Image.Image, width: float, height: float) -> Image.Image:
        """Resize what the canvas keeps of an image that shows a file of some width and height, scaled."""
        part = round(width / image.width)
        width, height = width / part, height / part
        kept = (width, height) if self.whole else (min(width, height),) * 2
        left, top = (width - kept[0]) / 2, (height - kept[1]) / 2
        # One resampling: Pillow reads only the box and filters it down to the canvas.
        box = (left, top, left + kept[0], top + kept[1])
        resampling = Image.Resampling.BICUBIC if self.sharp else Image.Resampling.BILINEAR
        return image.resize((self.size, self.size), resampling, box=box)

    def _resized(self, image: Tensor) -> Tensor:
        side = [self.size, self.size]
        if list(image.shape[-2:]) == side:
            return image
        mode = F.InterpolationMode.BICUBIC if self.sharp else F.InterpolationMode.BILINEAR
        if self.whole:
            return F.resize(image, side, mode, antialias=True)
        return F.center_crop(F.resize(image, [self.size], mode, antialias=True), side)

    def _extent(self, width: int, height: int) -> str:
        short = min(width, height)
        return f"{height}x{width}" if self.whole else f"{short}x{short}"
