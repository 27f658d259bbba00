"""From image files to RGB pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from solo_invariance.errors import UserError

_LARGEST_RATIO = 20


EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read: who reads ahead does not know yet whether it may be left out."""

    path: Path
    reason: str


def load_image(path: str) -> Image.Image:
    """Return an image file as RGB; 16-bit greyscale is scaled to 8 bits.

    Raises:
        UserError: The file is no image, is broken, or is too narrow to be resized; the message names it.
    """
    image = decode(path)
    if max(image.size) > _LARGEST_RATIO * min(image.size):
        raise UserError(f"{path}: {image.width} x {image.height} pixels, sides of more than {_LARGEST_RATIO} to 1")
    return image


def decode(path: str) -> Image.Image:
    """Return an image file as RGB, of any shape.

    Raises:
        UserError: The file is no image or is broken; the message names it.
    """
    return decode_scaled(path, None)[0]


def decode_scaled(path: str, short_side: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """Return an image file as RGB, in no more detail than is asked for, and the file's width and height.

    Args:
        path: Of the file.
        short_side: How many pixels the short side must have. A JPEG of at least twice as many is decoded at a half, a
            quarter or an eighth of its size (libjpeg's scaled decoding), which takes less time.

    Returns:
        The image, and the width and height of the file, in pixels. Sides that are no whole number once they are
        divided are rounded up, and the last column or row of the image is then partly empty.

    Raises:
        UserError: The file is no image or is broken; the message names it.
    """
    try:
        with Image.open(path) as file:
            size = file.size
            if short_side is not None:
                file.draft(None, (short_side, short_side))
            return _eight_bits(file).convert("RGB"), size
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _not_readable(path, error) from error


def image_size(path: Path) -> tuple[int, int]:
    """Return the width and height of an image file, in pixels, without decoding it.

    Raises:
        UserError: The file is no image; the message names it.
    """
    try:
        with Image.open(path) as file:
            return file.size
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _not_readable(str(path), error) from error


def _not_readable(path: str, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"{path}: not a readable image ({reason})")


def _eight_bits(image: Image.Image) -> Image.Image:
    if not image.mode.startswith("I"):
        return image
    # Pillow would clip the upper half of 16 bits to white.
    return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))


def list_images(root: Path) -> list[Path]:
    """Return the paths of all images below a folder, sorted.

    Raises:
        UserError: There is no such folder, or no image in it.
    """
    if not root.is_dir():
        raise UserError(f"{root}: {'is a file, expected a folder' if root.is_file() else 'no such folder'} of images")
    found = (path for path in root.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    # Some systems leave a hidden file beside every image, of the same name but for the dot.
    paths = sorted(path for path in found if not path.name.startswith("."))
    if not paths:
        raise UserError(f"{root}: no images in it ({', '.join(sorted(EXTENSIONS))}), nor below it")
    return paths


def resize_short_side(image: Image.Image, size: int | None, interpolation: str = "bilinear") -> Image.Image:
    """Resize a PIL image so that its short side has ``size`` pixels; antialiased, unless by nearest."""
    if size is None or min(image.size) == size:
        return image
    short = min(image.size)
    width, height = (int(size * side / short) for side in image.size)
    return image.resize((width, height), Image.Resampling[interpolation.upper()])


def to_tensor(image: Image.Image) -> Tensor:
    """Return a PIL image as uint8 (3, H, W)."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def readable(image: "Tensor | Unreadable") -> Tensor:
    """Return an image that could be read.

    Raises:
        UserError: It could not; the message names it.
    """
    if isinstance(image, Unreadable):
        raise UserError(image.reason)
    return image
