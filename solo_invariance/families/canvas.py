"""The canvas: the one thing that data workers do to an image, so that the accelerator can do all the rest."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F

from solo_invariance.data.decoding import decode_scaled
from solo_invariance.data.framing import resize_for

_DRAFT_MARGIN = 1.5


def default_canvas_size(crop_size: int) -> int:
    """Return the canvas side for a crop side: the same up to 96 pixels, 8/7 of it above (224 gives 256).

    Small images (CIFAR, STL) are crops as they are; enlarging them first would only blur them.
    """
    return crop_size if crop_size <= 96 else resize_for(crop_size)


@dataclass(frozen=True)
class Canvas:
    """Resize an image's short side to ``size`` and cut the centre square, in 8 bits.

    Args:
        size: Side of the canvas, in pixels.
        sharp: Resize with a bicubic filter, which keeps more detail for the crops that are resized again from the
            canvas, rather than a bilinear one, which is torchvision's usual for crops. Both are antialiased.
    """

    size: int
    sharp: bool = False

    def __call__(self, image: Image.Image | Tensor) -> Tensor:
        """Return the canvas of one image.

        Args:
            image: A PIL image of any size and mode, or a uint8 tensor (3, H, W).

        Returns:
            uint8 tensor (3, size, size)
        """
        if isinstance(image, Tensor):
            if tuple(image.shape[-2:]) == (self.size, self.size):
                return image
            mode = F.InterpolationMode.BICUBIC if self.sharp else F.InterpolationMode.BILINEAR
            return F.center_crop(F.resize(image, [self.size], mode, antialias=True), [self.size, self.size])
        image = image if image.mode == "RGB" else image.convert("RGB")
        if image.size != (self.size, self.size):
            image = self._square(image, *image.size)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()

    def load(self, path: str) -> Image.Image:
        """Read an image file as the picture of its canvas, in no more detail than that needs.

        Large JPEGs are decoded at a half, a quarter or an eighth of their size, but not below one and a half times the
        canvas, so that the last resizing still filters: the canvas stays within 40 dB of the one from full decoding.

        Raises:
            UserError: The file cannot be read; the message names it.
        """
        image, extent = decode_scaled(path, round(self.size * _DRAFT_MARGIN))
        return self._square(image, *extent)

    def _square(self, image: Image.Image, width: float, height: float) -> Image.Image:
        """Cut the centre square of the first ``width`` x ``height`` pixels."""
        short = min(width, height)
        left, top = (width - short) / 2, (height - short) / 2
        # One resampling: Pillow reads only the centre square and filters it down to the canvas.
        box = (left, top, left + short, top + short)
        resampling = Image.Resampling.BICUBIC if self.sharp else Image.Resampling.BILINEAR
        return image.resize((self.size, self.size), resampling, box=box)
