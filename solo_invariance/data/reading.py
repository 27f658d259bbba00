"""Reading many images of which some may be broken."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from solo_invariance.data.images import ImageSource, Unreadable, read_ahead
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
