"""Whatever holds images, as a source of them."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from solo_invariance.config.checks import require_text
from solo_invariance.data.cifar10 import binary_files, read_files
from solo_invariance.data.decoding import Unreadable, reading, resize_short_side, to_rgb, to_tensor
from solo_invariance.data.images import ImageFiles, ImageSource, KnownImages, SelectedImages, TensorImages
from solo_invariance.errors import UserError

Images = ImageSource | Dataset[Any] | Tensor | Path | str
"""A folder, a tensor (N, 3, H, W), uint8 or float in [0, 1], a dataset, or a source."""


def image_source(images: Images, resize: int | None = None) -> ImageSource:
    """Return images as a source.

    Args:
        images: A folder, at any depth of which images lie, or the binary files of CIFAR-10, a folder of them or one; a
            tensor (N, 3, H, W), uint8 or float in [0, 1]; a dataset,
            of which each sample is an image or begins with one (a PIL image, or a tensor (3, H, W) as above); or a
            source, which is returned as it is.
        resize: Short side in pixels (bilinear, antialiased), None to keep the sizes; a source keeps its own.

    Raises:
        UserError: There is no such folder, or no image in it, or the images are of another kind or shape.

    Example:
        >>> len(image_source(torch.rand(4, 3, 8, 8)))
        4
    """
    require_text(images, "images")
    if isinstance(images, str | Path):
        return _images_at(Path(images), resize)
    if isinstance(images, Tensor):
        return TensorImages(_bytes(images, 4), resize)
    if hasattr(images, "name_of"):
        return images  # type: ignore[return-value]
    if hasattr(images, "__getitem__") and hasattr(images, "__len__"):
        return DatasetImages(images, resize)
    raise UserError(f"images of {type(images).__name__}: expected a folder, a tensor (N, 3, H, W) or a dataset")


def _images_at(path: Path, resize: int | None) -> ImageSource:
    files = binary_files(path)
    if not files:
        return ImageFiles(path, resize)
    source = read_files(files).images
    source.resize = resize
    return source


def with_short_side(source: ImageSource, size: int | None) -> ImageSource:
    """Return a source whose images have a short side of ``size`` pixels, where it is one that can resize them.

    None keeps the images' own sizes.

    Files are resized as they are read, once, whatever size they were to have; a source that cannot resize stays as it
    is.
    """
    return _resizing(source, "resize", size)


def with_interpolation(source: ImageSource, interpolation: str) -> ImageSource:
    """Return a source that resizes its images by another interpolation, where it is one that can resize them.

    Args:
        source: Images.
        interpolation: ``bilinear``, ``bicubic`` or ``nearest``.
    """
    return _resizing(source, "interpolation", interpolation)


def _resizing(source: ImageSource, setting: str, value: int | str | None) -> ImageSource:
    """Return a source with another setting of its resizing, or as it is where it has none."""
    if isinstance(source, SelectedImages | KnownImages):
        inner = _resizing(source.source, setting, value)
        if inner is source.source:
            return source
        return replace(source, source=inner) if isinstance(source, SelectedImages) else inner  # digests tell them apart
    if not isinstance(source, ImageFiles | TensorImages | DatasetImages) or getattr(source, setting) == value:
        return source
    changed = copy.copy(source)
    setattr(changed, setting, value)
    return changed


class DatasetImages:
    """The images of a dataset, without its targets.

    Args:
        dataset: Each sample is an image or begins with one: a PIL image, or a tensor (3, H, W), uint8 or float in
            [0, 1].
        resize: Short side in pixels, None to keep the sizes.

    ``interpolation`` may be set to another than bilinear; see ``with_interpolation``.
    """

    interpolation = "bilinear"

    def __init__(self, dataset: Any, resize: int | None = None) -> None:
        self._dataset = dataset
        self.resize = resize

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Tensor | Unreadable:
        sample = self._dataset[index]
        image = sample[0] if isinstance(sample, tuple | list) else sample
        if isinstance(image, Tensor):
            pixels = _bytes(image, 3, self.name_of(index))
            if self.resize is None or min(pixels.shape[-2:]) == self.resize:
                return pixels
            image = Image.fromarray(np.asarray(pixels.permute(1, 2, 0)))
        if not isinstance(image, Image.Image):
            raise UserError(f"{self.name_of(index)}: is a {type(image).__name__}, expected an image")
        with reading(self.name_of(index)):
            return to_tensor(resize_short_side(to_rgb(image), self.resize, self.interpolation))

    def name_of(self, index: int) -> str:
        """Return the dataset's name and the index."""
        return f"{type(self._dataset).__name__} image {index}"


def _bytes(images: Tensor, ndim: int, what: str = "images") -> Tensor:
    """Return images (..., 3, H, W), uint8 or float in [0, 1], as uint8."""
    if images.ndim != ndim or images.shape[-3] != 3:
        wanted = "(N, 3, H, W)" if ndim == 4 else "(3, H, W)"
        raise UserError(f"{what}: a tensor of shape {tuple(images.shape)}, expected {wanted}")
    if images.dtype == torch.uint8 or not images.numel():
        return images.byte().cpu()
    if not images.is_floating_point() or not (images.min() >= 0 and images.max() <= 1):
        raise UserError(f"{what}: a tensor of {images.dtype}, expected uint8, or numbers in [0, 1] (not normalised)")
    return images.mul(255).round().byte().cpu()
