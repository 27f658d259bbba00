"""Verdicts of a study's claims: what its seeds say, when all claims are counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from solo_invariance.bootstrap import interval_about
from solo_invariance.config.claims import BEST_SINGLE, FEWEST_RANKED, Claim, correlated_arms
from solo_invariance.report.association import orders, standardised_ranks
from solo_invariance.results.study import JudgedClaim, JudgedPart, SeedEffect, Verdict
from solo_invariance.study.by_seed import BySeed, best_within, mean_within
from solo_invariance.study.over_seeds import LEVEL, MeanOverSeeds, holm_levels, pseudo_values
from solo_invariance.study.table import Table

Array = NDArray[np.float64]

_ALPHA = 1 - LEVEL
_TOO_SMALL = "The effect is above 0, and smaller than would matter."
_NOT_MEASURED = "There is no seed of which all of its arms were measured."
_ONE_SEED = "One seed says nothing of others."
_FEW_SEEDS = "Too few seeds: ensembles need one more than they are of, and what others choose as the best needs three."


@dataclass(frozen=True)
class _Effects:
    """A claim's number, (R,), of all seeds, and of each where it is known, (R, n)."""

    whole: Array | None = None
    seeds: tuple[int, ...] = ()
    by_seed: Array | None = None
    least_deviation: float = 0.0
    num_images: int = 1
    largest: float = math.inf
    over: tuple[str, ...] = ()
    p_orders: float | None = None

    @property
    def over_seeds(self) -> MeanOverSeeds | None:
        if self.whole is None or self.by_seed is None or len(self.seeds) < 2:
            return None
        return MeanOverSeeds.of(float(self.whole[0]), self.by_seed[0], self.least_deviation, self.largest)

    @property
    def why(self) -> str:
        """What there is no verdict for, if so."""
        if not self.seeds:
            return _NOT_MEASURED
        if self.by_seed is None:
            return _FEW_SEEDS
        return _ONE_SEED if len(self.seeds) == 1 else ""


def judge(table: Table, claims: Sequence[Claim]) -> list[JudgedClaim]:
    """Return the verdict of each claim, in their order.

    A claim is one number a seed, and seeds are what varies: its mean has the interval of Student's t with seeds - 1
    degrees of freedom. Holm's procedure counts all claims, twice: in a study without effects, 2.5 % at most have any
    claim that ``holds``, since its interval lies above 0; and in one where all effects are as large as the smallest
    that would matter, 2.5 % at most have any claim that ``does not hold``, since its interval lies below that.
    Everything else is ``undecided``, and one seed always is. The second interval is over test images, of these seeds.

    Args:
        table: Its numbers.
        claims: That were written before the runs.
    """
    numbers = BySeed(table)
    found = [_effects(numbers, claim) for claim in claims]
    tested = [(index, one) for index, effects in enumerate(found) if (one := effects.over_seeds) is not None]
    above, lower = holm_levels([one.p_up_to(0.0) for _, one in tested], len(claims), _ALPHA / 2)
    _, upper = holm_levels([one.p_from(claims[index].smallest) for index, one in tested], len(claims), _ALPHA / 2)
    counted = {
        index: (min(1.0, 2 * p), one.interval(below, beyond))
        for (index, one), p, below, beyond in zip(tested, above, lower, upper, strict=True)
    }
    return [_judged(numbers, claim, found[index], counted.get(index)) for index, claim in enumerate(claims)]


def _judged(
    numbers: BySeed, claim: Claim, effects: _Effects, counted: tuple[float, tuple[float, float]] | None
) -> JudgedClaim:
    p_holm, interval = counted or (None, None)
    verdict, why = _verdict(interval, claim.smallest)
    over_seeds = effects.over_seeds
    return JudgedClaim(
        **_effect(effects),
        name=claim.name,
        finding=claim.finding,
        says=claim.says,
        of=claim.of,
        arm=claim.arm or None,
        against=claim.against,
        between=claim.between,
        expect=claim.expect if claim.between else None,
        over=effects.over,
        unit="rho" if claim.between else numbers.unit(claim.of),
        smallest=claim.smallest,
        verdict=verdict,
        why=effects.why or why,
        p=None if over_seeds is None else over_seeds.p,
        p_holm=p_holm,
        holm_interval=interval,
        p_orders=effects.p_orders,
        parts=_parts(numbers, claim),
    )


def _verdict(interval: tuple[float, float] | None, smallest: float) -> tuple[Verdict, str]:
    if interval is None:
        return "undecided", ""
    if interval[1] < smallest:
        return "does not hold", _TOO_SMALL if interval[0] > 0 else ""
    return ("holds" if interval[0] > 0 else "undecided"), ""


def _parts(numbers: BySeed, claim: Claim) -> tuple[JudgedPart, ...]:
    """Return each quantity of a claim that is of several, against the same arms; of ranks, the score of each task."""
    members = numbers.quantities(claim.of)
    if len(members) < 2:
        return ()
    parts = [replace(claim, of=(one,)) for one in members]
    return tuple(
        JudgedPart(name=part.of[0], unit=numbers.unit(part.of), **_effect(_differences(numbers, part, claim.of)))
        for part in parts
    )


def _effect(effects: _Effects) -> dict[str, Any]:
    """Return the fields of ``Effect``."""
    if effects.whole is None:
        return {}
    by_seed = () if effects.by_seed is None else effects.by_seed[0]
    over_seeds = effects.over_seeds
    return {
        "effect": float(effects.whole[0]),
        "ci95": None if over_seeds is None else over_seeds.interval(),
        "images_ci95": _over_images(effects),
        "num_seeds": len(effects.seeds),
        "seeds": tuple(
            SeedEffect(seed=seed, effect=float(one)) for seed, one in zip(effects.seeds, by_seed, strict=False)
        ),
    }


def _over_images(effects: _Effects) -> tuple[float, float] | None:
    """Return the interval over test images, None where no draws are known."""
    whole = effects.whole
    if whole is None or len(whole) == 1 or not np.isfinite(whole).all():
        return None
    low, high = interval_about(float(whole[0]), torch.from_numpy(whole[1:]), effects.num_images)
    return max(low, -effects.largest), min(high, effects.largest)


def _effects(numbers: BySeed, claim: Claim) -> _Effects:
    return _correlations(numbers, claim) if claim.between else _differences(numbers, claim)


def _differences(numbers: BySeed, claim: Claim, whole: Sequence[str] = ()) -> _Effects:
    """Return how much more an arm has than others; which is the best of them, the quantities of the whole claim say."""
    whole = whole or claim.of
    named = [arm for arm in claim.against if arm != BEST_SINGLE]
    candidates = [arm for arm in numbers.arms("trained") if arm != claim.arm] if BEST_SINGLE in claim.against else []
    common = frozenset.intersection(*(numbers.seeds(arm, whole) for arm in (claim.arm, *named)))
    if candidates:
        common &= max((numbers.seeds(arm, whole) for arm in candidates), key=len)
        candidates = [arm for arm in candidates if common <= numbers.seeds(arm, whole)]
    if not common or len(named) + bool(candidates) < len(claim.against):
        return _Effects()
    seeds = tuple(sorted(common))
    ours = {arm: numbers.of(arm, claim.of, seeds) for arm in (claim.arm, *named, *candidates)}
    chosen_by = [numbers.of(arm, whole, seeds) for arm in candidates]

    def difference(some: tuple[int, ...]) -> Array | None:
        theirs = [mean_within(ours[arm], some) for arm in named]
        if candidates:
            theirs.append(best_within([ours[arm] for arm in candidates], some, chosen_by))
        parts = [part for part in (mean_within(ours[claim.arm], some), *theirs) if part is not None]
        return parts[0] - np.mean(parts[1:], axis=0) if len(parts) == 1 + len(theirs) else None

    least, num_images = numbers.least_deviation(claim.of), numbers.num_images(claim.of)
    by_seed = pseudo_values(difference, seeds)
    return _Effects(difference(seeds), seeds, by_seed, least, num_images, over=tuple(candidates))


def _correlations(numbers: BySeed, claim: Claim) -> _Effects:
    """Return the rank correlation over arms within each seed, in the expected direction."""
    arms = correlated_arms(claim, numbers.roles)
    seeds_of = {arm: numbers.seeds(arm, claim.between) for arm in arms}
    common = (
        frozenset.intersection(*seeds_of.values())
        if claim.over
        else max(seeds_of.values(), key=len, default=frozenset())
    )
    arms = tuple(arm for arm in arms if common <= seeds_of[arm])
    if not common or len(arms) < FEWEST_RANKED:
        return _Effects()
    seeds = tuple(sorted(common))
    x, y = (_ranks(numbers, arms, name, seeds) for name in claim.between)
    sign = 1 if claim.expect == "positive" else -1
    by_seed = sign * (x * y).sum(axis=0)
    least, num_images = _smallest_step(len(arms)) / math.sqrt(12), numbers.num_images(claim.between)
    p_orders = _p_of_orders(sign * x[:, 0], y[:, 0])
    return _Effects(by_seed.mean(axis=1), seeds, by_seed, least, num_images, 1.0, arms, p_orders)


def _ranks(numbers: BySeed, arms: Sequence[str], name: str, seeds: tuple[int, ...]) -> Array:
    """Return the standardised ranks of arms of one seed each, (arms, R, n)."""
    found = [numbers.of(arm, (name,), seeds) for arm in arms]
    return standardised_ranks([np.stack([one[(seed,)] for seed in seeds], axis=1) for one in found], axis=0)


def _smallest_step(count: int) -> float:
    """Return by how much a rank correlation of so many pairs changes where two neighbours change places."""
    return 12 / (count * (count**2 - 1))


def _p_of_orders(x: Array, y: Array) -> float:
    """Return the share of orders of the arms, the same in all seeds, with a mean rho as large: (1 + b) / (1 + m).

    Source: Phipson and Smyth (2010), "Permutation p-values should never be zero", equation 2.

    Args:
        x: Standardised ranks, (arms, n).
        y: Standardised ranks, (arms, n).
    """
    products = x @ y.T
    permuted = orders(len(x))
    sums = products[permuted, np.arange(len(x))].sum(axis=1)
    return float((1 + (sums >= np.trace(products) - 1e-12).sum()) / (1 + len(permuted)))
