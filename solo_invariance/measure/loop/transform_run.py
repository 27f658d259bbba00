"""Some transforms measured on some images, in one pass over the images."""

import math
from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from solo_invariance.data.images import ImageSource, identify
from solo_invariance.data.reading import ImageReader
from solo_invariance.errors import UserError
from solo_invariance.measure.loop.adaptive import first_rows, next_rows, standard_error
from solo_invariance.measure.loop.chunk import Unit, UnitMeasurement
from solo_invariance.measure.loop.partial_results import Parts
from solo_invariance.measure.loop.sampling import AdaptiveDesign, FullDesign
from solo_invariance.measure.loop.summary import Measured, Scores, summarise
from solo_invariance.measure.metrics.view_metric import ViewMetric
from solo_invariance.measure.transforms.transform import Transform

if TYPE_CHECKING:
    from solo_invariance.measure.measurement import InvarianceMeasurement

# A unit is what is kept at a time: minutes of work on a CPU, and never more images than fit anywhere; but many full
# batches on a GPU. Small jobs have a few units, too, for processes to share.
_UNIT_VIEWS = 16384
_UNIT_IMAGES = 256
_LEAST_VIEWS = 1024
_UNITS = 16


class TransformRun:
    """Some transforms, to be measured on images of a source.

    Args:
        measurement: What to measure, and how.
        transforms: By name.
        source: The images.
        metrics: By name.
        parts: What was done before; what is done is added.
    """

    def __init__(
        self,
        measurement: "InvarianceMeasurement",
        transforms: Mapping[str, Transform],
        source: ImageSource,
        metrics: Mapping[str, type[ViewMetric]],
        parts: Parts,
    ) -> None:
        self.measurement = measurement
        self.settings = measurement.settings
        self.transforms = transforms
        self.source = source
        self.metrics = metrics
        self.parts = parts
        self.images = measurement.choose_images(source)
        self._orders: dict[int, np.ndarray] = {}
        self.grids = {name: self._grid(transform) for name, transform in transforms.items()}
        self.designs = {name: self._design(name) for name in transforms}
        needs_gallery = any(metric.needs_gallery for metric in metrics.values())
        self.galleries = measurement.gallery(source) if needs_gallery and transforms else {}

    def measure(self) -> None:
        """Measure every row that the budget asks for, and keep it in the parts."""
        before = dict.fromkeys(self.transforms, 0)
        wanted = {name: self._first_rows(name) for name in self.transforms}
        while wanted:
            self._measure_rows(self._units(before, wanted))
            more = {name: self._more_rows(name, rows) for name, rows in wanted.items()}
            before, wanted = wanted, {name: rows for name, rows in more.items() if rows is not None}

    def summary(self, name: str, block: str) -> Measured:
        """Return what a transform gave on a block of the features."""
        scores = self._scores(name, block, self.metrics_of(name))
        measured = summarise(
            self.transforms[name],
            self.grids[name],
            scores,
            count_identity=self.settings.protocol == "paper",
            seed=self.settings.seed,
        )
        measured.summary["unreadable"] = self.parts.left_out(name)
        if self.settings.budget == "adaptive":
            reached = standard_error(self._similarities(scores), scores.items)  # as the loop saw it
            measured.summary["target_reached"] = reached <= self.settings.target_se
        return measured

    def _grid(self, transform: Transform) -> Tensor:
        return transform.grid(self.settings.k, self.settings.geometry, self.settings.protocol)

    def _design(self, name: str) -> FullDesign:
        size, identity = len(self.grids[name]), self.transforms[name].identity(self.grids[name])
        if self.settings.budget == "full":
            return FullDesign(size, identity)
        exact = self.transforms[name].is_exact(self.grids[name], identity)
        return AdaptiveDesign(size, identity, self.settings.seed, exact)

    def metrics_of(self, name: str) -> dict[str, type[ViewMetric]]:
        """Return the metrics that say something of a transform."""
        coordinates = self.transforms[name].coordinates(self.grids[name])
        return {metric: kind for metric, kind in self.metrics.items() if kind.applies(coordinates)}

    def image(self, row: int) -> int:
        """Return the index in the source of the image that a row looks at."""
        return self.images[self._item(row)]

    def new_metric(self, block: str, metric: str) -> ViewMetric:
        """Return a metric that has seen nothing yet, for a block of the features."""
        kind = self.metrics[metric]
        made = kind(gallery=self.galleries[block]) if kind.needs_gallery else kind()
        return made.to(self.measurement.device)

    def _item(self, row: int) -> int:
        """What a row looks at, by its place among the chosen images.

        Further visits come in another order: the sequence of a design nearly repeats itself after as many rows as there
        are images where that is a Fibonacci number, and an image would see the same parameters again.
        """
        visit, place = divmod(row, len(self.images))
        if visit and visit not in self._orders:
            generator = np.random.default_rng((self.settings.seed, 2, visit))
            self._orders[visit] = generator.permutation(len(self.images))
        return int(self._orders[visit][place]) if visit else place

    def _first_rows(self, name: str) -> int:
        design = self.designs[name]
        if not isinstance(design, AdaptiveDesign):
            return len(self.images)
        nothing_new = max(design.rows_to_cover, design.visits * len(self.images))
        return min(first_rows(design.rows_to_cover), nothing_new)

    def _more_rows(self, name: str, rows: int) -> int | None:
        design = self.designs[name]
        if not isinstance(design, AdaptiveDesign):
            return None
        target, errors = self.settings.target_se, {}
        for block in self.measurement.backbone.layers:
            scores = self._scores(name, block, {"similarity": self.metrics["similarity"]}, rows)
            values = self._similarities(scores)
            errors[standard_error(values, scores.items)] = (values, scores)
        values, scores = errors[max(errors)]
        more = next_rows(rows, values, scores.items, len(self.images), target, design.visits)
        # Where images could not be read, some parameters may have been seen on none.
        return rows + design.rows_to_cover if more is None and not scores.cover_the_grid else more

    def _similarities(self, scores: Scores) -> np.ndarray:
        """Return the similarity (N,) of each row, averaged over parameters."""
        return scores.per_row("similarity", count_identity=self.settings.protocol == "paper")[:, 0].numpy()

    def _units(self, before: Mapping[str, int], wanted: Mapping[str, int]) -> list[Unit]:
        """Return what is left to do from some rows on to others.

        The units are the same for any number of processes and where the work was interrupted, and so are the batches
        and their rounding.
        """

        def due(row: int) -> tuple[str, ...]:
            return tuple(name for name, rows in wanted.items() if before[name] <= row < rows)

        units = []
        for names, group in groupby(range(max(wanted.values())), due):
            if names:
                rows, views = list(group), sum(self.designs[name].num_views for name in names)
                size = _rows_of_a_unit(len(rows), views)
                units += [Unit(names, tuple(rows[start : start + size])) for start in range(0, len(rows), size)]
        done = {name: self.parts.done(name) for name in wanted}
        return [left for unit in units for left in _left(unit, done)]

    def _measure_rows(self, units: list[Unit]) -> None:
        measurement = self.measurement
        measurement.processes.wait()  # until everyone knows what is left to do
        mine = measurement.processes.share(units)
        num_rows = sum(len(unit.rows) for unit in units)
        share = math.ceil(max(num_rows, len(self.images)) / measurement.processes.count)
        reader = ImageReader(self.source, self.settings.reading, share)
        total, done = sum(map(self._num_views, mine)), 0
        images = reader.units([[self.image(row) for row in unit.rows] for unit in mine])
        for unit, (readable, pixels) in zip(mine, images, strict=True):
            under_way = UnitMeasurement(self, unit, readable, pixels)
            for count in under_way.measure():
                done += count
                measurement.progress("views", min(done, total), total)
            self.parts.add(under_way.part())
        measurement.processes.wait()  # until everything is there

    def _num_views(self, unit: Unit) -> int:
        return len(unit.rows) * sum(self.designs[name].num_views for name in unit.names)

    def _scores(
        self, name: str, block: str, metrics: Mapping[str, type[ViewMetric]], rows: int | None = None
    ) -> Scores:
        """Return the scores of a transform on a block, of its first ``rows`` rows."""
        measured = self.parts.rows(name)
        if not len(measured):
            raise UserError(f"{name}: none of the images could be read")
        kept = torch.from_numpy(measured < (len(self.images) * len(measured) + 1 if rows is None else rows))
        found = {}
        for metric in metrics:
            found[metric] = self.new_metric(block, metric).cpu()
            states = self.parts.states((name, block, metric))
            found[metric].add_states({state: tensor[kept[: len(tensor)]] for state, tensor in states.items()})
        measured = measured[kept.numpy()]
        items = np.asarray([self._item(int(row)) for row in measured])
        names = {int(item): identify(self.source, self.images[item]) for item in np.unique(items)}
        return Scores(self.designs[name], measured, items, names, found)


def _rows_of_a_unit(rows: int, views: int) -> int:
    """Return how many of some rows to measure at a time, where each has so many views."""
    shared = max(math.ceil(rows / _UNITS), math.ceil(_LEAST_VIEWS / views))
    most = min(shared, _UNIT_IMAGES, max(1, _UNIT_VIEWS // views))
    return math.ceil(rows / math.ceil(rows / most))  # units of about one size


def _left(unit: Unit, done: Mapping[str, Collection[int]]) -> Iterator[Unit]:
    """Yield what is left of a unit: nothing or all of it, unless it was begun with other transforms."""
    for names, rows in groupby(unit.rows, lambda row: tuple(name for name in unit.names if row not in done[name])):
        if names:
            yield Unit(names, tuple(rows))
