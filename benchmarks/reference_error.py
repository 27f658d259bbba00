"""Coverage of 95 % intervals of similarity and distance, by simulation: over images alone, and with the reference's."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from benchmarks.rows import Row, judged
from benchmarks.running import Step
from solo_invariance.bootstrap import Estimate, estimate
from solo_invariance.measure.functional.similarity import invariance_distance, invariance_similarity
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
_NUMBERS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "similarity": invariance_similarity,
    "distance": invariance_distance,
}


@dataclass(frozen=True)
class Coverage(Row):
    """How often an interval holds the number of the population, whitened by the population.

    Args:
        number: Similarity or distance.
        features: Normal, or of Student's t with five degrees of freedom; correlated.
        reference: Images of the reference a feature.
        images: Measured images.
        shared: Whether the reference and the measured images are the same, as far as there are as many.
        before: Of the interval over images alone.
        after: With the reference's error.
        bias: Of the number, as a fraction of the population's.
        deviation: Standard deviation of the number, likewise.
        standard_error: Mean of the whole one, likewise.
        repetitions: Of the simulation.
    """

    title: ClassVar[str] = "Coverage of 95 % intervals"
    is_check: ClassVar[bool] = True
    number: str
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
            "number": self.number,
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
                yield from _simulate(population, ratio, count, repetitions, shared=shared)


class _Population(NamedTuple):
    """What images are drawn from, and the numbers of all of them."""

    kind: str
    mixing: Tensor
    numbers: Mapping[str, float]

    @classmethod
    def of(cls, kind: str) -> "_Population":
        generator = torch.Generator().manual_seed(0)
        spread = torch.linspace(0.2, 1, _WIDTH, dtype=torch.float64)
        mixing = torch.randn(_WIDTH, _WIDTH, generator=generator, dtype=torch.float64) * spread
        few = cls(kind, mixing, {})
        whitening = _whitening(feature_statistics(few.images(_POPULATION, generator)))
        pairs = whiten(few.pairs(_POPULATION, generator), whitening)
        numbers = {name: float(number(pairs[:, 0], pairs[:, 1:]).mean()) for name, number in _NUMBERS.items()}
        return cls(kind, mixing, numbers)

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


def _simulate(
    population: _Population, ratio: float, count: int, repetitions: int, *, shared: bool
) -> Iterator[Coverage]:
    found = [
        _measure(population, int(ratio * _WIDTH), count, _SEED + repetition, shared=shared)
        for repetition in range(repetitions)
    ]
    for name, truth in population.numbers.items():
        alone = [one[name][0] for one in found]
        whole = [of_images.with_reference_error(error) for of_images, error in (one[name] for one in found)]
        means = torch.tensor([one.mean for one in whole])
        errors = torch.tensor([(one.standard_error**2 + (one.reference_error or 0) ** 2) ** 0.5 for one in whole])
        before, after = (sum(one.low <= truth <= one.high for one in of) / repetitions for of in (alone, whole))
        yield Coverage(
            name,
            population.kind,
            ratio,
            count,
            shared,
            before,
            after,
            float(means.mean()) / truth - 1,
            float(means.std()) / truth,
            float(errors.mean()) / truth,
            repetitions,
        )


def _measure(
    population: _Population, num_reference: int, count: int, seed: int, *, shared: bool
) -> dict[str, tuple[Estimate, float]]:
    """Return the numbers of images drawn by a seed, with intervals over images, and the reference's errors."""
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
    clean, views, every = pairs[:, 0], pairs[:, 1:], torch.ones(count, 1)
    length = whitening.length()
    influences = {
        "similarity": blocks.influence(clean, views, every),
        "distance": blocks.distance_influence(clean, views, every, whitening),
    }
    return {
        name: (
            estimate(number(clean * length, views * length), seed=seed),
            standard_error(influences[name].mean(dim=0)),
        )
        for name, number in _NUMBERS.items()
    }
