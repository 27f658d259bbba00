"""Folders of images, and what stands in for them."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from solo_invariance.data.decoding import Unreadable, load_image, readable, resize_short_side, to_tensor
from solo_invariance.data.listing import list_images
from solo_invariance.errors import UserError

_PART = 2**16


class ImageSource(Protocol):
    """Images by index: uint8 tensors (3, H, W), or the ``Unreadable`` that one of them is."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> "Tensor | Unreadable":
        """Return one image."""

    def name_of(self, index: int) -> str:
        """Return what to call an image in a message."""


class ImageFiles(Dataset["Tensor | Unreadable"]):
    """All images below a folder, in the order of their paths, with the short side resized.

    Args:
        root: The folder; images may lie at any depth.
        resize: Short side in pixels (bilinear, antialiased), None to keep the sizes.

    ``interpolation`` may be set to another than bilinear; see ``with_interpolation``.

    Raises:
        UserError: There is no such folder, or no image in it.
    """

    interpolation = "bilinear"

    def __init__(self, root: Path | str, resize: int | None = None) -> None:
        self.root = Path(root)
        self.paths = list_images(self.root)
        self.resize = resize

    @classmethod
    def of(cls, paths: Sequence[Path], resize: int | None = None) -> "ImageFiles":
        """Return these files, in this order."""
        files = cls.__new__(cls)
        files.paths, files.resize = list(paths), resize
        files.root = _common_folder(paths)
        return files

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> "Tensor | Unreadable":
        path = self.paths[index]
        try:
            image = load_image(str(path))
        except UserError as error:
            return Unreadable(path, str(error))
        return to_tensor(resize_short_side(image, self.resize, self.interpolation))

    def name_of(self, index: int) -> str:
        """Return the image's path."""
        return str(self.paths[index])

    def digest(self, index: int) -> str:
        """Return a hash of the file's bytes and of the size that the image is resized to.

        Raises:
            UserError: The file cannot be read; the message names it.
        """
        return hash_file(self.paths[index], *resizing_of(self))


class TensorImages(Dataset[Tensor]):
    """Images in memory, with the short side resized.

    Args:
        images: uint8 (N, 3, H, W).
        resize: Short side in pixels, None to keep it.
        name: What to call them in messages.

    ``interpolation`` may be set to another than bilinear; see ``with_interpolation``.
    """

    interpolation = "bilinear"

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
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        return to_tensor(resize_short_side(picture, self.resize, self.interpolation))

    def name_of(self, index: int) -> str:
        """Return the dataset's name and the index."""
        return f"{self.name} {index}"

    def digest(self, index: int) -> str:
        """Return a hash of the image's pixels and of the size that it is resized to."""
        return hash_pixels(self.images[index], *resizing_of(self))


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


def name_of_source(source: ImageSource) -> str:
    """Return where images are: their folder, or what they are called."""
    inner = getattr(source, "source", None)
    if inner is not None:
        return name_of_source(inner)
    if isinstance(source, ImageFiles):
        return str(source.root)
    return source.name.removesuffix(" image") if isinstance(source, TensorImages) else "memory"


def resizing_of(source: ImageFiles | TensorImages) -> tuple[object, ...]:
    """Return what a source does to images' sizes, as far as digests are to tell it."""
    return (source.resize,) if source.interpolation == "bilinear" else (source.resize, source.interpolation)


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


def hash_file(path: Path, *settings: object) -> str:
    """Return a hash of a file's bytes, in hexadecimal, and of what is done with it.

    Raises:
        UserError: The file cannot be read; the message names it.
    """
    found = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while part := file.read(_PART):  # a file may be larger than the memory
                found.update(part)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    found.update(repr(settings).encode())
    return found.hexdigest()


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
        name = path.relative_to(source.root) if path.is_relative_to(source.root) else path
        try:
            return f"{name.as_posix()} ({path.stat().st_size} bytes)"
        except OSError:  # whoever reads it says so
            return f"{name.as_posix()} (not there)"
    return source.name_of(index)


def _common_folder(paths: Sequence[Path]) -> Path:
    try:
        return Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:  # there are none, or some are absolute and others not
        return Path()
