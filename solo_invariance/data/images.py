"""Folders of images, and what stands in for them."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from solo_invariance.errors import UserError

_LARGEST_RATIO = 20
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})


class ImageSource(Protocol):
    """Images by index: uint8 tensors (3, H, W), or the ``Unreadable`` that one of them is."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> "Tensor | Unreadable":
        """Return one image."""

    def name_of(self, index: int) -> str:
        """Return what to call an image in a message."""


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read: who reads ahead does not know yet whether it may be left out."""

    path: Path
    reason: str


class ImageFiles(Dataset["Tensor | Unreadable"]):
    """All images below a folder, in the order of their paths, with the short side resized.

    Args:
        root: The folder; images may lie at any depth.
        resize: Short side in pixels (bilinear, antialiased), None to keep the sizes.

    Raises:
        UserError: There is no such folder, or no image in it.
    """

    def __init__(self, root: Path | str, resize: int | None = None) -> None:
        self.root = Path(root)
        self.paths = list_images(self.root)
        self.resize = resize

    @classmethod
    def of(cls, paths: Sequence[Path], resize: int | None = None) -> "ImageFiles":
        """Return these files, in this order."""
        files = cls.__new__(cls)
        files.paths, files.resize = list(paths), resize
        files.root = Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
        return files

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> "Tensor | Unreadable":
        path = self.paths[index]
        try:
            image = load_image(str(path))
        except UserError as error:
            return Unreadable(path, str(error))
        return to_tensor(resize_short_side(image, self.resize))

    def name_of(self, index: int) -> str:
        """Return the image's path."""
        return str(self.paths[index])

    def digest(self, index: int) -> str:
        """Return a hash of the file's bytes and of the size that the image is resized to.

        Raises:
            UserError: The file cannot be read; the message names it.
        """
        path = self.paths[index]
        try:
            return hash_bytes(path.read_bytes(), self.resize)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error


class TensorImages(Dataset[Tensor]):
    """Images in memory, with the short side resized.

    Args:
        images: uint8 (N, 3, H, W).
        resize: Short side in pixels, None to keep it.
        name: What to call them in messages.
    """

    def __init__(self, images: Tensor, resize: int | None = None, name: str = "image") -> None:
        self.images = images
        self.resize = resize
        self.name = name

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        image = self.images[index]
        if self.resize is None or min(image.shape[-2:]) == self.resize:
            return image
        return to_tensor(resize_short_side(Image.fromarray(image.permute(1, 2, 0).numpy()), self.resize))

    def name_of(self, index: int) -> str:
        """Return the dataset's name and the index."""
        return f"{self.name} {index}"

    def digest(self, index: int) -> str:
        """Return a hash of the image's pixels and of the size that it is resized to."""
        return hash_pixels(self.images[index], self.resize)


@dataclass(frozen=True)
class SelectedImages:
    """Some of a source's images.

    Args:
        source: All of them.
        indices: Which, in this order; one may come more than once.
    """

    source: ImageSource
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> "Tensor | Unreadable":
        return self.source[self.indices[index]]

    def name_of(self, index: int) -> str:
        """Return what the source calls the image."""
        return self.source.name_of(self.indices[index])

    def digest(self, index: int) -> str:
        """Return the source's digest of the image."""
        return digest_of(self.source, self.indices[index])


@dataclass(frozen=True)
class KnownImages:
    """A source whose images' digests are known, so that no file is read for them again.

    Args:
        source: N images.
        digests: Of each.
    """

    source: ImageSource
    digests: Sequence[str]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> "Tensor | Unreadable":
        return self.source[index]

    def name_of(self, index: int) -> str:
        """Return what the source calls the image."""
        return self.source.name_of(index)

    def digest(self, index: int) -> str:
        """Return the known digest of the image."""
        return self.digests[index]


def digest_of(source: ImageSource, index: int) -> str:
    """Return a hash of all that an image's pixels are computed from: images of the same digest have the same pixels.

    A source that knows it without decoding the image has a method ``digest``. Of any other, it is a hash of the pixels.

    Raises:
        UserError: The image cannot be read; the message names it.
    """
    known: Callable[[int], str] | None = getattr(source, "digest", None)
    return hash_pixels(readable(source[index])) if known is None else known(index)


def hash_pixels(image: Tensor, *settings: object) -> str:
    """Return a hash of an image, uint8 (3, H, W), and of what is done with it."""
    return hash_bytes(image.contiguous().numpy().tobytes(), tuple(image.shape), *settings)


def hash_bytes(content: bytes, *settings: object) -> str:
    """Return a hash of what an image is computed from, in hexadecimal, and of how."""
    return hashlib.sha256(content + repr(settings).encode()).hexdigest()


def identify(source: ImageSource, index: int) -> str:
    """Return what an image is known by in results.

    Of a file, that is its path below the folder, wherever the folder lies, and its size in bytes, by which it is told
    from a file of the same name in another folder.
    """
    if isinstance(source, ImageFiles):
        path = source.paths[index]
        return f"{path.relative_to(source.root).as_posix()} ({path.stat().st_size} bytes)"
    return source.name_of(index)


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


def decode_scaled(path: str, short_side: int | None) -> tuple[Image.Image, tuple[float, float]]:
    """Return an image file as RGB, in no more detail than is asked for, and how many pixels of it are the image.

    Args:
        path: Of the file.
        short_side: How many pixels the short side must have. A JPEG of at least twice as many is decoded at a half, a
            quarter or an eighth of its size (libjpeg's scaled decoding), which takes less time.

    Returns:
        The image, and the width and height that its content fills: a scaled size that is no whole number is rounded
        up, and the last column or row is then partly empty.

    Raises:
        UserError: The file is no image or is broken; the message names it.
    """
    try:
        with Image.open(path) as file:
            width, height = file.size
            if short_side is not None:
                file.draft(None, (short_side, short_side))
            part = round(width / file.width)
            return _eight_bits(file).convert("RGB"), (width / part, height / part)
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


def resize_short_side(image: Image.Image, size: int | None) -> Image.Image:
    """Resize a PIL image so that its short side has ``size`` pixels, bilinear and antialiased."""
    if size is None or min(image.size) == size:
        return image
    short = min(image.size)
    width, height = (int(size * side / short) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def to_tensor(image: Image.Image) -> Tensor:
    """Return a PIL image as uint8 (3, H, W)."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def load_batches(
    source: ImageSource, indices: Sequence[int], batch_size: int, num_workers: int = 0
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Read images in the order of ``indices``, in batches of images of any size; arguments as ``read_ahead``.

    Yields:
        The indices of a batch, and its images, uint8 (3, H, W).

    Raises:
        UserError: An image cannot be read; the message names it.
    """
    batches = [list(indices[start : start + batch_size]) for start in range(0, len(indices), batch_size)]
    for batch, images in zip(batches, read_ahead(source, batches, num_workers), strict=True):
        yield batch, [readable(image) for image in images]


def readable(image: "Tensor | Unreadable") -> Tensor:
    """Return an image that could be read.

    Raises:
        UserError: It could not; the message names it.
    """
    if isinstance(image, Unreadable):
        raise UserError(image.reason)
    return image


def read_ahead(
    source: ImageSource, batches: Iterable[Sequence[int]], num_workers: int = 0
) -> Iterator[list["Tensor | Unreadable"]]:
    """Read batches of images, the next one while the last one is worked on.

    Decoding and resizing leave Python's lock to others, so that threads do for them what processes would, without a
    start of their own and without a copy of every image.

    Args:
        source: Where from.
        batches: The indices of each batch.
        num_workers: Threads that read ahead; with none, images are read when they are asked for. The order does not
            depend on it.

    Yields:
        The images of each batch, in order.
    """
    if num_workers == 0:
        yield from ([source[index] for index in batch] for batch in batches)
        return
    with ThreadPoolExecutor(num_workers, "read-ahead") as pool:
        begun: deque[list[Future[Tensor | Unreadable]]] = deque()
        try:
            for batch in batches:
                begun.append([pool.submit(source.__getitem__, index) for index in batch])
                if len(begun) > 1:
                    yield [future.result() for future in begun.popleft()]
            while begun:
                yield [future.result() for future in begun.popleft()]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def by_shape(images: list[Tensor]) -> Iterator[tuple[list[int], Tensor]]:
    """Group images by their size.

    Yields:
        The positions of the images of one size in the list, and the images, stacked to (n, 3, H, W).
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for position, image in enumerate(images):
        groups.setdefault(tuple(image.shape), []).append(position)
    for positions in groups.values():
        yield positions, torch.stack([images[position] for position in positions])


Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done and how much there is."""


def no_progress(what: str, done: int, total: int) -> None:
    """Show nothing."""
