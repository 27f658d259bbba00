"""Some transforms measured on some images, in one pass over the images."""

import math
from collections.abc import Mapping

import numpy as np
import torch

from solo_invariance.data.images import identify
from solo_invariance.data.reading import ImageReader
from solo_invariance.errors import UserError
from solo_invariance.measure.loop.adaptive import standard_error
from solo_invariance.measure.loop.chunk import REFERENCE, ChunkMeasurement
from solo_invariance.measure.loop.partial_results import PartialResults
from solo_invariance.measure.loop.plan import Chunk, Plan
from solo_invariance.measure.loop.summary import Measured, Scores, summarise
from solo_invariance.measure.loop.whitened import WhitenedBackbone
from solo_invariance.measure.metrics.view_metric import GalleryMetric, ViewMetric, prototypes_of_layers


class TransformRun:
    """A plan that is carried out.

    Args:
        whitened: The backbone.
        plan: What is measured on what.
        parts: What was done before; what is done is added.
    """

    def __init__(self, whitened: WhitenedBackbone, plan: Plan, parts: PartialResults) -> None:
        self.whitened = whitened
        self.plan = plan
        self.parts = parts
        needs_gallery = any(isinstance(metric, GalleryMetric) for metric in plan.metrics.values())
        galleries = whitened.gallery(plan.source) if needs_gallery and plan.transforms else {}
        self._prototypes = prototypes_of_layers(
            plan.metrics, whitened.backbone.layers, galleries, whitened.projections(), whitened.device
        )

    def measure(self) -> None:
        """Measure every row that the budget asks for, and keep it in the partial results."""
        before = dict.fromkeys(self.plan.transforms, 0)
        wanted = {name: self.plan.first_rows(name) for name in self.plan.transforms}
        while wanted:
            done = {name: self.parts.done(name) for name in wanted}
            self._measure_rows(self.plan.chunks(before, wanted, done))
            more = {name: self._more_rows(name, rows) for name, rows in wanted.items()}
            before, wanted = wanted, {name: rows for name, rows in more.items() if rows is not None}

    def summary(self, name: str, layer: str) -> Measured:
        """Return what a transform gave on a layer of the features."""
        plan, settings = self.plan, self.plan.settings
        scores = self._scores(name, layer, plan.metrics_of(name))
        measured = summarise(
            plan.transforms[name],
            plan.grids[name],
            scores,
            count_identity=settings.quirks.counts_identity,
            seed=settings.seed,
        )
        measured.summary["unreadable"] = self.parts.left_out(name)
        if settings.budget == "adaptive":
            reached = standard_error(self._similarities(scores), scores.items)  # as the loop saw it
            measured.summary["target_reached"] = reached <= settings.target_se
        return measured

    def _more_rows(self, name: str, rows: int) -> int | None:
        if self.plan.settings.budget == "full":
            return None
        similarity, errors = {"similarity": self.plan.metrics["similarity"]}, {}
        for layer in self.whitened.backbone.layers:
            scores = self._scores(name, layer, similarity, rows)
            values = self._similarities(scores)
            errors[standard_error(values, scores.items)] = (values, scores)
        values, scores = errors[max(errors)]
        return self.plan.more_rows(name, rows, values, scores.items, covered=scores.cover_the_grid)

    def _similarities(self, scores: Scores) -> np.ndarray:
        """Return the similarity (N,) of each row, averaged over parameters."""
        counted = self.plan.settings.quirks.counts_identity
        return scores.per_row("similarity", count_identity=counted)[:, 0].numpy()

    def _measure_rows(self, chunks: list[Chunk]) -> None:
        whitened, plan = self.whitened, self.plan
        whitened.processes.wait()  # until everyone knows what is left to do
        mine = whitened.processes.share(chunks)
        num_rows = sum(len(chunk.rows) for chunk in chunks)
        share = math.ceil(max(num_rows, len(plan.images)) / whitened.processes.count)
        reader = ImageReader(plan.source, plan.settings.reading, share)
        total, done = sum(map(plan.num_views, mine)), 0
        images = reader.units([[plan.image(row) for row in chunk.rows] for chunk in mine])
        for chunk, (readable, pixels) in zip(mine, images, strict=True):
            under_way = ChunkMeasurement(plan, whitened, self._prototypes, chunk, readable, pixels)
            for count in under_way.measure():
                done += count
                whitened.progress("views", min(done, total), total)
            self.parts.add(under_way.partial_result())
        whitened.processes.wait()  # until everything is there

    def _scores(self, name: str, layer: str, metrics: Mapping[str, ViewMetric], rows: int | None = None) -> Scores:
        """Return the scores of a transform on a layer, of its first ``rows`` rows."""
        plan, measured = self.plan, self.parts.rows(name)
        if not len(measured):
            raise UserError(f"{name}: none of the images could be read")
        kept = torch.from_numpy(measured < (len(plan.images) * len(measured) + 1 if rows is None else rows))
        found = {}
        for metric in metrics:
            found[metric] = self._prototypes[layer][metric].clone().cpu()
            states = self.parts.states((name, layer, metric))
            found[metric].add_states({state: tensor[kept[: len(tensor)]] for state, tensor in states.items()})
        measured = measured[kept.numpy()]
        items = np.asarray([plan.item(int(row)) for row in measured])
        names = {int(item): identify(plan.source, plan.images[item]) for item in np.unique(items)}
        influence = {of: state[kept] for of, state in self.parts.states((name, layer, REFERENCE)).items()}
        return Scores(plan.samplings[name], measured, items, names, found, influence)
