"""The datasets behind the loaders that were handed to a Trainer."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Trainer


def training_dataset(trainer: Trainer) -> Any:
    """Return the dataset behind the loader that was handed to ``fit``, None where there is none.

    Lightning has no public way to it this early; ``on_train_start`` would be too late, the workers run by then. The
    attribute is the same in lightning 2.1.2 and 2.6.6.
    """
    try:
        loader: Any = trainer.fit_loop._data_source.instance
        return _base(loader.dataset)
    except AttributeError:
        return None


def validation_datasets(trainer: Trainer) -> list[Any]:
    """Return the datasets behind the validation loaders that were handed to ``fit``."""
    try:
        source: Any = trainer.fit_loop.epoch_loop.val_loop._data_source.instance
    except AttributeError:
        return []
    loaders = source if isinstance(source, Sequence) else [source]
    return [_base(loader.dataset) for loader in loaders if hasattr(loader, "dataset")]


def _base(dataset: Any) -> Any:
    """Look through subsets at the dataset that transforms the images."""
    while not hasattr(dataset, "transform") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    return dataset
