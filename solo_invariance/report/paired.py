"""Differences between the backbones of a report, paired image by image wherever they were measured on the same ones."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from solo_invariance.errors import UserError
from solo_invariance.measure.comparison import (
    Pair,
    averaged,
    have_same_reference,
    mean_estimates,
    paired_differences,
    per_image,
    require_same_source,
)
from solo_invariance.report.collect import Results, Row
from solo_invariance.report.columns import Column, Quantity, mean_column, view_group
from solo_invariance.report.marks import Difference, groups
from solo_invariance.results import Estimate, InvarianceResult, TransformResult, ViewResult
from solo_invariance.results.files import read_json

Arrays = Mapping[str, np.ndarray]

MOST_IN_FULL = 24
"""As many backbones are shown in full: there are no more ways to draw a line than this."""

_KEPT = ("similarity", "width_matched_similarity", "distance")
_DEEPEST_LAYER = 3


@dataclass
class Differences:
    """Who is compared with whom in one column, and by how much they differ.

    Args:
        sets: For each backbone's label, which of the sets of images it was measured on.
        pairs: Paired differences, ours minus theirs, by both labels.
        own: Of a mean over changes, each backbone's interval over images.
    """

    sets: dict[str, int] = field(default_factory=dict)
    pairs: dict[tuple[str, str], Difference] = field(default_factory=dict)
    own: dict[str, Estimate] = field(default_factory=dict)


@dataclass
class Compared:
    """All paired differences of a report's measurements, and which files could not be read for them."""

    columns: dict[tuple[Quantity, Column], Differences] = field(default_factory=dict)
    cautions: list[str] = field(default_factory=list)

    def of(self, quantity: Quantity, change: Column) -> Differences:
        """Return the differences of one column; there are none of what nobody was compared on."""
        return self.columns.get((quantity, change), Differences())


@lru_cache(maxsize=2)
def compared(results: Results) -> Compared:
    """Return the differences from the best backbone of each column, and from the baseline where there is one.

    Arrays are read for one change at a time; what is kept of them is one number an image and quantity, of the means.
    """
    return _Comparing(results).compared()


def estimate_of(row: Row, result: TransformResult | ViewResult, quantity: Quantity) -> Estimate | None:
    """Return what was measured of a row; the relative distance is that over the one of independent features.

    Whitened features of two independent images are, in the root mean square, the square root of 2 D apart.
    """
    if quantity != "relative_distance":
        found: Estimate | None = getattr(result, quantity)
        return found
    scale = distance_of_independent(row.backbone.num_features)
    distance = result.distance
    return Estimate(mean=distance.mean / scale, ci95=(distance.low / scale, distance.high / scale))


def distance_of_independent(num_features: int) -> float:
    """Return how far apart whitened features of two independent images are, in the root mean square."""
    return math.sqrt(2 * num_features)


def comparable_distance(rows: Iterable[Row]) -> Quantity:
    """The distance by which rows can be compared: the relative one where their widths differ."""
    widths = {file.backbone.num_features for row in rows for file in row.invariance}
    return "relative_distance" if len(widths) > 1 else "distance"


def best_of(estimates: Mapping[str, Estimate], quantity: Quantity) -> str:
    """Return the label of the most invariant of some backbones."""
    sign = -1 if quantity.endswith("distance") else 1
    return max(estimates, key=lambda label: sign * estimates[label].mean)


class _Comparing:
    def __init__(self, results: Results) -> None:
        self._rows = [row for row in results.rows if row.invariance]
        self._baseline = results.baseline
        self._quantities: tuple[Quantity, ...] = (
            *("similarity", "width_matched_similarity"),
            comparable_distance(self._rows),
        )
        self._names: dict[bytes, np.ndarray] = {}
        self._sources: dict[int, str | None] = {}
        self._found = Compared()

    def compared(self) -> Compared:
        if len(self._rows) > 1 or any(len(row.transforms) > 1 for row in self._rows):
            for group, names in _groups(self._rows).items():
                self._compare_group(group, names)
        return self._found

    def _compare_group(self, group: str, names: Sequence[str]) -> None:
        competitors = [row for row in self._rows if row.role == "backbone"] or self._rows
        present = [row for row in competitors if any(name in row.sources for name in names)]
        shared = [name for name in names if all(name in row.sources for row in present)]
        parts: dict[str, list[Arrays | None]] = {row.label: [] for row in self._rows}
        leading = self._may_lead(present, shared) if len(shared) > 1 else set()
        for name in names:
            rows = [row for row in self._rows if name in row.sources]
            near = self._may_lead([row for row in present if name in row.sources], [name]) | leading
            arrays = {row.label: self._read(row, name) if row.label in near else None for row in rows}
            self._compare(Column(name, group), rows, [name], arrays)
            if name in shared:
                for row in rows:
                    parts[row.label].append(arrays[row.label])
        if len(shared) < 2:
            return
        rows = [row for row in self._rows if len(parts[row.label]) == len(shared)]
        means = {row.label: _averaged(parts[row.label]) for row in rows}
        self._compare(mean_column(group), rows, shared, means)
        self._own_intervals(mean_column(group), {row.label: row.sources[shared[0]].seed for row in rows}, means)

    def _own_intervals(self, column: Column, seeds: Mapping[str, int], means: Mapping[str, Arrays | None]) -> None:
        """Find the intervals of each backbone's mean over the changes of a group."""
        jobs: dict[int, list[tuple[Quantity, str, Arrays]]] = {}
        for quantity in self._quantities:
            for label, one in means.items():
                if one is not None and f"{quantity}_per_image" in one:
                    jobs.setdefault(seeds[label], []).append((quantity, label, one))
        for seed, of_seed in jobs.items():
            found = mean_estimates([(one, quantity) for quantity, _, one in of_seed], seed)
            for (quantity, label, _), own in zip(of_seed, found, strict=True):
                self._found.columns[quantity, column].own[label] = Estimate(**own.as_dict())

    def _may_lead(self, rows: Sequence[Row], names: Sequence[str]) -> set[str]:
        """Return the labels of the rows whose arrays are needed: of very many, only those that come near the best.

        Intervals that do not overlap leave no doubt: the standard deviation of a difference is at most the sum of the
        two, however they are correlated, so the paired interval has no 0 in it, either.
        """
        if len(rows) <= MOST_IN_FULL or self._baseline is not None:
            return {row.label for row in self._rows}
        found: set[str] = set()
        for quantity in self._quantities:
            means = {row.label: mean for row in rows if (mean := _mean(row, names, quantity)) is not None}
            if means:
                best = means[best_of(means, quantity)]
                found |= {label for label, mean in means.items() if mean.overlaps(best)}
        return found

    def _compare(
        self, change: Column, rows: Sequence[Row], names: Sequence[str], arrays: Mapping[str, Arrays | None]
    ) -> None:
        """Compare all rows with the best of those that looked at the same images, and with the baseline."""
        sets = self._image_sets(rows, names[0], arrays)
        jobs: dict[int, list[tuple[Quantity, str, str, Pair]]] = {}
        for quantity in self._quantities:
            self._found.columns[quantity, change] = Differences(sets)
        for ours, theirs in self._wanted(rows, sets, names):
            for quantity in self._quantities:
                pair = _pair(ours, theirs, names, arrays, quantity)
                if pair is not None:
                    seed = ours.sources[names[0]].seed
                    jobs.setdefault(seed, []).append((quantity, ours.label, theirs.label, pair))
        for seed, of_seed in jobs.items():
            found = paired_differences([pair for *_, pair in of_seed], seed)
            for (quantity, label, other, _), one in zip(of_seed, found, strict=True):
                if one is not None and all(map(math.isfinite, one.estimate[:4])):
                    difference = Difference(**one.estimate.as_dict(), num_images=one.num_images)
                    self._found.columns[quantity, change].pairs[label, other] = difference

    def _wanted(self, rows: Sequence[Row], sets: Mapping[str, int], names: Sequence[str]) -> Iterator[tuple[Row, Row]]:
        """Yield who is compared with whom: all with the best by any quantity of the same images, and the baseline."""
        by_label = {row.label: row for row in rows}
        competitors = [row for row in rows if row.role == "backbone"]
        bests: dict[int, dict[str, None]] = {}
        for quantity in self._quantities:
            for of_set in groups(sets, [row.label for row in competitors]):
                means = {label: mean for label in of_set if (mean := _mean(by_label[label], names, quantity))}
                if means:
                    bests.setdefault(sets[of_set[0]], {})[best_of(means, quantity)] = None
        for row in rows:
            others = dict(bests.get(sets[row.label], {})) if row.role == "backbone" else {}
            for other in [*others, *([self._baseline] if self._baseline not in (None, *others) else [])]:
                if other in by_label and other != row.label:
                    yield row, by_label[other]

    def _image_sets(self, rows: Sequence[Row], name: str, arrays: Mapping[str, Arrays | None]) -> dict[str, int]:
        """Number the sets of images; who may have looked at the same images has the same number."""
        firsts: list[Row] = []
        found = {}
        for row in rows:
            for number, first in enumerate(firsts):
                if self._may_share(row, first, name, arrays):
                    found[row.label] = number
                    break
            else:
                found[row.label] = len(firsts)
                firsts.append(row)
        return found

    def _may_share(self, row: Row, other: Row, name: str, arrays: Mapping[str, Arrays | None]) -> bool:
        files = row.sources[name], other.sources[name]
        try:
            require_same_source(*files)
        except UserError:
            return False
        ours, theirs = map(self._source, files)
        if ours == theirs and ours is not None:
            return True
        own, others = arrays[row.label], arrays[other.label]
        if own is not None and others is not None:
            if own["names"] is others["names"]:
                return len(own["names"]) > 1
            return len(np.intersect1d(own["names"], others["names"])) > 1
        return ours is None or theirs is None

    def _source(self, file: InvarianceResult) -> str | None:
        """Return a hash of the images that a file's were chosen from; older files leave it to their directory."""
        if id(file) not in self._sources:
            self._sources[id(file)] = file.images.fingerprint if file.images is not None else _from_manifest(file)
        return self._sources[id(file)]

    def _read(self, row: Row, name: str) -> Arrays | None:
        file = row.sources[name]
        path = file.file.parent / f"{name}.npz"
        if not os.path.isfile(path):  # whatever a transform is called
            return None
        try:
            found = per_image(path, _KEPT)
        except UserError as error:
            self._found.cautions.append(f"{error}, so it is not compared image by image.")
            return None
        # Most backbones are measured on the same images: their names are kept once.
        found["names"] = self._names.setdefault(found["names"].tobytes(), found["names"])
        scale = distance_of_independent(file.backbone.num_features)
        for end in ("_per_image", "_influence"):
            if f"distance{end}" in found:
                found[f"relative_distance{end}"] = found[f"distance{end}"] / scale
        return found


def _groups(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The names of transforms by kind, then those of view sets."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        for name, transform in row.transforms.items():
            found.setdefault(transform.kind, {})[name] = None
    for row in rows:
        for name, view in row.views.items():
            found.setdefault(view_group(view.kind), {})[name] = None
    return {group: list(names) for group, names in found.items()}


def _averaged(parts: Sequence[Arrays | None]) -> Arrays | None:
    present = [one for one in parts if one is not None]
    return averaged(present) if present and len(present) == len(parts) else None


def _mean(row: Row, names: Sequence[str], quantity: Quantity) -> Estimate | None:
    measured: Mapping[str, TransformResult | ViewResult] = {**row.transforms, **row.views}
    found = [estimate_of(row, measured[name], quantity) for name in names]
    present = [one for one in found if one is not None]
    if len(present) < len(found):
        return None
    mean, low, high = (sum(ends) / len(ends) for ends in zip(*((one.mean, *one.ci95) for one in present), strict=True))
    return Estimate(mean=mean, ci95=(low, high))


def _pair(
    ours: Row, theirs: Row, names: Sequence[str], arrays: Mapping[str, Arrays | None], quantity: Quantity
) -> Pair | None:
    """Return what is to be paired, None where something says that it cannot be."""
    own, other = arrays[ours.label], arrays[theirs.label]
    if own is None or other is None:
        return None
    for name in names:
        files = ours.sources[name], theirs.sources[name]
        if files[0].protocol != files[1].protocol:
            return None
        if quantity == "width_matched_similarity" and files[0].matched_width != files[1].matched_width:
            return None
        try:
            require_same_source(*files)
        except UserError:
            return None
    return Pair(own, other, quantity, have_same_reference(ours.sources[names[0]], theirs.sources[names[0]]))


def _from_manifest(file: InvarianceResult) -> str | None:
    directory = file.file.parent
    for parent in (directory, *directory.parents)[: _DEEPEST_LAYER + 1]:
        manifest = parent / "run.json"
        if manifest.is_file():
            try:
                identity = read_json(manifest).get("identity")
            except UserError:
                return None
            images = identity.get("images") if isinstance(identity, Mapping) else None
            return str(images[0]) if isinstance(images, list) and images else None
    return None
