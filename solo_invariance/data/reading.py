"""Reading many images of which some may be broken."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from solo_invariance.data.decoding import Unreadable, readable
from solo_invariance.data.images import ImageSource
from solo_invariance.errors import UserError

_LISTED = 5


@dataclass(frozen=True)
class ReadingPolicy:
    """How images are read.

    Args:
        num_workers: Threads that read ahead.
        on_error: Whether an image that cannot be read stops the work, or is left out and listed.
        max_unreadable: The share of images, in [0, 1], that may be left out before that is an error after all.
    """

    num_workers: int = 4
    on_error: Literal["stop", "skip"] = "stop"
    max_unreadable: float = 0.01


@dataclass
class ImageReader:
    """Reads images in units, and keeps count of those that cannot be read.

    Args:
        source: Where from.
        policy: How.
        total: How many images are read in all, of which some may be unreadable.
    """

    source: ImageSource
    policy: ReadingPolicy
    total: int
    unreadable: list[Unreadable] = field(default_factory=list)

    def units(self, units: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], list[Tensor]]]:
        """Read units of images, given by their indices.

        Yields:
            Of each unit, the positions of the images that could be read, and these images, uint8 (3, H, W).

        Raises:
            UserError: An image cannot be read, or too many cannot; the message names it, or some of them.
        """
        for images in read_ahead(self.source, units, self.policy.num_workers):
            positions = []
            kept = []
            for position, image in enumerate(images):
                if isinstance(image, Unreadable):
                    self._leave_out(image)
                else:
                    positions.append(position)
                    kept.append(image)
            yield positions, kept

    def _leave_out(self, image: Unreadable) -> None:
        if self.policy.on_error == "stop":
            raise UserError(f"{image.reason}; on_error=skip leaves such images out")
        self.unreadable.append(image)
        if len(self.unreadable) > self.policy.max_unreadable * self.total:
            listed = ", ".join(str(one.path) for one in self.unreadable[:_LISTED])
            raise UserError(
                f"{len(self.unreadable)} of {self.total} images cannot be read, more than "
                f"max_unreadable={self.policy.max_unreadable} of them: {listed}"
                f"{', ...' if len(self.unreadable) > _LISTED else ''}"
            )


def load_batches(
    source: ImageSource, indices: Sequence[int], batch_size: int, num_workers: int = 0
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Read images in the order of ``indices``, in batches of images of any size.

    Args:
        source: Where from.
        indices: Of the images.
        batch_size: How many images a batch has; the last one may have fewer.
        num_workers: Threads that read ahead; with none, images are read when they are asked for. The order does not
            depend on it.

    Yields:
        The indices of a batch, and its images, uint8 (3, H, W).

    Raises:
        UserError: An image cannot be read; the message names it.
    """
    batches = [list(indices[start : start + batch_size]) for start in range(0, len(indices), batch_size)]
    for batch, images in zip(batches, read_ahead(source, batches, num_workers), strict=True):
        yield batch, [readable(image) for image in images]


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
