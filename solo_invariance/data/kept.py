"""Images that are decoded once."""

from collections.abc import Iterable

from torch import Tensor

from solo_invariance.data.decoding import Unreadable
from solo_invariance.data.images import ImageSource
from solo_invariance.data.reading import load_batches

_BATCH = 64


class KeptImages:
    """Images of a source of which some are kept in memory.

    Args:
        source: N images of any size.
    """

    def __init__(self, source: ImageSource) -> None:
        self.source = source
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
            # Copies, since one that was cut out of an image would keep all of that.
            self._kept.update(zip(batch, (image.clone() for image in images), strict=True))
