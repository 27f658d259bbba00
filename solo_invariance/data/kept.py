"""Images that are decoded once."""

from collections.abc import Iterable

from torch import Tensor

from solo_invariance.data.decoding import Unreadable
from solo_invariance.data.framing import FramedImages, Framing
from solo_invariance.data.images import ImageSource
from solo_invariance.data.reading import load_batches

_BATCH = 64


class KeptSquares:
    """The squares of a source's images, of which those that are asked for once stay in memory.

    Args:
        source: N images of any size.
        framing: What is seen of them.
    """

    def __init__(self, source: ImageSource, framing: Framing) -> None:
        self.source = FramedImages(source, framing)
        self._kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Tensor | Unreadable:
        kept = self._kept.get(index)
        return self.source[index] if kept is None else kept

    def name_of(self, index: int) -> str:
        """Return what the source calls the image."""
        return self.source.name_of(index)

    @property
    def num_bytes(self) -> int:
        """How many bytes the images in memory take."""
        return sum(image.nbytes for image in self._kept.values())

    def keep(self, indices: Iterable[int], num_workers: int = 0) -> None:
        """Read images into memory.

        Args:
            indices: Which.
            num_workers: Threads that read.

        Raises:
            UserError: An image cannot be read; the message names it.
        """
        for batch, images in load_batches(self.source, list(indices), _BATCH, num_workers):
            # Copies, since a square is a part of an image that would be kept with it.
            self._kept.update(zip(batch, (image.clone() for image in images), strict=True))
