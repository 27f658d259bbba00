"""Computing features in pieces, which processes with the same work share."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from solo_invariance.data.decoding import Unreadable, readable
from solo_invariance.data.images import ImageSource
from solo_invariance.data.reading import read_ahead
from solo_invariance.errors import SharedUserError, UserError
from solo_invariance.features.cache import FeatureCache, NoCache
from solo_invariance.features.checks import require_finite_features
from solo_invariance.features.feature_stream import FeatureStream
from solo_invariance.processes import Processes
from solo_invariance.progress import Progress

_PAUSE = 0.1

Made = TypeVar("Made")


def in_each(processes: Processes, work: Callable[[], Made]) -> list[Made]:
    """Return what a piece of work comes to in each process, by rank.

    Args:
        processes: Those that all call this.
        work: This process's part; it must not wait for other processes.

    Raises:
        SharedUserError: It failed in one of them, for whatever reason. All raise it, so that none waits for one that
            has stopped. What a piece of work raises that was itself done in each goes on as it is: all know it by then.
    """
    if processes.count == 1:
        return [work()]
    made: list[Made] = []
    said: list[str] = []
    failure: Exception | None = None
    try:
        made.append(work())
    except SharedUserError:
        raise
    except Exception as error:
        failure = error
        said.append(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
    outcomes = processes.gather([(made, said)])
    wrong = [words for _, words in outcomes if words]
    if wrong:
        raise SharedUserError(wrong[0][0]) from failure
    return [one for (one,), _ in outcomes]


class Piece(NamedTuple):
    """One backbone's features of one unit of images.

    Args:
        rows: The images, by their indices.
        member: The backbone, by its number.
        key: What the features are known by.
    """

    rows: range
    member: int
    key: str


class _Batch(NamedTuple):
    rows: range
    pieces: list[Piece]


class SharedWork:
    """Finds pieces in a cache, computes those that are not there, and waits for those that other processes compute.

    Images are read once for all backbones that need them. A unit's batches are the same whoever computes it, and so are
    the numbers.

    Args:
        streams: Give each backbone's features; their batch sizes are the same.
        widths: Of each backbone's features.
        images: Squares, uint8 (3, S, S).
        num_workers: Threads that read ahead.
        cache: Where pieces are found and kept.
        progress: Told how many images are done.
        what: What to call the work.

    Attributes:
        features: Of each backbone, (N, D), float32 on the CPU.
    """

    def __init__(
        self,
        streams: Sequence[FeatureStream],
        widths: Sequence[int],
        images: ImageSource,
        num_workers: int,
        cache: FeatureCache | NoCache,
        progress: Progress,
        what: str,
    ) -> None:
        self.features = [torch.empty(len(images), width) for width in widths]
        self._streams = streams
        self._images = images
        self._num_workers = num_workers
        self._cache = cache
        self._progress = progress
        self._what = what
        self._done = 0
        self._in_use: Collection[str] = ()
        self._claimed: set[str] = set()

    def do(self, pieces: Sequence[Piece]) -> None:
        """Fill ``features`` in; pieces of the same images come one after the other.

        Raises:
            UserError: An image is unreadable, or its features are not finite (the message names it); or the cache
                cannot be written.
        """
        self._in_use = {piece.key for piece in pieces}
        while pieces:
            elsewhere = self._do_own(pieces)
            if len(elsewhere) == len(pieces):
                time.sleep(_PAUSE)
            pieces = elsewhere

    def _do_own(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Do what no other process is at; return the rest."""
        elsewhere: list[Piece] = []
        begun: deque[_Batch] = deque()
        try:
            for images in read_ahead(self._images, self._batches(pieces, begun, elsewhere), self._num_workers):
                self._compute(begun.popleft(), images)
        finally:
            for key in list(self._claimed):
                self._release(key)
        return elsewhere

    def _batches(self, pieces: Sequence[Piece], begun: deque[_Batch], elsewhere: list[Piece]) -> Iterator[range]:
        # Pieces are claimed only when their images are about to be read, so that other processes find some to do.
        for rows, group in groupby(pieces, lambda piece: piece.rows):
            own = [piece for piece in group if self._is_own(piece, elsewhere)]
            if own:
                size = self._streams[0].batch_size
                for start in range(rows.start, rows.stop, size):
                    begun.append(_Batch(range(start, min(start + size, rows.stop)), own))
                    yield begun[-1].rows

    def _is_own(self, piece: Piece, elsewhere: list[Piece]) -> bool:
        if self._find(piece):
            return False
        if not self._cache.claim(piece.key):
            elsewhere.append(piece)
            return False
        self._claimed.add(piece.key)
        if self._find(piece):  # another process was done with it just before
            self._release(piece.key)
            return False
        return True

    def _release(self, key: str) -> None:
        self._claimed.discard(key)
        self._cache.release(key)

    def _find(self, piece: Piece) -> bool:
        place = self._place(piece.member, piece.rows)
        found = self._cache.find(piece.key, (place.shape[0], place.shape[1]))
        if found is None:
            return False
        place.copy_(found)
        self._count(len(piece.rows))
        return True

    def _compute(self, batch: _Batch, images: Sequence[Tensor | Unreadable]) -> None:
        stack = torch.stack([readable(image) for image in images])
        views = stack.to(self._streams[0].device).float().div(255)
        for piece in batch.pieces:
            features = self._streams[piece.member].features(views)
            self._place(piece.member, batch.rows).copy_(features)
            require_finite_features(self._place(piece.member, batch.rows), self._images, batch.rows)
            if batch.rows.stop == piece.rows.stop:
                self._cache.keep(piece.key, self._place(piece.member, piece.rows), self._in_use)
                self._release(piece.key)
            self._count(len(batch.rows))

    def _place(self, member: int, rows: range) -> Tensor:
        return self.features[member][rows.start : rows.stop]

    def _count(self, images: int) -> None:
        self._done += images
        self._progress(self._what, self._done // len(self._streams), len(self._images))
