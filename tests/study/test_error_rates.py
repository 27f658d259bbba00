"""How often verdicts are wrong, and how often an effect is found, over 200 simulated studies."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from solo_invariance.config.claims import Claim
from solo_invariance.results import JudgedClaim
from solo_invariance.study import judge
from tests.study.simulated import CLAIMS, SCORES, TRAINED, simulated_table

STUDIES = 200
AT_MOST = 0.05 + 2 * np.sqrt(0.05 * 0.95 / STUDIES)  # with two errors of the simulation

DIFFERENCES = [one for one in CLAIMS if not one.between and "rank/score" not in one.of]
"""Claims whose effect is what is planted, in standard deviations of a seed; 1 is the smallest that would matter."""


def _planted(effect: float) -> Mapping[str, Mapping[str, float]]:
    """All of ``DIFFERENCES`` have this effect."""
    ventral = dict.fromkeys(("invariance/hue", "invariance/blur", "views/light", "score/hue"), effect)
    return {"ventral": ventral, "D+V+O": dict.fromkeys(SCORES, effect), "O+O+O": {"score/place": effect}}


CARRIES_OVER = {
    arm: {"invariance/hue": 3.0 * place, "views/light": 3.0 * place, "invariance/shift": 3.0 * place}
    for place, arm in enumerate(("default", "ventral", "dorsal", "identity", "untrained", "default x3"))
}


def _studies(
    means: Mapping[str, Mapping[str, float]], seeds: int, claims: Sequence[Claim] = CLAIMS
) -> list[list[JudgedClaim]]:
    generators = (np.random.default_rng([seeds, study]) for study in range(STUDIES))
    return [judge(simulated_table(one, range(seeds), means), claims) for one in generators]


def _rate(studies: list[list[JudgedClaim]], verdict: str) -> float:
    """The share of studies with any such verdict."""
    return float(np.mean([any(one.verdict == verdict for one in study) for study in studies]))


@pytest.fixture(scope="module", params=[3, 5])
def without_effects(request: pytest.FixtureRequest) -> list[list[JudgedClaim]]:
    return _studies({}, request.param)


def test_without_effects_hardly_a_study_has_a_claim_that_holds(without_effects: list[list[JudgedClaim]]) -> None:
    """Of all its claims, those of ensembles, of the best single, of ranks and of correlations among them."""
    assert _rate(without_effects, "holds") <= AT_MOST


def test_intervals_hold_the_truth_in_95_percent(without_effects: list[list[JudgedClaim]]) -> None:
    """Over all claims; of each, as many as a simulation of 200 can tell, and more of the cautious best single."""
    covered: dict[str, list[bool]] = {}
    for study in without_effects:
        for one in study:
            if one.ci95 is not None:
                covered.setdefault(one.name, []).append(one.ci95[0] <= 0 <= one.ci95[1])
    assert len(covered) == len(CLAIMS) if "ensemble" in covered else len(covered) == len(CLAIMS) - 3
    rates = {name: float(np.mean(held)) for name, held in covered.items()}
    assert 0.94 <= np.mean([*rates.values()]) <= 0.98
    assert min(rates.values()) >= 0.95 - 2.5 * np.sqrt(0.05 * 0.95 / STUDIES)


def test_effects_as_large_as_the_smallest_that_matters_are_hardly_ever_said_not_to_hold() -> None:
    """By any claim of a study in which all are of this size."""
    assert _rate(_studies(_planted(1.0), 5, DIFFERENCES), "does not hold") <= AT_MOST


@pytest.mark.parametrize(
    ("effect", "power", "of_best"),
    [
        (2.0, 0.5, 0.25),  # small: two standard deviations of a seed, of five seeds and nine claims
        (4.0, 0.97, 0.95),  # large
    ],
)
def test_effects_that_are_there_are_found(effect: float, power: float, of_best: float) -> None:
    """Each claim on its own; that over the best single arm is less sure, since others than it may be chosen."""
    studies = _studies(_planted(effect), 5, DIFFERENCES)
    holds = {
        one.name: np.mean([study[place].verdict == "holds" for study in studies])
        for place, one in enumerate(DIFFERENCES)
    }
    assert holds.pop("best") >= of_best
    assert min(holds.values()) >= power


def test_effects_that_are_not_there_are_said_not_to_hold_where_much_would_matter() -> None:
    much = [replace(one, smallest=4.0) for one in DIFFERENCES]
    studies = _studies({}, 5, much)
    assert np.mean([one.verdict == "does not hold" for study in studies for one in study]) >= 0.95


def test_correlations_that_are_there_are_found_in_either_direction() -> None:
    """Arms that lie three standard deviations apart, in the same order on both sides, or one side turned round."""
    turned = {arm: {**means, "score/place": -means["invariance/shift"]} for arm, means in CARRIES_OVER.items()}
    claims = [one for one in CLAIMS if one.between]
    studies = _studies(turned, 5, claims)
    assert all(np.mean([study[place].verdict == "holds" for study in studies]) >= 0.97 for place in range(len(claims)))


def test_a_fusion_that_is_as_good_as_the_best_arm_hardly_ever_beats_the_best_single() -> None:
    """Where others come near the best, some seeds choose one that is worse: 5 % in one test of its own, at most."""
    close = {arm: dict.fromkeys(SCORES, -0.7) for arm in TRAINED[1:]}
    best = [one for one in CLAIMS if one.name == "best"]
    assert _rate(_studies(close, 5, best), "holds") <= AT_MOST
