"""Sizes of images, squares of them, and where points are in these."""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from solo_invariance.data.decoding import Unreadable, resize_short_side, to_tensor
from solo_invariance.data.images import ImageSource, digest_of, hash_bytes


def resize_for(crop_size: int) -> int:
    """Return the short side that images are resized to before a crop of them is taken: 8/7 of its side, in pixels.

    Example:
        >>> resize_for(224)
        256
    """
    return round(crop_size * 8 / 7)


@dataclass(frozen=True)
class Framing:
    """The short side is resized to ``size`` pixels, antialiased, and the middle is cut out.

    It is what the paper does with the images of its downstream tasks (Ericsson et al. 2022, official code).

    Args:
        size: Side of the square, in pixels.
        interpolation: ``bilinear``, the paper's, ``bicubic`` or ``nearest``.
    """

    size: int
    interpolation: str = "bilinear"

    def frame(self, image: Tensor) -> Tensor:
        """Return the square, uint8 (3, size, size), of an image, uint8 (3, H, W)."""
        height, width = image.shape[-2:]
        if min(width, height) != self.size:
            picture = Image.fromarray(image.permute(1, 2, 0).numpy())
            image = to_tensor(resize_short_side(picture, self.size, self.interpolation))
        height, width = image.shape[-2:]
        left, top = self._corner(width, height)
        return image[:, top : top + self.size, left : left + self.size]

    def points(self, points: Tensor, width: int, height: int) -> Tensor:
        """Return where points of an image are in the square.

        Args:
            points: x and y, (..., 2), in pixels: 0 is the centre of the first column or row.
            width: Of the image, in pixels.
            height: Of the image, in pixels.
        """
        short = min(width, height)
        resized = torch.tensor([int(self.size * width / short), int(self.size * height / short)])
        corner = torch.tensor(self._corner(*resized.tolist()))
        factor = resized.double() / torch.tensor([width, height])
        return (points.double() + 0.5) * factor - 0.5 - corner

    def _corner(self, width: int, height: int) -> tuple[int, int]:
        return round((width - self.size) / 2), round((height - self.size) / 2)


@dataclass(frozen=True)
class FramedImages:
    """The squares of a source's images.

    Args:
        source: Images of any size.
        framing: What is seen of them.
    """

    source: ImageSource
    framing: Framing

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Tensor | Unreadable:
        image = self.source[index]
        return image if isinstance(image, Unreadable) else self.framing.frame(image)

    def name_of(self, index: int) -> str:
        """Return what the source calls the image."""
        return self.source.name_of(index)

    def digest(self, index: int) -> str:
        """Return a hash of what the square is computed from."""
        how = () if self.framing.interpolation == "bilinear" else (self.framing.interpolation,)
        return hash_bytes(digest_of(self.source, index).encode(), "framed", self.framing.size, *how)


@dataclass(frozen=True)
class SquareCrops:
    """A square of each of a source's images; what lies beyond an image's border is black.

    Args:
        source: N images of any size.
        squares: int64 (N, 3): left, top and side, in pixels.
    """

    source: ImageSource
    squares: Tensor

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Tensor | Unreadable:
        image = self.source[index]
        if isinstance(image, Unreadable):
            return image
        (left, top, side), (height, width) = self.squares[index].tolist(), image.shape[-2:]
        return pad(image, (-left, left + side - width, -top, top + side - height))

    def name_of(self, index: int) -> str:
        """Return what the source calls the image."""
        return self.source.name_of(index)

    def digest(self, index: int) -> str:
        """Return a hash of what the square is computed from."""
        return hash_bytes(digest_of(self.source, index).encode(), "square", *self.squares[index].tolist())
