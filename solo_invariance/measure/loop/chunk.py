"""One unit of a measurement: from images to views, through the backbone, to the states of metrics."""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from solo_invariance.data.reading import by_shape
from solo_invariance.measure.loop.partial_results import Key, Part
from solo_invariance.measure.metrics.view_metric import ViewMetric
from solo_invariance.measure.statistics.reference import clean_views, require_finite_features

if TYPE_CHECKING:
    from solo_invariance.measure.loop.transform_run import TransformRun

_CLEAN = ""


class Unit(NamedTuple):
    """A piece of work: rows of the designs of some transforms."""

    names: tuple[str, ...]
    rows: tuple[int, ...]


class _Piece(NamedTuple):
    """Views on their way through the backbone.

    Args:
        name: Of their transform, empty for clean images.
        positions: Their images' places among those of the unit that could be read.
        complete: Whether these images have no more views of this transform.
    """

    name: str
    positions: list[int]
    complete: bool


class UnitMeasurement:
    """A unit that is being measured.

    Args:
        run: What to measure, and how.
        unit: The rows.
        readable: Which of them have an image that could be read.
        pixels: These images, uint8 (3, H, W).
    """

    def __init__(self, run: "TransformRun", unit: Unit, readable: list[int], pixels: list[Tensor]) -> None:
        self._run = run
        self._unit = unit
        self._pixels = pixels
        self._rows = [unit.rows[position] for position in readable]
        self._metrics = {
            (name, block, metric): run.new_metric(block, metric)
            for name in unit.names
            for block in run.measurement.backbone.layers
            for metric in run.metrics_of(name)
        }
        self._order: dict[str, list[int]] = {name: [] for name in unit.names}

    def measure(self) -> Iterator[int]:
        """Give the features of all views to the metrics; yield the numbers of views that are done in between."""
        measurement = self._run.measurement
        clean = torch.empty(len(self._rows), measurement.backbone.num_features, device=measurement.device)
        waiting: deque[_Piece] = deque()
        held: list[Tensor] = []
        for features in measurement.stream.stream(self._views(waiting)):
            piece = waiting.popleft()
            if piece.name == _CLEAN:
                self._require_finite(features, piece.positions)
                clean[piece.positions] = features
                continue
            held.append(features)
            if piece.complete:
                views = torch.cat(held).unflatten(0, (len(piece.positions), -1))
                self._update(piece.name, piece.positions, clean[piece.positions], views)
                held.clear()
            yield len(features)

    def part(self) -> Part:
        """Return the metrics' states, in the order of the rows."""
        states: dict[Key, Tensor] = {}
        for key, metric in self._metrics.items():
            kind = self._run.metrics[key[2]]
            given = [position for position in self._order[key[0]] if _takes(kind, self._rows[position])]
            in_order = sorted(range(len(given)), key=given.__getitem__)
            if given:
                states |= {(*key, name): state[in_order] for name, state in metric.states().items()}
        unreadable = sorted({*self._unit.rows} - {*self._rows})
        left_out = [self._run.source.name_of(self._run.image(row)) for row in unreadable]
        return Part(self._unit.names, self._unit.rows, unreadable, states, left_out)

    def _views(self, waiting: deque[_Piece]) -> Iterator[Tensor]:
        """Make the views, clean images first, and note in ``waiting`` what each piece of them is."""
        device, geometry = self._run.measurement.device, self._run.settings.geometry
        stacks = [(positions, stack.to(device)) for positions, stack in by_shape(self._pixels)]
        for positions, stack in stacks:
            waiting.append(_Piece(_CLEAN, positions, True))
            yield clean_views(stack, geometry)
        for positions, stack in stacks:
            images = stack.float().div(255)
            for name in self._unit.names:
                yield from self._views_of(name, positions, images, waiting)

    def _views_of(self, name: str, positions: list[int], images: Tensor, waiting: deque[_Piece]) -> Iterator[Tensor]:
        """Make the views of images (n, 3, H, W) of one size by one transform, at most a batch at a time."""
        run, design, size = self._run, self._run.designs[name], self._run.measurement.stream.batch_size
        transform, geometry = run.transforms[name], run.settings.geometry
        apply = transform.apply_in_eight_bits if run.settings.protocol == "paper" else transform.apply
        for some in torch.arange(len(images)).split(max(1, size // design.num_views)):
            chosen = [positions[place] for place in some]
            parameters = torch.cat([run.grids[name][design.parameters(self._rows[p])] for p in chosen])
            owners = some.repeat_interleave(design.num_views)
            slices = torch.arange(len(owners)).split(size)
            for index, part in enumerate(slices):
                waiting.append(_Piece(name, chosen, index == len(slices) - 1))
                yield apply(_gather(images, owners[part]), parameters[part], geometry)

    def _update(self, name: str, positions: list[int], clean: Tensor, views: Tensor) -> None:
        """Give features of clean images (n, D) and of their views (n, V, D) to the metrics."""
        self._require_finite(views, positions)
        run, rows = self._run, [self._rows[position] for position in positions]
        design, transform = run.designs[name], run.transforms[name]
        indices = torch.stack([design.indices(row) for row in rows])
        coordinates = transform.coordinates(run.grids[name])[indices].to(views.device)
        images = torch.tensor([run.image(row) for row in rows])
        whitened_views = run.measurement.whiten(views.flatten(0, 1))
        for block, own in run.measurement.whiten(clean).items():
            others = whitened_views[block].unflatten(0, views.shape[:2])
            if design.adds_identity:
                others = torch.cat([others, own[:, None]], dim=1)
            for metric, kind in run.metrics_of(name).items():
                some = [place for place, row in enumerate(rows) if _takes(kind, row)]
                # A few views that the identity is always one of are no sample of the grid: weights see to that, but
                # only where each view has a number of its own.
                shown = indices.shape[1] if kind.per_parameter or design.strata is None else design.num_views
                if some:
                    self._metrics[name, block, metric].update(
                        own[some], others[some][:, :shown], coordinates[some][:, :shown], images[some]
                    )
        self._order[name] += positions

    def _require_finite(self, features: Tensor, positions: list[int]) -> None:
        images = [self._run.image(self._rows[position]) for position in positions]
        require_finite_features(features, self._run.source, images)


def _gather(images: Tensor, owners: Tensor) -> Tensor:
    """Return each view's image (V, 3, H, W); without a copy where it is the same one for all."""
    first = int(owners[0])
    if int(owners[-1]) == first:  # owners ascend
        return images[first].expand(len(owners), *images.shape[1:])
    return images[owners.to(images.device)]


def _takes(metric: type[ViewMetric], row: int) -> bool:
    """Return whether a metric is given a row of a design."""
    return metric.max_rows is None or row < metric.max_rows
