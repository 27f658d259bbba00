"""Images that are decoded once."""

from collections.abc import Iterable

from torch import Tensor

from solo_invariance.data.decoding import Unreadable
from solo_invariance.data.images import ImageSource
from solo_invariance.data.reading import load_batches

_BATCH = 64


class KeptImages:
    """Some of a source's images, in memory; the source itself is let go.

    Args:
        source: N images.
        indices: Which of them are kept: no other can be asked for.
        num_workers: Threads that read them, now.

    Raises:
        UserError: An image cannot be read; the message names it.
    """

    def __init__(self, source: ImageSource, indices: Iterable[int], num_workers: int = 0) -> None:
        self._names = [source.name_of(index) for index in range(len(source))]
        self._kept: dict[int, Tensor] = {}
        for batch, images in load_batches(source, list(indices), _BATCH, num_workers):
            # Copies, since one that was cut out of an image would keep all of that.
            self._kept.update(zip(batch, (image.clone() for image in images), strict=True))

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Tensor | Unreadable:
        return self._kept[index]

    def name_of(self, index: int) -> str:
        """Return what the source calls the image."""
        return self._names[index]

    @property
    def num_bytes(self) -> int:
        """How many bytes the images take."""
        return sum(image.nbytes for image in self._kept.values())
