"""Invariance within groups of views of one thing."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from solo_invariance.bootstrap import Estimate, Statistic, estimate, first_term
from solo_invariance.data.images import ImageSource
from solo_invariance.data.reading import ImageReader
from solo_invariance.data.sources import with_short_side
from solo_invariance.errors import UserError
from solo_invariance.features.checks import require_finite_features
from solo_invariance.measure.functional.similarity import (
    group_distance,
    group_similarity,
    width_matched_group_similarity,
)
from solo_invariance.measure.functional.whitening import hold_out
from solo_invariance.measure.loop.partial_results import Key, PartialResult, PartialResults
from solo_invariance.measure.loop.reference_error import standard_error
from solo_invariance.measure.loop.summary import Measured
from solo_invariance.measure.loop.whitened import WhitenedBackbone
from solo_invariance.measure.metrics.view_metric import GalleryMetric, ViewMetric, prototypes_of, prototypes_of_layers
from solo_invariance.measure.statistics.reference import clean_features, require_short_side

_CHUNK_VIEWS = 1024
_NO_PARAMETERS = torch.empty(2, 0)
_PAIRWISE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "similarity_without_diagonal": partial(group_similarity, include_diagonal=False),
    "similarity_with_diagonal": partial(group_similarity, include_diagonal=True),
    "distance": group_distance,
}
_INFLUENCE = "_influence"
_INCLUDES_DIAGONAL = {"similarity_without_diagonal": False, "similarity_with_diagonal": True}
# Metrics of transforms whose place, in groups, is taken by means over all pairs of views.
_OVER_PAIRS = ("similarity", "width_matched_similarity", "distance")


class Group(NamedTuple):
    """Views of one thing: what it is called, and the indices of its images in a source."""

    name: str
    images: tuple[int, ...]


class ViewGroups(NamedTuple):
    """Groups of views, of which the things do not change but the way in which they are seen does.

    Args:
        kind: What changes: where the pixels are (``spatial``) or their values (``appearance``).
        source: The images. Nothing of a view is to be cut off: files and tensors are resized so that their short side
            is the crop's, and the images of other sources must be of that size.
        groups: Of at least two views each.
    """

    kind: Literal["spatial", "appearance"]
    source: ImageSource
    groups: Sequence[Group]

    def sized(self, short_side: int) -> "ViewGroups":
        """Return the same groups, of images that have another short side, in pixels, where the source can do that."""
        return self._replace(source=with_short_side(self.source, short_side))


def measure_groups(
    whitened: WhitenedBackbone,
    name: str,
    views: ViewGroups,
    metrics: Mapping[str, ViewMetric | type[ViewMetric]] | None = None,
    parts: PartialResults | None = None,
) -> dict[str, Measured]:
    """Measure the invariance within groups of views of one thing.

    Args:
        whitened: The backbone, and how to measure it.
        name: Of the view set.
        views: The groups.
        metrics: By name, configured or as a class. Similarities and distance are always measured, over all pairs of a
            group's views. Others take the first view for the clean image, and the first views of other groups for the
            gallery; those that need the parameters of a transform say nothing of groups.
        parts: Where to keep what is done, and where what was done before is found; several processes share it.

    Returns:
        By layer of the backbone's features: the summary has an estimate for each metric; the arrays its terms, one row
        a group. Under ``protocol=paper`` a group's similarity counts each view's with itself; the other number is given
        as well.

    Raises:
        UserError: An image is unreadable, its features are not finite (the message names it), or nothing was left.
    """
    kept = PartialResults() if parts is None else parts
    views = views._replace(source=whitened.sized(views.source, whitened.geometry.crop_size))
    run = _GroupRun(whitened, name, views, prototypes_of(metrics or {}), kept)
    run.measure()
    return {layer: run.summary(layer) for layer in whitened.backbone.layers}


class _CountedViews(NamedTuple):
    """A group's whitened views (V, D), and those of its images (R, D) that are to be taken out of the reference."""

    views: Tensor
    removed: Tensor


class _GroupRun:
    """A view set to be measured; arguments as ``measure_groups``."""

    def __init__(
        self,
        whitened: WhitenedBackbone,
        name: str,
        views: ViewGroups,
        metrics: Mapping[str, ViewMetric],
        parts: PartialResults,
    ) -> None:
        self.whitened = whitened
        self.name = name
        self.views = views
        self.metrics = {
            name: metric
            for name, metric in metrics.items()
            if name not in _OVER_PAIRS and metric.applies(_NO_PARAMETERS)
        }
        self.parts = parts
        self._projections = whitened.projections()

    def measure(self) -> None:
        """Measure every group that is not in the partial results."""
        whitened, groups = self.whitened, self.views.groups
        chunks = _chunks(groups, self.parts.done(self.name))
        whitened.processes.wait()  # until everyone knows what is left to do
        mine = whitened.processes.share(chunks)
        metrics = self._metrics() if mine else {}
        reader = ImageReader(self.views.source, whitened.settings.reading, sum(len(g.images) for g in groups))
        images = reader.units([[i for g in chunk for i in groups[g].images] for chunk in mine])
        for number, (chunk, (readable, pixels)) in enumerate(zip(mine, images, strict=True)):
            self.parts.add(self._measure_chunk(chunk, readable, pixels, metrics))
            whitened.progress(self.name, number + 1, len(mine))
        whitened.processes.wait()  # until everything is there

    def summary(self, layer: str) -> Measured:
        """Return what the groups gave on a layer of the features."""
        terms = self.parts.states((self.name, layer))
        if not terms:
            raise UserError(f"{self.name}: no group has two views that can be read")
        influence = {
            name.removesuffix(_INFLUENCE): terms.pop(name).double().mean(dim=0)
            for name in [*terms]
            if name.endswith(_INFLUENCE)
        }
        counted = self.whitened.settings.quirks.counts_diagonal
        chosen = "similarity_with_diagonal" if counted else "similarity_without_diagonal"
        similarity = terms[chosen]
        if influence:
            influence["similarity"] = influence[chosen]
        terms = {"similarity": similarity, "width_matched_similarity": terms["width_matched_similarity"], **terms}
        rows = self.parts.rows(self.name)
        groups = [self.views.groups[row] for row in rows]
        summary: dict[str, Any] = {
            "kind": self.views.kind,
            "num_groups": len(groups),
            "num_views": max(len(group.images) for group in groups),
            **{metric: self._estimate(metric, terms[metric], influence.get(metric)).as_dict() for metric in terms},
            "unreadable": self.parts.left_out(self.name),
        }
        arrays = {f"{metric}_per_image": of_each.double().numpy() for metric, of_each in terms.items()}
        if influence:
            arrays |= {f"{metric}{_INFLUENCE}": of_blocks.numpy() for metric, of_blocks in influence.items()}
        return Measured(summary, {"names": np.asarray([group.name for group in groups]), **arrays})

    def _estimate(self, metric: str, terms: Tensor, influence: Tensor | None) -> Estimate:
        found = estimate(terms, self._value(metric), self.whitened.settings.seed)
        return found if influence is None else found.with_reference_error(standard_error(influence))

    def _value(self, metric: str) -> Statistic:
        return self.metrics[metric].value if metric in self.metrics else first_term

    def _metrics(self) -> dict[str, dict[str, ViewMetric]]:
        """Return the metrics of each layer, by name."""
        whitened = self.whitened
        first_views = [group.images[0] for group in self.views.groups]
        needs_gallery = any(isinstance(metric, GalleryMetric) for metric in self.metrics.values())
        size = whitened.geometry.crop_size
        galleries = whitened.gallery(self.views.source, first_views, size) if needs_gallery else {}
        return prototypes_of_layers(
            self.metrics, whitened.backbone.layers, galleries, self._projections, whitened.device
        )

    def _measure_chunk(
        self,
        chunk: list[int],
        readable: list[int],
        pixels: list[Tensor],
        metrics: Mapping[str, Mapping[str, ViewMetric]],
    ) -> PartialResult:
        groups, source = self.views.groups, self.views.source
        images = [image for group in chunk for image in groups[group].images]
        owners = [group for group in chunk for _ in groups[group].images]
        members = {group: [place for place, p in enumerate(readable) if owners[p] == group] for group in chunk}
        measured = [group for group in chunk if len(members[group]) > 1]
        features = self._features([images[position] for position in readable], pixels)
        states: dict[Key, Tensor] = {}
        sources = [images[position] for position in readable]
        for layer, views in self._whiten(features, [members[group] for group in measured], sources).items():
            held_out = [self._held_out(one, layer) for one in views]
            of_groups = [own * self.whitened.whitenings[layer].length() for own in held_out]
            for name, function in _PAIRWISE.items():
                states[self.name, layer, name] = torch.cat([function(own[None]) for own in of_groups])[:, None]
            for name, influence in self._influence(views, held_out, layer).items():
                states[self.name, layer, name + _INFLUENCE] = influence
            matched = [self._width_matched(one, layer) for one in views]
            states[self.name, layer, "width_matched_similarity"] = torch.cat(matched)[:, None]
            for name in self.metrics:
                metric = metrics[layer][name]
                ids = [groups[group].images[0] for group in measured]
                terms = [_terms(metric, own, image) for own, image in zip(of_groups, ids, strict=True)]
                states[self.name, layer, name] = torch.cat(terms)
        found = {*readable}
        left_out = [source.name_of(image) for place, image in enumerate(images) if place not in found]
        return PartialResult([self.name], chunk, sorted({*chunk} - {*measured}), states, left_out)

    def _held_out(self, views: "_CountedViews", layer: str) -> Tensor:
        whitening, found = self.whitened.whitenings[layer], views.views
        if len(views.removed):
            found = hold_out(found[None], views.removed[None], whitening)[0]
        return found

    def _width_matched(self, views: "_CountedViews", layer: str) -> Tensor:
        maps, whitening = self._projections[layer]
        removed = views.removed[None] if len(views.removed) else None
        counted = self.whitened.settings.quirks.counts_diagonal
        return width_matched_group_similarity(views.views[None], maps, removed, whitening, include_diagonal=counted)

    def _influence(self, views: list["_CountedViews"], held_out: list[Tensor], layer: str) -> dict[str, Tensor]:
        """Return the influence of blocks of reference images, (G, B), on the numbers of groups, where it is known.

        Args:
            views: Of each group, as the whole reference whitens them.
            held_out: The same, without what is taken out of the reference.
            layer: Whose features they are.
        """
        blocks = self.whitened.reference_blocks[layer]
        if blocks is None:
            return {}
        maps, whitening = self._projections[layer]
        counted = self.whitened.settings.quirks.counts_diagonal
        found = {
            name: [blocks.group_influence(own, include_diagonal=included) for own in held_out]
            for name, included in _INCLUDES_DIAGONAL.items()
        }
        found["distance"] = [blocks.group_distance_influence(own, whitening) for own in held_out]
        found["width_matched_similarity"] = [
            blocks.width_matched_group_influence(
                one.views, maps, one.removed if len(one.removed) else None, whitening, include_diagonal=counted
            )
            for one in views
        ]
        return {name: torch.cat(influence) for name, influence in found.items()}

    def _whiten(self, features: Tensor, groups: list[list[int]], images: list[int]) -> dict[str, list["_CountedViews"]]:
        """Return the whitened views of each group, for each layer, and its images in the reference.

        Args:
            features: Of views, (N, F).
            groups: The places of each group's views among them.
            images: The views' indices in the source.
        """
        whitened, source = self.whitened, self.views.source
        if not groups:
            return {}
        held_out = whitened.in_reference(source, images)
        # The reference shows them in another crop.
        places = held_out.nonzero()[:, 0].tolist()
        of_reference = whitened.clean_features(source, [images[place] for place in places])
        row = {place: number for number, place in enumerate(places)}
        removed = [[row[place] for place in members if place in row] for members in groups]
        whitened.require_others(max(map(len, removed)))
        others = whitened.whiten(of_reference)
        return {
            layer: [_CountedViews(own[g], others[layer][r]) for g, r in zip(groups, removed, strict=True)]
            for layer, own in whitened.whiten(features).items()
        }

    def _features(self, indices: list[int], pixels: list[Tensor]) -> Tensor:
        whitened = self.whitened
        require_short_side(pixels, whitened.geometry.crop_size, self.views.source, indices)
        features = torch.empty(len(pixels), whitened.backbone.num_features, device=whitened.device)
        whole = whitened.geometry._replace(resize=whitened.geometry.crop_size)  # nothing of a view is cut off
        for positions, some in clean_features(whitened.stream, pixels, whole):
            require_finite_features(some, self.views.source, [indices[position] for position in positions])
            features[positions] = some
        return features


def _terms(metric: ViewMetric, views: Tensor, image: int) -> Tensor:
    """Return the terms (1, T) of a group's whitened views (V, D), averaged over all but the first.

    Args:
        metric: Left as it was found, without an image.
        views: Of one thing.
        image: The id by which the gallery would have the first.
    """
    metric.update(views[:1], views[None, 1:], images=torch.tensor([image]))
    terms = metric.per_image().mean(dim=1)
    metric.reset()
    return terms


def _chunks(groups: Sequence[Group], done: set[int]) -> list[list[int]]:
    """Return the groups that are left, in pieces of about as many views.

    The pieces are the same for any number of processes and where the work was interrupted.
    """
    chunks: list[list[int]] = []
    views = _CHUNK_VIEWS
    for index, group in enumerate(groups):
        if views + len(group.images) > _CHUNK_VIEWS:
            chunks.append([])
            views = 0
        chunks[-1].append(index)
        views += len(group.images)
    left = ([index for index in chunk if index not in done] for chunk in chunks)
    return [chunk for chunk in left if chunk]
