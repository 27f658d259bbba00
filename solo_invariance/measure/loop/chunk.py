"""A piece of a measurement: from images to views, through the backbone, to the states of metrics."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from solo_invariance.data.reading import by_shape
from solo_invariance.features.checks import require_finite_features
from solo_invariance.measure.functional.whitening import hold_out_pairs
from solo_invariance.measure.loop.partial_results import Key, PartialResult
from solo_invariance.measure.loop.plan import Chunk, Plan
from solo_invariance.measure.loop.whitened import WhitenedBackbone
from solo_invariance.measure.metrics.distance import InvarianceDistance
from solo_invariance.measure.metrics.view_metric import ProjectionMetric, ViewMetric
from solo_invariance.measure.statistics.reference import clean_views, require_short_side
from solo_invariance.measure.transforms.transform import ResizeCrop

_CLEAN = ""
REFERENCE = "reference"
"""Below which the states are that have the influence of reference images on similarity and distance of each row."""
_LARGE = 4  # times the pixels of a square of the resized images


class _Piece(NamedTuple):
    """Views on their way through the backbone.

    Args:
        name: Of their transform, empty for clean images.
        positions: Their images' places among those of the chunk that could be read.
        complete: Whether these images have no more views of this transform.
    """

    name: str
    positions: list[int]
    complete: bool


class ChunkMeasurement:
    """A chunk that is being measured.

    Args:
        plan: What is measured on what.
        whitened: The backbone.
        prototypes: The metrics of each layer, by name.
        chunk: The rows.
        readable: Which of them have an image that could be read.
        pixels: These images, uint8 (3, H, W).
    """

    def __init__(
        self,
        plan: Plan,
        whitened: WhitenedBackbone,
        prototypes: Mapping[str, Mapping[str, ViewMetric]],
        chunk: Chunk,
        readable: list[int],
        pixels: list[Tensor],
    ) -> None:
        self._plan = plan
        self._whitened = whitened
        self._chunk = chunk
        self._pixels = pixels
        self._rows = [chunk.rows[position] for position in readable]
        if not plan.settings.quirks.transforms_before_resizing:
            require_short_side(pixels, plan.geometry.resize, plan.source, [plan.image(row) for row in self._rows])
        self._metrics = {
            (name, layer, metric): metrics[metric].clone()
            for name in chunk.names
            for layer, metrics in prototypes.items()
            for metric in plan.metrics_of(name)
        }
        self._held_out = whitened.in_reference(plan.source, [plan.image(row) for row in self._rows])
        self._order: dict[str, list[int]] = {name: [] for name in chunk.names}
        self._influence: dict[tuple[str, str, str], list[Tensor]] = {}

    def measure(self) -> Iterator[int]:
        """Give the features of all views to the metrics; yield the numbers of views that are done in between."""
        whitened = self._whitened
        clean = torch.empty(len(self._rows), whitened.backbone.num_features, device=whitened.device)
        waiting: deque[_Piece] = deque()
        held: list[Tensor] = []
        for features in whitened.stream.stream(self._views(waiting)):
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

    def partial_result(self) -> PartialResult:
        """Return the metrics' states, in the order of the rows."""
        states: dict[Key, Tensor] = {}
        for key, metric in self._metrics.items():
            given = [position for position in self._order[key[0]] if _takes(metric, self._rows[position])]
            in_order = sorted(range(len(given)), key=given.__getitem__)
            if given:
                states |= {(*key, name): state[in_order] for name, state in metric.states().items()}
        for (name, layer, metric_name), influence in self._influence.items():
            order = torch.tensor(self._order[name]).argsort()
            states[name, layer, REFERENCE, metric_name] = torch.cat(influence)[order.to(influence[0].device)]
        unreadable = sorted({*self._chunk.rows} - {*self._rows})
        left_out = [self._plan.source.name_of(self._plan.image(row)) for row in unreadable]
        return PartialResult(self._chunk.names, self._chunk.rows, unreadable, states, left_out)

    def _views(self, waiting: deque[_Piece]) -> Iterator[Tensor]:
        """Make the views, clean images first, and note in ``waiting`` what each piece of them is."""
        stacks = [(positions, stack.to(self._whitened.device)) for positions, stack in by_shape(self._pixels)]
        for positions, stack in stacks:
            waiting.append(_Piece(_CLEAN, positions, True))
            yield clean_views(stack, self._plan.geometry)
        for positions, stack in stacks:
            images = stack.float().div(255)
            for name in self._chunk.names:
                yield from self._views_of(name, positions, images, waiting)

    def _views_of(self, name: str, positions: list[int], images: Tensor, waiting: deque[_Piece]) -> Iterator[Tensor]:
        """Make the views of images (n, 3, H, W) of one size by one transform, at most a batch at a time."""
        plan, sampling, apply = self._plan, self._plan.samplings[name], self._plan.apply(name)
        size = _views_at_a_time(images, self._whitened.stream.batch_size, plan.geometry)
        for some in torch.arange(len(images)).split(max(1, size // sampling.num_views)):
            chosen = [positions[place] for place in some]
            parameters = torch.cat([plan.parameters(name, self._rows[p]) for p in chosen])
            owners = some.repeat_interleave(sampling.num_views)
            slices = torch.arange(len(owners)).split(size)
            for index, part in enumerate(slices):
                waiting.append(_Piece(name, chosen, index == len(slices) - 1))
                yield apply(_gather(images, owners[part]), parameters[part], plan.geometry)

    def _update(self, name: str, positions: list[int], clean: Tensor, views: Tensor) -> None:
        """Give features of clean images (n, D) and of their views (n, V, D) to the metrics."""
        self._require_finite(views, positions)
        plan, rows = self._plan, [self._rows[position] for position in positions]
        sampling, coordinates = plan.samplings[name], plan.coordinates(name, rows).to(views.device)
        images = torch.tensor([plan.image(row) for row in rows])
        held_out = self._held_out[positions]
        for layer, counted in self._whitened.whiten_pairs(clean, views).items():
            if sampling.adds_identity:
                counted = torch.cat([counted, counted[:, :1]], dim=1)
            whitening = self._whitened.whitenings[layer]
            pairs = hold_out_pairs(counted, held_out, whitening)
            self._add_influence(name, layer, rows, counted, pairs, held_out)
            pairs = pairs * whitening.length()
            for metric in plan.metrics_of(name):
                one = self._metrics[name, layer, metric]
                some = [place for place, row in enumerate(rows) if _takes(one, row)]
                # A few views that the identity is always one of are no sample of the grid: weights see to that, but
                # only where each view has a number of its own.
                every = one.per_parameter or sampling.strata is None
                shown = coordinates.shape[1] if every else sampling.num_views
                if not some:
                    continue
                shown_coordinates = coordinates[some][:, :shown]
                if isinstance(one, ProjectionMetric):
                    kept = counted[some]
                    one.update(kept[:, 0], kept[:, 1 : shown + 1], shown_coordinates, images[some], held_out[some])
                else:
                    kept = pairs[some]
                    one.update(kept[:, 0], kept[:, 1 : shown + 1], shown_coordinates, images[some])
        self._order[name] += positions

    def _add_influence(
        self, name: str, layer: str, rows: list[int], counted: Tensor, pairs: Tensor, held_out: Tensor
    ) -> None:
        """Keep the influence of reference images on what rows have in common with all views but the identity."""
        blocks, sampling = self._whitened.reference_blocks[layer], self._plan.samplings[name]
        if blocks is None:
            return
        indices = torch.stack([sampling.indices(row) for row in rows])
        weights = sampling.weights(indices, count_identity=False)
        whitening = self._whitened.whitenings[layer]
        found = {"similarity": blocks.influence(pairs[:, 0], pairs[:, 1:], weights)}
        if isinstance(self._metrics.get((name, layer, "distance")), InvarianceDistance):
            found["distance"] = blocks.distance_influence(pairs[:, 0], pairs[:, 1:], weights, whitening)
        matched = self._metrics.get((name, layer, "width_matched_similarity"))
        if isinstance(matched, ProjectionMetric):
            found["width_matched_similarity"] = blocks.width_matched_influence(
                counted, weights, matched.projections, held_out, whitening
            )
        for metric, influence in found.items():
            self._influence.setdefault((name, layer, metric), []).append(influence)

    def _require_finite(self, features: Tensor, positions: list[int]) -> None:
        images = [self._plan.image(self._rows[position]) for position in positions]
        require_finite_features(features, self._plan.source, images)


def _views_at_a_time(images: Tensor, batch_size: int, geometry: ResizeCrop) -> int:
    """Return how many views of images (n, 3, H, W) to make at a time: fewer of large ones, to bound the memory."""
    pixels = images.shape[-2] * images.shape[-1]
    return max(1, min(batch_size, batch_size * _LARGE * geometry.resize**2 // pixels))


def _gather(images: Tensor, owners: Tensor) -> Tensor:
    """Return each view's image (V, 3, H, W); without a copy where it is the same one for all."""
    first = int(owners[0])
    if int(owners[-1]) == first:  # owners ascend
        return images[first].expand(len(owners), *images.shape[1:])
    return images[owners.to(images.device)]


def _takes(metric: ViewMetric, row: int) -> bool:
    """Return whether a metric is given a row of a sampling."""
    return metric.max_rows is None or row < metric.max_rows
