"""Invariance within groups of views of one thing."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from solo_invariance.data.images import ImageSource
from solo_invariance.data.reading import ImageReader
from solo_invariance.errors import UserError
from solo_invariance.measure.bootstrap import estimate
from solo_invariance.measure.functional import group_distance, group_similarity
from solo_invariance.measure.parts import Key, Part, Parts
from solo_invariance.measure.reference import clean_features, require_finite_features
from solo_invariance.measure.summary import Measured

if TYPE_CHECKING:
    from solo_invariance.measure.evaluate import InvarianceMeasurement

_UNIT_VIEWS = 1024
_SCORES: Mapping[str, Callable[[Tensor], Tensor]] = {
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
    measurement: "InvarianceMeasurement", name: str, views: ViewGroups, parts: Parts | None = None
) -> dict[str, Measured]:
    """Measure the invariance within groups of views of one thing.

    Args:
        measurement: What to measure, and how.
        name: Of the view set.
        views: The groups.
        parts: Where to keep what is done, and where what was done before is found; several processes share it.

    Returns:
        By block of the backbone's features: the summary has ``similarity`` and ``distance``; the arrays one number a
        group. Under ``protocol=paper`` a group's similarity counts each view's with itself; the other number is given
        as well.

    Raises:
        UserError: An image is unreadable, its features are not finite (the message names it), or nothing was left.
    """
    parts = Parts() if parts is None else parts
    processes = measurement.processes
    units = _units(views.groups, parts.done(name))
    processes.wait()  # until everyone knows what is left to do
    mine = processes.share(units)
    reader = ImageReader(views.source, measurement.settings.reading, sum(len(g.images) for g in views.groups))
    images = reader.units([[i for g in unit for i in views.groups[g].images] for unit in mine])
    for number, (unit, (readable, pixels)) in enumerate(zip(mine, images, strict=True)):
        parts.add(_measure_unit(measurement, name, views, unit, readable, pixels))
        measurement.progress(name, number + 1, len(mine))
    processes.wait()  # until everything is there
    return {block: _summarise(measurement, name, views, block, parts) for block in measurement.backbone.blocks}


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


def _measure_unit(
    measurement: "InvarianceMeasurement",
    name: str,
    views: ViewGroups,
    unit: list[int],
    readable: list[int],
    pixels: list[Tensor],
) -> Part:
    images = [image for group in unit for image in views.groups[group].images]
    owners = [group for group in unit for _ in views.groups[group].images]
    members = {group: [place for place, p in enumerate(readable) if owners[p] == group] for group in unit}
    measured = [group for group in unit if len(members[group]) > 1]
    features = _features(measurement, views.source, [images[position] for position in readable], pixels)
    states: dict[Key, Tensor] = {
        (name, block, score): torch.cat([function(whitened[members[group]][None]) for group in measured])
        for block, whitened in (measurement.whiten(features) if measured else {}).items()
        for score, function in _SCORES.items()
    }
    found = {*readable}
    left_out = [views.source.name_of(image) for place, image in enumerate(images) if place not in found]
    return Part([name], unit, sorted({*unit} - {*measured}), states, left_out)


def _features(
    measurement: "InvarianceMeasurement", source: ImageSource, indices: list[int], pixels: list[Tensor]
) -> Tensor:
    features = torch.empty(len(pixels), measurement.backbone.num_features, device=measurement.device)
    for positions, part in clean_features(measurement.stream, pixels, measurement.settings.geometry):
        require_finite_features(part, source, [indices[position] for position in positions])
        features[positions] = part
    return features


def _summarise(
    measurement: "InvarianceMeasurement", name: str, views: ViewGroups, block: str, parts: Parts
) -> Measured:
    states, seed = parts.states((name, block)), measurement.settings.seed
    if not states:
        raise UserError(f"{name}: no group has two views that can be read")
    in_paper = measurement.settings.protocol == "paper"
    states["similarity"] = states["similarity_with_diagonal" if in_paper else "similarity_without_diagonal"]
    scores = ("similarity", "distance", *states)
    numbers = {score: estimate(states[score][:, None], seed=seed).as_dict() for score in scores}
    rows = parts.rows(name)
    sizes = [len(views.groups[row].images) for row in rows]
    summary: dict[str, Any] = {
        "kind": views.kind,
        "num_groups": len(rows),
        "num_views": max(sizes),
        **numbers,
        "unreadable": parts.left_out(name),
    }
    arrays = {f"{score}_per_image": values[:, None].double().numpy() for score, values in states.items()}
    return Measured(summary, {"names": np.asarray([views.groups[row].name for row in rows]), **arrays})
