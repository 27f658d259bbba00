"""The images of a run's own datasets, without the run's transforms."""

import copy
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor, uint8
from torchvision.datasets.folder import default_loader

from solo_invariance.data.decoding import reading, resize_short_side, to_rgb, to_tensor
from solo_invariance.data.images import ImageSource, SelectedImages
from solo_invariance.errors import UserError, reason_of
from solo_invariance.families import Canvas, CanvasImage


def run_images(trainer: Trainer, resize: int) -> ImageSource | None:
    """Return the run's validation images, or else its training images; None where neither can be read.

    Args:
        trainer: Has its loaders by now.
        resize: Short side in pixels.
    """
    for dataset in datasets_of([trainer.val_dataloaders, trainer.train_dataloader]):
        for inner, indices in _with_transform(dataset):
            images = RunImages(inner, resize)
            if len(images) and images.has(0):
                return images if indices is None else SelectedImages(images, indices)
    return None


class RunImages:
    """The images of a run's dataset: what it gives its transform, of which it gets nothing to learn from.

    Args:
        dataset: Applies its ``transform`` to an image, or to a sample that is a mapping with one; it is copied, and
            stays as it is.
        resize: Short side in pixels.
    """

    def __init__(self, dataset: Any, resize: int) -> None:
        self._dataset = copy.copy(dataset)
        if isinstance(getattr(getattr(dataset, "loader", None), "__self__", None), Canvas):
            self._dataset.loader = default_loader  # which the families' canvas has taken the place of
        self._dataset.transform = self._resized
        self._resize = resize
        self._image: Tensor | None = None

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Tensor:
        if not self.has(index):
            raise UserError(f"{self.name_of(index)}: the dataset gives its transform no image")
        assert self._image is not None
        return self._image

    def has(self, index: int) -> bool:
        """Return whether the dataset gives its transform an image.

        Raises:
            UserError: It cannot be read.
        """
        self._image = None
        try:
            self._dataset[index]
        except UserError:
            raise
        except Exception as error:  # of any kind, after a transform that did not do what the run's own does
            if self._image is None and isinstance(error, OSError):
                raise UserError(f"{self.name_of(index)}: cannot be read ({reason_of(error)})") from error
        return self._image is not None

    def name_of(self, index: int) -> str:
        """Return the dataset's name and the index."""
        return f"{type(self._dataset).__name__} image {index}"

    def _resized(self, *given: Any, **named: Any) -> Any:
        """Keep the image among what the dataset gives its transform."""
        parts = [*given, *named.values()]
        parts += [part for one in parts if isinstance(one, Mapping) for part in one.values()]
        parts += [part for one in parts if isinstance(one, CanvasImage) for part in one]  # as the embedded host reads
        image = next(filter(None, map(_picture, parts)), None)
        if image is None:
            return given[0] if given else named
        with reading("an image of the dataset"):
            self._image = to_tensor(resize_short_side(to_rgb(image), self._resize))
        return self._image


def _picture(part: Any) -> Image.Image | None:
    """Return what is an image: of Pillow's, or bytes (3, H, W) of torch's or (H, W, 3) of NumPy's."""
    if isinstance(part, Image.Image):
        return part
    if isinstance(part, Tensor) and part.dtype == uint8 and part.ndim == 3 and part.shape[0] == 3:
        part = part.permute(1, 2, 0).numpy()
    is_array = isinstance(part, np.ndarray) and part.dtype == np.uint8 and part.ndim == 3 and part.shape[2] == 3
    return Image.fromarray(part) if is_array else None


def datasets_of(held: Any) -> Iterator[Any]:
    """Walk through whatever holds loaders, and give their datasets."""
    if hasattr(held, "dataset"):
        yield held.dataset
    elif hasattr(held, "iterables"):  # Lightning's CombinedLoader
        yield from datasets_of(held.iterables)
    elif isinstance(held, Mapping | list | tuple):
        for one in held.values() if isinstance(held, Mapping) else held:
            yield from datasets_of(one)


def _with_transform(dataset: Any) -> Iterator[tuple[Any, list[int] | None]]:
    """Look through subsets and wrappers at the datasets that transform images, and at which of theirs the run has.

    A property hands on a transform that another dataset has, and that the run goes on with.
    """
    indices: list[int] | None = None
    while dataset is not None:
        is_own = not isinstance(inspect.getattr_static(dataset, "transform", None), property)
        if hasattr(dataset, "transform") and is_own and hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
            yield dataset, indices
        if hasattr(dataset, "indices"):
            own = [int(index) for index in dataset.indices]
            indices = own if indices is None else [own[index] for index in indices]
        dataset = getattr(dataset, "dataset", None)
