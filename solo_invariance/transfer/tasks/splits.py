"""Splitting images into training and test, and drawing some of them."""

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from solo_invariance.data.framing import SquareCrops
from solo_invariance.data.images import ImageSource, SelectedImages
from solo_invariance.errors import UserError
from solo_invariance.transfer.tasks.task import Split, TaskSettings

Rows = npt.NDArray[np.int64]
Count = Literal["num_train", "num_test"]


def shuffle_split(count: int, train_share: float, seed: int) -> tuple[Rows, Rows]:
    """Return which of so many images are for training and which for the test.

    The generator is the official code's: with seed 0 and as many images, its split comes out.

    Args:
        count: Of images.
        train_share: The part for training, rounded down.
        seed: Of the shuffling.

    Raises:
        UserError: One of the splits would be empty.
    """
    order = np.random.RandomState(seed).permutation(count)
    num_train = int(count * train_share)
    if not 0 < num_train < count:
        raise UserError(f"{count} images are too few to be split into training and test")
    return np.sort(order[:num_train]), np.sort(order[num_train:])


def stratified_split(classes: Tensor, test_share: float, seed: int) -> tuple[Rows, Rows]:
    """Return which images are for training and which for the test, in the same shares of each class.

    Args:
        classes: (N,) integers, each of at least two images; all the same where there are none.
        test_share: The part of each class for the test, rounded; both splits get at least one image.
        seed: Of the shuffling.
    """
    ranks, sizes = _ranks_in_class(classes.numpy(), np.random.default_rng(seed))
    in_test = ranks < (sizes * test_share).round().clip(1, sizes - 1)
    return np.flatnonzero(~in_test), np.flatnonzero(in_test)


def select(split: Split, rows: Rows) -> Split:
    """Return some of a split's images with their targets."""
    images: ImageSource = SelectedImages(split.images, rows.tolist())
    if isinstance(split.images, SquareCrops):  # which stay outermost, so that images are known whole
        whole, squares = split.images.source, split.images.squares
        images = SquareCrops(SelectedImages(whole, rows.tolist()), squares[torch.from_numpy(rows)])
    return replace(split, images=images, targets=split.targets[torch.from_numpy(rows)])


def draw(split: Split, count: Count, settings: TaskSettings) -> Split:
    """Return as many of a split's images as the settings ask for, all where they ask for none; as ``draw_rows``."""
    if getattr(settings, count) is None and (settings.at_most is None or len(split.images) <= settings.at_most):
        return split
    classes = split.targets if split.targets.ndim == 1 and not split.targets.is_floating_point() else None
    return select(split, draw_rows(np.arange(len(split.images)), count, settings, classes))


def draw_rows(
    rows: Rows, count: Count, settings: TaskSettings, classes: Tensor | None = None, usual: int | None = None
) -> Rows:
    """Draw images without replacement, in the same shares of each class, but at least one where that is possible.

    Args:
        rows: To draw from.
        count: The setting that says how many; they are no more than ``at_most``.
        settings: The task's.
        classes: (N,) of those rows, where they have any.
        usual: How many where the setting is None, or all where there are fewer; None for all.

    Returns:
        The rows that were drawn, in their order.

    Raises:
        UserError: More are asked for than there are.
    """
    wanted = getattr(settings, count)
    if wanted is None:
        wanted = len(rows) if usual is None else min(usual, len(rows))
    elif not 0 < wanted <= len(rows):
        raise UserError(f"task.{count}={wanted}: expected 1 to {len(rows)}, the images that there are")
    wanted = settings.limited(wanted)
    generator = np.random.default_rng([settings.seed, count == "num_test"])
    labels = np.zeros(len(rows), dtype=np.int64) if classes is None else classes.numpy()
    ranks, sizes = _ranks_in_class(labels, generator)
    # Ties, as between the first of each class, are broken at random.
    order = np.lexsort((generator.permutation(len(rows)), ranks / sizes))
    return rows[np.sort(order[:wanted])]


def _ranks_in_class(classes: npt.NDArray[np.integer], generator: np.random.Generator) -> tuple[Rows, Rows]:
    """A random rank of each image among those of its class, from 0, and how many they are."""
    shuffled = generator.permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    _, starts, sizes = np.unique(classes[by_class], return_index=True, return_counts=True)
    ranks, counts = np.empty_like(by_class), np.empty_like(by_class)
    ranks[by_class] = np.arange(len(classes)) - np.repeat(starts, sizes)
    counts[by_class] = np.repeat(sizes, sizes)
    return ranks, counts
