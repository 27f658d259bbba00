"""Invariance within groups of views of one thing."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from solo_invariance.bootstrap import Statistic, estimate, first_term
from solo_invariance.data.images import ImageSource
from solo_invariance.data.reading import ImageReader
from solo_invariance.errors import UserError
from solo_invariance.measure.functional.similarity import group_distance, group_similarity
from solo_invariance.measure.loop.partial_results import Key, Part, Parts
from solo_invariance.measure.loop.summary import Measured
from solo_invariance.measure.metrics.view_metric import ViewMetric
from solo_invariance.measure.statistics.reference import clean_features, require_finite_features

if TYPE_CHECKING:
    from solo_invariance.measure.measurement import InvarianceMeasurement

_UNIT_VIEWS = 1024
_NO_PARAMETERS = torch.empty(2, 0)
_PAIRWISE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "similarity_without_diagonal": partial(group_similarity, include_diagonal=False),
    "similarity_with_diagonal": partial(group_similarity, include_diagonal=True),
    "distance": group_distance,
}


class Group(NamedTuple):
    """Views of one thing: what it is called, and the indices of its images in a source."""

    name: str
    images: tuple[int, ...]


class ViewGroups(NamedTuple):
    """Groups of views, of which the things do not change but the way in which they are seen does.

    Args:
        kind: What changes: where the pixels are (``spatial``) or their values (``appearance``).
        source: The images, with their short side at the crop size: nothing of a view is to be cut off.
        groups: Of at least two views each.
    """

    kind: Literal["spatial", "appearance"]
    source: ImageSource
    groups: Sequence[Group]


def measure_groups(
    measurement: "InvarianceMeasurement",
    name: str,
    views: ViewGroups,
    metrics: Mapping[str, type[ViewMetric]] | None = None,
    parts: Parts | None = None,
) -> dict[str, Measured]:
    """Measure the invariance within groups of views of one thing.

    Args:
        measurement: What to measure, and how.
        name: Of the view set.
        views: The groups.
        metrics: By name. Similarity and distance are always measured, over all pairs of a group's views. Others take
            the first view for the clean image, and the first views of other groups for the gallery; those that need
            the parameters of a transform say nothing of groups.
        parts: Where to keep what is done, and where what was done before is found; several processes share it.

    Returns:
        By block of the backbone's features: the summary has an estimate for each metric; the arrays its terms, one row
        a group. Under ``protocol=paper`` a group's similarity counts each view's with itself; the other number is given
        as well.

    Raises:
        UserError: An image is unreadable, its features are not finite (the message names it), or nothing was left.
    """
    run = _GroupRun(measurement, name, views, metrics or {}, Parts() if parts is None else parts)
    run.measure()
    return {block: run.summary(block) for block in measurement.backbone.layers}


class _GroupRun:
    """A view set to be measured; arguments as ``measure_groups``."""

    def __init__(
        self,
        measurement: "InvarianceMeasurement",
        name: str,
        views: ViewGroups,
        metrics: Mapping[str, type[ViewMetric]],
        parts: Parts,
    ) -> None:
        self.measurement = measurement
        self.name = name
        self.views = views
        self.metrics = {
            metric: kind
            for metric, kind in metrics.items()
            if metric not in ("similarity", "distance") and kind.applies(_NO_PARAMETERS)
        }
        self.parts = parts

    def measure(self) -> None:
        """Measure every group that is not in the parts."""
        measurement, groups = self.measurement, self.views.groups
        units = _units(groups, self.parts.done(self.name))
        measurement.processes.wait()  # until everyone knows what is left to do
        mine = measurement.processes.share(units)
        metrics = self._metrics() if mine else {}
        reader = ImageReader(self.views.source, measurement.settings.reading, sum(len(g.images) for g in groups))
        images = reader.units([[i for g in unit for i in groups[g].images] for unit in mine])
        for number, (unit, (readable, pixels)) in enumerate(zip(mine, images, strict=True)):
            self.parts.add(self._measure_unit(unit, readable, pixels, metrics))
            measurement.progress(self.name, number + 1, len(mine))
        measurement.processes.wait()  # until everything is there

    def summary(self, block: str) -> Measured:
        """Return what the groups gave on a block of the features."""
        terms, seed = self.parts.states((self.name, block)), self.measurement.settings.seed
        if not terms:
            raise UserError(f"{self.name}: no group has two views that can be read")
        in_paper = self.measurement.settings.protocol == "paper"
        similarity = terms["similarity_with_diagonal" if in_paper else "similarity_without_diagonal"]
        terms = {"similarity": similarity, "distance": terms["distance"], **terms}
        rows = self.parts.rows(self.name)
        groups = [self.views.groups[row] for row in rows]
        summary: dict[str, Any] = {
            "kind": self.views.kind,
            "num_groups": len(groups),
            "num_views": max(len(group.images) for group in groups),
            **{metric: estimate(terms[metric], self._value(metric), seed).as_dict() for metric in terms},
            "unreadable": self.parts.left_out(self.name),
        }
        arrays = {f"{metric}_per_image": of_each.double().numpy() for metric, of_each in terms.items()}
        return Measured(summary, {"names": np.asarray([group.name for group in groups]), **arrays})

    def _value(self, metric: str) -> Statistic:
        return self.metrics[metric].value if metric in self.metrics else first_term

    def _metrics(self) -> dict[tuple[str, str], ViewMetric]:
        """Return the metrics, by block and name."""
        measurement = self.measurement
        first_views = [group.images[0] for group in self.views.groups]
        needs_gallery = any(kind.needs_gallery for kind in self.metrics.values())
        galleries = measurement.gallery(self.views.source, first_views) if needs_gallery else {}
        return {
            (block, name): (kind(gallery=galleries[block]) if kind.needs_gallery else kind()).to(measurement.device)
            for block in measurement.backbone.layers
            for name, kind in self.metrics.items()
        }

    def _measure_unit(
        self,
        unit: list[int],
        readable: list[int],
        pixels: list[Tensor],
        metrics: Mapping[tuple[str, str], ViewMetric],
    ) -> Part:
        groups, source = self.views.groups, self.views.source
        images = [image for group in unit for image in groups[group].images]
        owners = [group for group in unit for _ in groups[group].images]
        members = {group: [place for place, p in enumerate(readable) if owners[p] == group] for group in unit}
        measured = [group for group in unit if len(members[group]) > 1]
        features = self._features([images[position] for position in readable], pixels)
        states: dict[Key, Tensor] = {}
        for block, whitened in (self.measurement.whiten(features) if measured else {}).items():
            of_groups = [whitened[members[group]] for group in measured]
            for name, function in _PAIRWISE.items():
                states[self.name, block, name] = torch.cat([function(own[None]) for own in of_groups])[:, None]
            for name in self.metrics:
                metric = metrics[block, name]
                ids = [groups[group].images[0] for group in measured]
                terms = [_terms(metric, own, image) for own, image in zip(of_groups, ids, strict=True)]
                states[self.name, block, name] = torch.cat(terms)
        found = {*readable}
        left_out = [source.name_of(image) for place, image in enumerate(images) if place not in found]
        return Part([self.name], unit, sorted({*unit} - {*measured}), states, left_out)

    def _features(self, indices: list[int], pixels: list[Tensor]) -> Tensor:
        measurement = self.measurement
        features = torch.empty(len(pixels), measurement.backbone.num_features, device=measurement.device)
        for positions, part in clean_features(measurement.stream, pixels, measurement.settings.geometry):
            require_finite_features(part, self.views.source, [indices[position] for position in positions])
            features[positions] = part
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


def _units(groups: Sequence[Group], done: set[int]) -> list[list[int]]:
    """Return the groups that are left, in pieces of about as many views.

    The pieces are the same for any number of processes and where the work was interrupted.
    """
    units: list[list[int]] = []
    views = _UNIT_VIEWS
    for index, group in enumerate(groups):
        if views + len(group.images) > _UNIT_VIEWS:
            units.append([])
            views = 0
        units[-1].append(index)
        views += len(group.images)
    left = ([index for index in unit if index not in done] for unit in units)
    return [unit for unit in left if unit]
