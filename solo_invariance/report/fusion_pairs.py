"""Which two backbones to fuse: pairs that complement each other, the most complementary first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_invariance.bootstrap import estimate
from solo_invariance.errors import UserError
from solo_invariance.fuse.complementarity import Complementarity, complementarity
from solo_invariance.measure.comparison import per_image
from solo_invariance.report.collect import Results, Row
from solo_invariance.report.columns import Column, Quantity
from solo_invariance.report.grids import comparable_similarity
from solo_invariance.report.paired import compared, estimate_of
from solo_invariance.results import Estimate

MOST_PAIRS = 10


@dataclass(frozen=True)
class Sight:
    """What one backbone sees of what another ignores.

    Args:
        by: The label of the one that sees.
        value: How much, on average over transforms, with its interval over images; of results without their arrays, or
            of different images, the interval is not known and both ends are the value.
        strongest: The transform that contributes most, None where there is none.
        num_sure: Of how many transforms the paired interval of the difference has no 0 in it, None where not paired.
    """

    by: str
    value: Estimate
    strongest: str | None
    num_sure: int | None


@dataclass(frozen=True)
class FusionPair:
    """Two backbones, and what each sees of what the other ignores; the one that sees more comes first."""

    first: Sight
    second: Sight

    @property
    def both(self) -> float:
        """What the one that sees less sees: a pair is worth fusing as far as both bring something."""
        return self.second.value.mean


@dataclass(frozen=True)
class FusionPairs:
    """Pairs of backbones that were measured on the same images by the same protocol; of several such sets, the largest.

    Args:
        pairs: The most complementary first, and no more than ``MOST_PAIRS``.
        num_pairs: How many there are.
        transforms: Those that all of these were measured on.
        left_out: The labels of the other backbones.
        matrix: Of all backbones that share them.
    """

    pairs: tuple[FusionPair, ...]
    num_pairs: int
    transforms: tuple[str, ...]
    left_out: tuple[str, ...]
    matrix: Complementarity

    @property
    def cautions(self) -> list[str]:
        """What is to be said of the numbers, in sentences."""
        unpaired = sum(pair.first.num_sure is None for pair in self.pairs)
        if not unpaired:
            return []
        return [
            f"{unpaired} of {len(self.pairs)} pairs are not compared image by image (of other images of the same set, "
            f"or without their arrays): how these differ may be all that one seems to see and the other to ignore; "
            f"measure both on the same images."
        ]

    def as_content(self) -> dict[str, Any]:
        """Return the pairs and the matrix as plain data."""
        pairs = [[_content(sight) for sight in (pair.first, pair.second)] for pair in self.pairs]
        matrix = {**self.matrix._asdict(), "matrix": self.matrix.matrix.tolist()}
        return {"pairs": pairs, "left_out": list(self.left_out), "complementarity": matrix, "cautions": self.cautions}


def fusion_pairs(results: Results) -> FusionPairs:
    """Rank pairs of single backbones by how much the lesser of the two sees of what the other ignores.

    A fused backbone sees what its members see: it would say nothing about whom to fuse.

    Raises:
        ValueError: There are fewer than two backbones, or no two that were measured with the same transform on the
            same images by the same protocol, or no transform that all of those were measured on.
    """
    rows, found = comparable_backbones(results)
    quantity = comparable_similarity(rows[label] for label in found.labels)
    places = {label: index for index, label in enumerate(found.labels)}
    ranked = sorted(
        combinations(found.labels, 2),
        key=lambda pair: -min(_entry(found, places, *pair), _entry(found, places, *reversed(pair))),
    )
    pairs = [_pair(rows[one], rows[other], found, places, quantity) for one, other in ranked[:MOST_PAIRS]]
    left_out = tuple(label for label in rows if label not in places)
    return FusionPairs(tuple(pairs), len(ranked), tuple(found.transforms), left_out, found)


def comparable_backbones(results: Results) -> tuple[dict[str, Row], Complementarity]:
    """Return the single backbones, and who of the largest set of them on the same images sees what whom ignores.

    Raises:
        ValueError: There are fewer than two backbones, or no two that were measured with the same transform on the
            same images by the same protocol, or no transform that all of those were measured on.
    """
    rows = {row.label: row for row in results.competitors if row.transforms and not row.is_fused}
    groups = _comparable(results, rows)
    largest = max(groups, key=len, default=[])
    if len(largest) < 2 <= len(rows):
        raise ValueError(
            f"no two of {', '.join(rows)} were measured with a transform in common, on the same images, by the same "
            f"protocol and k"
        )
    quantity = comparable_similarity(rows[label] for label in largest)
    return rows, complementarity({label: _means(rows[label], quantity) for label in largest})


def _content(sight: Sight) -> dict[str, Any]:
    return {**vars(sight), "value": sight.value.as_content()}


def _means(row: Row, quantity: Quantity) -> dict[str, float]:
    estimates = {name: estimate_of(row, one, quantity) for name, one in row.transforms.items()}
    return {name: one.mean for name, one in estimates.items() if one is not None}


def _comparable(results: Results, rows: Mapping[str, Row]) -> list[list[str]]:
    """Return the labels of backbones that share a transform, its parameters and its images, together."""
    groups: list[list[str]] = []
    keys = {label: _keys(results, row) for label, row in rows.items()}
    for label in rows:
        group = next((one for one in groups if keys[one[0]] & keys[label]), None)
        if group is None:
            groups.append([label])
        else:
            group.append(label)
    return groups


def _keys(results: Results, row: Row) -> set[tuple[object, ...]]:
    """Return all that two backbones must have in common of a transform to be compared on it."""
    found: set[tuple[object, ...]] = set()
    for name, transform in row.transforms.items():
        images = compared(results).of("similarity", Column(name, transform.kind)).sets.get(row.label)
        found.add((name, images, row.sources[name].protocol, transform.parameters))
    return found


def _entry(found: Complementarity, places: Mapping[str, int], ignoring: str, seeing: str) -> float:
    return float(found.matrix[places[ignoring], places[seeing]])


def _pair(one: Row, other: Row, found: Complementarity, places: Mapping[str, int], quantity: Quantity) -> FusionPair:
    terms = _differences(one, other, found.transforms, quantity)
    seed = next(iter(one.sources.values())).seed
    sights = []
    for ignoring, seeing, sign in ((one, other, 1), (other, one, -1)):
        mean = _entry(found, places, ignoring.label, seeing.label)
        strongest = found.strongest[places[ignoring.label]][places[seeing.label]]
        value, num_sure = Estimate(mean=mean, ci95=(mean, mean)), None
        if terms is not None:
            sampled = estimate(sign * terms, _ignored, seed)
            # Noise makes a mean of positive parts larger, in samples more than in the images themselves.
            ends = min(sampled.low, mean), max(sampled.high, mean)
            value, num_sure = Estimate(mean=mean, ci95=ends), sum(_is_sure(sign * terms, seed))
        sights.append(Sight(seeing.label, value, strongest, num_sure))
    first, second = sorted(sights, key=lambda sight: -sight.value.mean)
    return FusionPair(first, second)


def _ignored(means: Tensor) -> Tensor:
    """Return what is ignored on average, (...), of differences of similarity (..., T)."""
    return means.clamp(min=0).mean(dim=-1)


def _is_sure(terms: Tensor, seed: int) -> Iterator[bool]:
    for of_transform in terms.T:
        yield estimate(of_transform[:, None], seed=seed).low > 0


def _differences(one: Row, other: Row, transforms: Sequence[str], quantity: Quantity) -> Tensor | None:
    """Return how much more similar one is than the other, (N, T), on the images that all was measured on."""
    found = []
    for name in transforms:
        try:
            pair = [per_image(row.sources[name].file.parent / f"{name}.npz", [quantity]) for row in (one, other)]
        except UserError:
            return None
        key = f"{quantity}_per_image"
        if not np.array_equal(pair[0]["names"], pair[1]["names"]) or any(key not in arrays for arrays in pair):
            return None
        if len(np.unique(pair[0]["names"])) < len(pair[0]["names"]):
            return None  # drawn more than once: rows are no images
        found.append(pair[0][key][:, 0] - pair[1][key][:, 0])
    if len({len(of_transform) for of_transform in found}) != 1:
        return None
    return torch.from_numpy(np.stack(found, axis=1))
