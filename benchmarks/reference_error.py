"""Coverage of the similarity's 95 % interval, by simulation: of images alone, and with the reference's own error."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from benchmarks.rows import Row, judged
from benchmarks.running import Step
from solo_invariance.bootstrap import Estimate, estimate
from solo_invariance.measure.functional.similarity import invariance_similarity
from solo_invariance.measure.functional.whitening import (
    Whitening,
    hold_out_pairs,
    whiten,
    whitening_from_statistics,
)
from solo_invariance.measure.loop.reference_error import ReferenceBlocks, standard_error
from solo_invariance.measure.statistics.feature_statistics import Moments, feature_statistics

_WIDTH = 24
_REPETITIONS = 1000
_POPULATION = 200_000
_LOW, _HIGH = 0.93, 0.97
_SEED = 100_000
_KINDS = ("normal", "t5")
_RATIOS = (2, 4, 16)
_COUNTS = (30, 1000)


@dataclass(frozen=True)
class Coverage(Row):
    """How often an interval holds the similarity of the population, whitened by the population.

    Args:
        features: Normal, or of Student's t with five degrees of freedom; correlated.
        reference: Images of the reference a feature.
        images: Measured images.
        shared: Whether the reference and the measured images are the same, as far as there are as many.
        before: Of the interval over images alone.
        after: With the reference's error.
        bias: Of the similarity.
        deviation: Standard deviation of the similarity.
        standard_error: Mean of the whole one.
        repetitions: Of the simulation.
    """

    title: ClassVar[str] = "Coverage of the similarity's 95 % interval"
    is_check: ClassVar[bool] = True
    features: str
    reference: float
    images: int
    shared: bool
    before: float
    after: float
    bias: float
    deviation: float
    standard_error: float
    repetitions: int

    def met(self) -> bool:
        return _LOW <= self.after <= _HIGH

    def cells(self) -> dict[str, str]:
        return {
            "features": self.features,
            "n / D": f"{self.reference:g}",
            "images": str(self.images),
            "shared": "yes" if self.shared else "no",
            "images alone": f"{self.before:.3f}",
            "whole": judged(f"{self.after:.3f}", self.met()),
            "bias": f"{self.bias:+.4f}",
            "deviation": f"{self.deviation:.4f}",
            "standard error": f"{self.standard_error:.4f}",
        }


def steps(quick: bool) -> list[Step]:
    repetitions = 50 if quick else _REPETITIONS
    return [
        Step(f"coverage with {count} images", 1200, lambda count=count: coverage(count, repetitions), checks=True)
        for count in _COUNTS
    ]


def coverage(count: int, repetitions: int) -> Iterator[Row]:
    for kind in _KINDS:
        population = _Population.of(kind)
        for ratio in _RATIOS:
            for shared in (False, True):
                yield _simulate(population, ratio, count, repetitions, shared=shared)


class _Population(NamedTuple):
    """What images are drawn from, and the similarity of all of them."""

    kind: str
    mixing: Tensor
    similarity: float

    @classmethod
    def of(cls, kind: str) -> "_Population":
        generator = torch.Generator().manual_seed(0)
        spread = torch.linspace(0.2, 1, _WIDTH, dtype=torch.float64)
        mixing = torch.randn(_WIDTH, _WIDTH, generator=generator, dtype=torch.float64) * spread
        few = cls(kind, mixing, 0.0)
        whitening = _whitening(feature_statistics(few.images(_POPULATION, generator)))
        pairs = whiten(few.pairs(_POPULATION, generator), whitening)
        return cls(kind, mixing, float(invariance_similarity(pairs[:, 0], pairs[:, 1:]).mean()))

    def images(self, count: int, generator: torch.Generator) -> Tensor:
        features = torch.randn(count, _WIDTH, generator=generator, dtype=torch.float64)
        if self.kind == "t5":
            normal = torch.randn(count, 5, generator=generator, dtype=torch.float64)
            features = features / (normal**2).mean(dim=1, keepdim=True).sqrt()
        return features @ self.mixing

    def pairs(self, count: int, generator: torch.Generator) -> Tensor:
        clean = self.images(count, generator)
        noise = torch.randn(count, _WIDTH, generator=generator, dtype=torch.float64) @ self.mixing
        return torch.stack([clean, 0.8 * clean + 0.6 * noise], dim=1)


def _whitening(moments: Moments) -> Whitening:
    return whitening_from_statistics(moments.mean, moments.covariance, moments.num_images, shrink=True)


def _simulate(population: _Population, ratio: float, count: int, repetitions: int, *, shared: bool) -> Coverage:
    alone, whole = [], []
    for repetition in range(repetitions):
        found, error = _measure(population, int(ratio * _WIDTH), count, _SEED + repetition, shared=shared)
        alone.append(found)
        whole.append(found.with_reference_error(error))
    means = torch.tensor([one.mean for one in whole])
    errors = torch.tensor([(one.standard_error**2 + (one.reference_error or 0) ** 2) ** 0.5 for one in whole])
    before, after = (
        sum(one.low <= population.similarity <= one.high for one in of) / repetitions for of in (alone, whole)
    )
    bias = float(means.mean()) - population.similarity
    return Coverage(
        population.kind,
        ratio,
        count,
        shared,
        before,
        after,
        bias,
        float(means.std()),
        float(errors.mean()),
        repetitions,
    )


def _measure(
    population: _Population, num_reference: int, count: int, seed: int, *, shared: bool
) -> tuple[Estimate, float]:
    """Return the similarity of images drawn by a seed with its interval over images, and the reference's error."""
    generator = torch.Generator().manual_seed(seed)
    pairs = population.pairs(count, generator)
    reference = population.images(num_reference, generator)
    if shared:
        reference = torch.cat([pairs[:, 0], reference])[:num_reference]
    whitening = _whitening(feature_statistics(reference))
    held_out = (torch.arange(count) < num_reference) & shared
    pairs = hold_out_pairs(whiten(pairs, whitening), held_out, whitening)
    blocks = ReferenceBlocks.of(feature_statistics(reference)._replace(sample=reference), whitening)
    assert blocks is not None
    influence = blocks.influence(pairs[:, 0], pairs[:, 1:], torch.ones(count, 1)).mean(dim=0)
    return estimate(invariance_similarity(pairs[:, 0], pairs[:, 1:]), seed=seed), standard_error(influence)
