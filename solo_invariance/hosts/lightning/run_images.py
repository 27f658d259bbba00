"""The images of a run's own datasets, without the run's transforms."""

import copy
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor, uint8
from torchvision.datasets.folder import default_loader

from solo_invariance.data.decoding import reading, resize_short_side, to_rgb, to_tensor
from solo_invariance.data.images import ImageSource, SelectedImages
from solo_invariance.errors import UserError
from solo_invariance.families import Canvas


def run_images(trainer: Trainer, resize: int) -> ImageSource | None:
    """Return the run's validation images, or else its training images; None where neither can be read.

    Args:
        trainer: Has its loaders by now.
        resize: Short side in pixels.
    """
    for dataset in datasets_of([trainer.val_dataloaders, trainer.train_dataloader]):
        inner, indices = _with_transform(dataset)
        if inner is not None and len(images := RunImages(inner, resize)):
            source: ImageSource = images if indices is None else SelectedImages(images, indices)
            try:
                source[0]
            except UserError:
                continue
            return source
    return None


class RunImages:
    """The images of a run's dataset, without the run's transform.

    Args:
        dataset: Gives samples with an image, to which its ``transform`` is applied, or to all of the sample, if that is
            a mapping; it is copied, and stays as it is.
        resize: Short side in pixels.
    """

    def __init__(self, dataset: Any, resize: int) -> None:
        self._dataset = copy.copy(dataset)
        if isinstance(getattr(getattr(dataset, "loader", None), "__self__", None), Canvas):
            self._dataset.loader = default_loader  # which the families' canvas has taken the place of
        self._dataset.transform = self._resized
        self._resize = resize

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Tensor:
        sample = self._dataset[index]
        for part in _parts(sample):
            if _is_pixels(part):
                return part
        raise UserError(f"{self.name_of(index)}: there is no image without the dataset's transform")

    def name_of(self, index: int) -> str:
        """Return the dataset's name and the index."""
        return f"{type(self._dataset).__name__} image {index}"

    def _resized(self, given: Any) -> Any:
        image = next((part for part in _parts(given) if isinstance(part, Image.Image) or _is_pixels(part)), None)
        if image is None:
            return given
        if isinstance(image, Tensor):  # uint8, as the embedded data are
            image = Image.fromarray(image.permute(1, 2, 0).numpy())
        with reading("an image of the dataset"):
            return to_tensor(resize_short_side(to_rgb(image), self._resize))


def _is_pixels(part: Any) -> bool:
    return isinstance(part, Tensor) and part.dtype == uint8 and part.ndim == 3


def _parts(sample: Any) -> list[Any]:
    if isinstance(sample, Mapping):
        return list(sample.values())
    return list(sample) if isinstance(sample, tuple | list) else [sample]


def datasets_of(held: Any) -> Iterator[Any]:
    """Walk through whatever holds loaders, and give their datasets."""
    if hasattr(held, "dataset"):
        yield held.dataset
    elif hasattr(held, "iterables"):  # Lightning's CombinedLoader
        yield from datasets_of(held.iterables)
    elif isinstance(held, Mapping | list | tuple):
        for one in held.values() if isinstance(held, Mapping) else held:
            yield from datasets_of(one)


def _with_transform(dataset: Any) -> tuple[Any, list[int] | None]:
    """Look through subsets and wrappers at the dataset that transforms the images; None where there is none.

    A property hands on a transform that another dataset has, and that the run goes on with.
    """
    indices: list[int] | None = None
    while not hasattr(dataset, "transform") or isinstance(inspect.getattr_static(dataset, "transform", None), property):
        if not hasattr(dataset, "dataset"):
            return None, None
        if hasattr(dataset, "indices"):
            own = [int(index) for index in dataset.indices]
            indices = own if indices is None else [own[index] for index in indices]
        dataset = dataset.dataset
    return (dataset if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__") else None), indices
