"""What is measured on what: images, grids of parameters, samplings of them, and the metrics of each transform."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from solo_invariance.data.images import ImageSource
from solo_invariance.errors import UserError
from solo_invariance.measure.loop.adaptive import first_rows, next_rows
from solo_invariance.measure.loop.sampling import AdaptiveSampling, FullSampling
from solo_invariance.measure.metrics.view_metric import ViewMetric
from solo_invariance.measure.settings import MeasureSettings
from solo_invariance.measure.transforms.transform import ResizeCrop, Transform

# A chunk is what is kept at a time: minutes of work on a CPU, and never more images than fit anywhere; but many full
# batches on a GPU. Small jobs have a few chunks, too, for processes to share.
_CHUNK_VIEWS = 16384
_CHUNK_IMAGES = 256
_LEAST_VIEWS = 1024
_CHUNKS = 16
_FULL_IMAGES = 1000


class Chunk(NamedTuple):
    """A piece of work: rows of the samplings of some transforms."""

    names: tuple[str, ...]
    rows: tuple[int, ...]


class Plan:
    """Some transforms, to be measured on images of a source.

    Args:
        transforms: By name.
        source: The images.
        metrics: By name; each a prototype, of which others are made.
        settings: How to measure.
        geometry: Sizes of images and crops.

    Attributes:
        images: The indices of the images to measure on.
        grids: Each transform's parameters (K, P).
        samplings: By transform; which of the parameters a row is seen with.
    """

    def __init__(
        self,
        transforms: Mapping[str, Transform],
        source: ImageSource,
        metrics: Mapping[str, ViewMetric],
        settings: MeasureSettings,
        geometry: ResizeCrop,
    ) -> None:
        self.transforms = transforms
        self.source = source
        self.metrics = metrics
        self.settings = settings
        self.geometry = geometry
        self.images = choose_images(len(source), settings)
        self.grids = grids_of(transforms, settings, geometry)
        self.samplings = {name: self._sampling(name) for name in transforms}
        self._orders: dict[int, np.ndarray] = {}

    def metrics_of(self, name: str) -> dict[str, ViewMetric]:
        """Return the metrics that say something of a transform."""
        coordinates = self.transforms[name].coordinates(self.grids[name])
        return {metric: one for metric, one in self.metrics.items() if one.applies(coordinates)}

    def apply(self, name: str) -> Callable[[Tensor, Tensor, ResizeCrop], Tensor]:
        """Return how a transform makes views, as the protocol wants them."""
        transform = self.transforms[name]
        return transform.apply_in_eight_bits if self.settings.quirks.rounds_to_eight_bits else transform.apply

    def parameters(self, name: str, row: int) -> Tensor:
        """Return the parameters (V, P) that views are made with for a row."""
        return self.transforms[name].parameters_of_row(self.grids[name][self.samplings[name].parameters(row)], row)

    def coordinates(self, name: str, rows: Collection[int]) -> Tensor:
        """Return the coordinates (N, M, C) of the parameters that rows have scores for."""
        indices = torch.stack([self.samplings[name].indices(row) for row in rows])
        return self.transforms[name].coordinates(self.grids[name])[indices]

    def image(self, row: int) -> int:
        """Return the index in the source of the image that a row looks at."""
        return self.images[self.item(row)]

    def item(self, row: int) -> int:
        """Return what a row looks at, by its place among the chosen images.

        Further visits come in another order: the sequence of a sampling nearly repeats itself after as many rows as
        there are images where that is a Fibonacci number, and an image would see the same parameters again.
        """
        visit, place = divmod(row, len(self.images))
        if visit and visit not in self._orders:
            generator = np.random.default_rng((self.settings.seed, 2, visit))
            self._orders[visit] = generator.permutation(len(self.images))
        return int(self._orders[visit][place]) if visit else place

    def first_rows(self, name: str) -> int:
        """Return how many rows of a transform to measure before looking at what they gave."""
        sampling = self.samplings[name]
        if not isinstance(sampling, AdaptiveSampling):
            return len(self.images)
        nothing_new = max(sampling.rows_to_cover, sampling.visits * len(self.images))
        return min(first_rows(sampling.rows_to_cover), nothing_new)

    def more_rows(
        self, name: str, rows: int, similarities: np.ndarray, items: np.ndarray, *, covered: bool
    ) -> int | None:
        """Return to how many rows of a transform to go on, None where that is enough.

        Args:
            name: Of the transform.
            rows: Measured so far.
            similarities: (R,), of those that could be measured, in the least certain layer.
            items: What each of them looked at, (R,).
            covered: Whether they have scores at every parameter.
        """
        sampling = self.samplings[name]
        if not isinstance(sampling, AdaptiveSampling):
            return None
        more = next_rows(rows, similarities, items, len(self.images), self.settings.target_se, sampling.visits)
        # Where images could not be read, some parameters may have been seen on none.
        return rows + sampling.rows_to_cover if more is None and not covered else more

    def num_views(self, chunk: Chunk) -> int:
        """Return how many views are made for a chunk."""
        return len(chunk.rows) * sum(self.samplings[name].num_views for name in chunk.names)

    def chunks(
        self, before: Mapping[str, int], wanted: Mapping[str, int], done: Mapping[str, Collection[int]]
    ) -> list[Chunk]:
        """Return what is left to do from some rows of each transform on to others.

        The chunks are the same for any number of processes and where the work was interrupted, and so are the batches
        and their rounding.

        Args:
            before: How many rows of each transform were wanted so far.
            wanted: How many are wanted now.
            done: The rows of each transform that were measured.
        """

        def due(row: int) -> tuple[str, ...]:
            return tuple(name for name, rows in wanted.items() if before[name] <= row < rows)

        chunks = []
        for names, group in groupby(range(max(wanted.values())), due):
            if names:
                rows, views = list(group), sum(self.samplings[name].num_views for name in names)
                size = _rows_of_a_chunk(len(rows), views)
                chunks += [Chunk(names, tuple(rows[start : start + size])) for start in range(0, len(rows), size)]
        return [left for chunk in chunks for left in _left(chunk, done)]

    def _sampling(self, name: str) -> FullSampling:
        size, identity = len(self.grids[name]), self.transforms[name].identity(self.grids[name])
        if self.settings.budget == "full":
            return FullSampling(size, identity)
        exact = self.transforms[name].is_exact(self.grids[name], identity)
        return AdaptiveSampling(size, identity, self.settings.seed, exact)


def grids_of(transforms: Mapping[str, Transform], settings: MeasureSettings, geometry: ResizeCrop) -> dict[str, Tensor]:
    """Return each transform's parameters (K, P).

    Raises:
        UserError: They are one alone, which changes nothing, and would be measured as perfect invariance.
    """
    grids = {name: one.grid(settings.k, geometry, settings.protocol) for name, one in transforms.items()}
    nothing = [name for name, grid in grids.items() if len(grid) == 1 and transforms[name].identity(grid) == 0]
    if nothing:
        raise UserError(
            f"k={settings.k}: the one parameter of {', '.join(nothing)} changes nothing, and there is nothing to "
            f"measure; take k of at least 2"
        )
    return grids


def num_images(available: int, settings: MeasureSettings) -> int:
    """Return how many images to measure on: as many as the settings ask for, or all if there are fewer.

    Args:
        available: How many there are.
        settings: How to measure. A protocol that draws images twice takes as many as were asked for in any case.
    """
    wanted = settings.num_images or (_FULL_IMAGES if settings.budget == "full" else available)
    return wanted if _draws_twice(settings) else min(wanted, available)


def choose_images(available: int, settings: MeasureSettings) -> list[int]:
    """Return the indices of the images to measure on.

    Args:
        available: How many there are.
        settings: How to measure; its seed says which, unless the protocol has a seed of its own (``paper`` with all
            the parameters: the official code's images).

    Raises:
        UserError: It is one image, of which there is no interval.
    """
    size = num_images(available, settings)
    if size < 2:
        raise UserError(f"{size} image to measure on: an interval needs at least 2")
    if _draws_twice(settings):
        official = np.random.RandomState(settings.quirks.seed_of_draws(settings.seed))
        return official.choice(available, size).tolist()
    return np.random.default_rng(settings.seed).choice(available, size, replace=False).tolist()


def _draws_twice(settings: MeasureSettings) -> bool:
    return settings.quirks.draws_images_twice and settings.budget == "full"


def _rows_of_a_chunk(rows: int, views: int) -> int:
    """Return how many of some rows to measure at a time, where each has so many views."""
    shared = max(math.ceil(rows / _CHUNKS), math.ceil(_LEAST_VIEWS / views))
    most = min(shared, _CHUNK_IMAGES, max(1, _CHUNK_VIEWS // views))
    return math.ceil(rows / math.ceil(rows / most))  # chunks of about one size


def _left(chunk: Chunk, done: Mapping[str, Collection[int]]) -> Iterator[Chunk]:
    """Yield what is left of a chunk: nothing or all of it, unless it was begun with other transforms."""
    for names, rows in groupby(chunk.rows, lambda row: tuple(name for name in chunk.names if row not in done[name])):
        if names:
            yield Chunk(names, tuple(rows))
