"""The size of the images that a file's network was trained on, as its positions tell it."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping

_POSITIONS = re.compile(r"(.*\.)?(pos_embed|pos_embedding|positional_embedding|position_embeddings)(\.weight)?")
# Class, distillation and register tokens, which have positions of their own.
_LARGEST_PREFIX = 8


def size_in_file(
    size: int, patch: int | None, own: Mapping[str, tuple[int, ...]], file: Mapping[str, tuple[int, ...]]
) -> int:
    """Return the side in pixels of the images that the positions in a file are for.

    Args:
        size: That of a network's own images.
        patch: The side of its patches, in pixels, as far as it says it.
        own: Shapes of the network's parameters: (1, T, C) of the positions of T tokens.
        file: Shapes of the file's tensors.

    Returns:
        ``size``, where the file has as many positions, none, or some that are no square's.
    """
    ours = next(_grids(own.items(), None), None)
    if ours is None:
        return size
    side, channels = ours
    found = [grid for grid, _ in _grids(file.items(), channels)]
    if not found or side in found:
        return size
    # Hybrids cut the maps of a convolutional network into patches, not the image.
    return found[0] * (patch if patch is not None and size // patch == side else size // side)


def _grids(shapes: Iterable[tuple[str, tuple[int, ...]]], channels: int | None) -> Iterator[tuple[int, int]]:
    """Yield the sides, in patches, of the square images that positions are for, and how many channels these have."""
    for name, shape in shapes:
        if _POSITIONS.fullmatch(name) and len(shape) in (2, 3) and channels in (None, shape[-1]):
            side = math.isqrt(shape[-2])
            if shape[-2] - side**2 <= _LARGEST_PREFIX:
                yield side, shape[-1]
