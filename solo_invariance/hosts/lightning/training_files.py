"""Which files a run is trained on."""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from lightning.pytorch import Trainer

from solo_invariance.hosts.lightning.run_images import datasets_of

_LISTS = ("samples", "imgs", "paths", "images", "files")


def count_trained_on(trainer: Trainer, tasks: Sequence[Sequence[str]]) -> list[int]:
    """Return how many images of each task are among those that a run is trained on, as far as both are files.

    Args:
        trainer: Has its loaders by now.
        tasks: What the images of each are called; of files, their paths.
    """
    places = [[_place(name) for name in names if os.path.lexists(name)] for names in tasks]
    if not any(places):
        return [0] * len(tasks)
    trained_on = {_place(path) for dataset in datasets_of([trainer.train_dataloader]) for path in _files(dataset)}
    return [sum(place in trained_on for place in of_task) for of_task in places]


def _files(dataset: Any) -> Iterator[str]:
    """Walk through subsets and wrappers, and give the paths of the files that the datasets within list."""
    for name in _LISTS:
        listed = getattr(dataset, name, None)
        if isinstance(listed, list | tuple) and listed and _path_in(listed[0]) is not None:
            folder = "" if os.path.lexists(_path_in(listed[0]) or "") else str(getattr(dataset, "root", ""))
            yield from (os.path.join(folder, path) for path in map(_path_in, listed) if path is not None)
            return
    for name in ("dataset", "source"):
        if hasattr(dataset, name):
            yield from _files(getattr(dataset, name))


def _path_in(sample: Any) -> str | None:
    """Return the path that an entry of a list is, or begins with."""
    one = sample[0] if isinstance(sample, tuple | list) and sample else sample
    return os.fspath(one) if isinstance(one, str | os.PathLike) else None


def _place(path: str) -> str:
    if os.path.islink(path):
        return os.path.realpath(path)
    folder, name = os.path.split(path)
    return os.path.join(_real(folder), name)


@cache
def _real(folder: str) -> str:
    return os.path.realpath(folder)
