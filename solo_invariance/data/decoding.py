"""From image files to RGB pixels."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from solo_invariance.errors import UserError

DECODING = 2
"""What turns a file into pixels; to be raised whenever the same file gives other ones."""

_LARGEST_RATIO = 20
# What files of an image's extension hold, whichever it is; Pillow knows more, some of which start other programs.
_KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF", "AVIF", "JPEG2000", "DIB")
_LONGEST_REASON = 200
# Tags of TIFF, and their values.
_SAMPLE_FORMAT, _BITS, _PHOTOMETRIC, _PLANES = 339, 258, 262, 284
_SIGNED, _WHITE_IS_ZERO, _SEPARATE = 2, 0, 2
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LIES = 5  # from this orientation on, width and height change places


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read: who reads ahead does not know yet whether it may be left out."""

    path: Path
    reason: str


def load_image(path: str) -> Image.Image:
    """Return an image file as RGB, upright.

    Raises:
        UserError: The file is no image, is broken, or is too narrow to be resized; the message names it.
    """
    image = decode(path)
    if max(image.size) > _LARGEST_RATIO * min(image.size):
        raise UserError(f"{path}: {image.width} x {image.height} pixels, sides of more than {_LARGEST_RATIO} to 1")
    return image


def decode(path: str) -> Image.Image:
    """Return an image file as RGB, upright, of any shape.

    Raises:
        UserError: The file is no image or is broken; the message names it.
    """
    return decode_scaled(path, None)[0]


def decode_scaled(path: str, short_side: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """Return an image file as RGB, upright, in no more detail than is asked for, and the file's width and height.

    Args:
        path: Of the file.
        short_side: How many pixels the short side must have. A JPEG of at least twice as many is decoded at a half, a
            quarter or an eighth of its size (libjpeg's scaled decoding), which takes less time.

    Returns:
        The image, and the width and height of the file, upright, in pixels. Sides that are no whole number once they
        are divided are rounded up, and the last column or row of the image is then partly empty.

    Raises:
        UserError: The file is no image or is broken; the message names it.
    """
    with reading(path), Image.open(path, formats=_kinds()) as file:
        size = _upright_size(file)
        if short_side is not None:
            file.draft(None, (short_side, short_side))
        return to_rgb(file), size


def image_size(path: Path) -> tuple[int, int]:
    """Return the width and height of an image file, upright, in pixels, without decoding it.

    Raises:
        UserError: The file is no image; the message names it.
    """
    with reading(str(path)), Image.open(path, formats=_kinds()) as file:
        return _upright_size(file)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a picture as 8-bit RGB, upright, and without anything else that its file said of it.

    It is turned as its EXIF or XMP orientation says. What is transparent shows white paper. Of 16 bits, the upper 8
    are kept; floating point is from 0 to 1. Of several frames or pages, it is the first.

    Raises:
        ValueError: Nothing says what its numbers mean: 32-bit or signed whole numbers, or floating point beyond [0, 1].
    """
    orientation = _orientation(image)
    image.load()
    picture = _on_paper(_of_bytes(image))
    picture.info = {}  # whoever comes next must not turn it again
    return picture if orientation == 1 else picture.transpose(_TURNS[orientation])


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn whatever reading a picture raises into one line that names it.

    Args:
        name: What to call the picture.

    Raises:
        UserError: Reading it raised something.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of Pillow and its plugins, on a broken file: a dozen kinds, from struct's to zlib's
        raise UserError(f"{name}: {_reason(name, error)}") from error


def _reason(name: str, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"not a readable image ({_unknown_kind(name)})"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    if isinstance(error, MemoryError):
        return "not a readable image (there is not enough memory for it)"
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    if isinstance(error, Image.DecompressionBombError):
        reason = f"{reason.rstrip('.')}; make the picture smaller first"
    printable = "".join(letter if letter.isprintable() else "?" for letter in reason)
    return f"not a readable image ({printable[:_LONGEST_REASON]})"


@cache
def _kinds() -> tuple[str, ...]:
    Image.init()
    # Pillow raises what libtiff complains of; it need not go to the terminal as well. A build may hide the function.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)
    return tuple(kind for kind in _KINDS if kind in Image.OPEN)


def _unknown_kind(name: str) -> str:
    with suppress(OSError), open(name, "rb") as file:
        beginning = file.read(4)
        if not beginning:
            return "it is empty"
        if beginning in _TIFF:
            return "a broken TIFF, or one of other numbers than 8 or 16 bits, grey or RGB"
    return f"of none of the kinds {', '.join(sorted({*_kinds()} - {'DIB'}))}"


def _upright_size(file: Image.Image) -> tuple[int, int]:
    if file.format == "TIFF" and _tag(file, ExifTags.Base.Orientation) not in (None, 1):
        file.load()  # turns it
    width, height = file.size
    return (height, width) if _orientation(file) >= _LIES else (width, height)


def _orientation(image: Image.Image) -> int:
    """How a picture is to be turned, 1 for not at all, as its file says before the pixels."""
    if image.format == "TIFF":  # which Pillow turns as it loads it
        return 1
    try:
        # Not the PNG's own, which decodes the picture to look behind it.
        found = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except Exception:  # a broken block is no reason to refuse the picture, whatever it makes Pillow raise
        return 1
    return found if isinstance(found, int) and found in _TURNS else 1


def _tag(image: Image.Image, tag: int) -> Any:
    """The value of a TIFF's tag, or its first."""
    value = getattr(image, "tag_v2", {}).get(tag)
    return value[0] if isinstance(value, tuple) and value else value


def _of_bytes(image: Image.Image) -> Image.Image:
    """Return a picture of wider numbers with bytes in their place; any other as it is."""
    if _tag(image, _SAMPLE_FORMAT) == _SIGNED:
        raise ValueError("signed whole numbers: nothing says which is white; save it with 8 or 16 bits")
    if _tag(image, _PLANES) == _SEPARATE and (_tag(image, _BITS) or 8) > 8:  # of which Pillow reads every other byte
        raise ValueError("16-bit colours one after the other; save it with 8 bits, or with the colours side by side")
    if image.mode == "F":
        values = np.asarray(image)
        # Comparisons with NaN are false.
        if not (values.min() >= 0 and values.max() <= 1):
            finite = bool(np.isfinite(values).all())
            found = f"from {values.min():g} to {values.max():g}" if finite else "with NaN or infinity"
            raise ValueError(f"floating point {found}, expected [0, 1]; scale it, or save it with 8 or 16 bits")
        grey = np.rint(values * 255).astype(np.uint8)
    elif image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        # Pillow has some files' 16 bits in 32. It would clip the upper half of them to white.
        depth = _tag(image, _BITS) or 16
        grey = (np.asarray(image) >> (depth - 8)).clip(0, 255).astype(np.uint8)
    elif image.mode == "I":
        raise ValueError("32-bit whole numbers: nothing says which is white; save it with 8 or 16 bits")
    else:
        return image
    return Image.fromarray(255 - grey if _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO else grey)


def _on_paper(image: Image.Image) -> Image.Image:
    if not (image.mode in ("La", "RGBa") or image.has_transparency_data):
        return image.convert("RGB")
    picture = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(picture, mask=picture.getchannel("A"))
    return paper


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
