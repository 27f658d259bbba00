"""Verdicts on tables whose numbers are written down: what a claim compares, of which seeds, and what it says."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy import stats

from solo_invariance.config.claims import Claim, Role
from solo_invariance.report.verdicts import comparison
from solo_invariance.results import JudgedClaim
from solo_invariance.study import Instance, Table, judge
from tests.study.simulated import claim

KINDS = {"invariance/hue": "appearance", "invariance/blur": "appearance", "invariance/shift": "spatial"}


def _table(
    numbers: Mapping[str, Mapping[str, Mapping[int | tuple[int, ...], float]]],
    roles: Mapping[str, Role] | None = None,
    draws: np.ndarray | None = None,
    **units: str,
) -> Table:
    """A table of numbers by quantity, arm and seeds."""
    keys = {(arm, seeds) for arms in numbers.values() for arm, by_seed in arms.items() for seeds in by_seed}
    instances = sorted(Instance(arm, seeds if isinstance(seeds, tuple) else (seeds,)) for arm, seeds in keys)
    values = np.full((len(instances), len(numbers)), np.nan)
    for column, arms in enumerate(numbers.values()):
        for arm, by_seed in arms.items():
            for seeds, value in by_seed.items():
                place = instances.index(Instance(arm, seeds if isinstance(seeds, tuple) else (seeds,)))
                values[place, column] = value
    units = {name: "accuracy" if name.endswith("shape") else "r2" for name in numbers}
    images = dict.fromkeys(numbers, 100)
    return Table(tuple(instances), tuple(numbers), values, draws, roles or {}, KINDS, units, images)


def _seeds(*values: float) -> dict[int | tuple[int, ...], float]:
    return dict(enumerate(values))


def _one(table: Table, one: Claim, others: int = 0) -> JudgedClaim:
    return judge(table, [one, *(claim(f"no {index}", of="score/none", arm="x") for index in range(others))])[0]


def _effects(found: JudgedClaim) -> list[float]:
    return [one.effect for one in found.seeds]


def test_a_difference_is_the_paired_t_test_over_the_seeds_that_both_have() -> None:
    a, b = [0.5, 0.6, 0.8, 0.7], [0.4, 0.3, 0.6, 0.65]
    table = _table({"score/hue": {"a": {**_seeds(*a), 9: 5.0}, "b": _seeds(*b), "c": _seeds(1, 2, 3, 4)}})
    found = _one(table, claim("x", of="score/hue", arm="a", against="b", smallest=0.01))
    expected = stats.ttest_rel(a, b)
    assert (found.effect, found.p) == pytest.approx((np.mean(a) - np.mean(b), expected.pvalue))
    assert found.ci95 == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert ([one.seed for one in found.seeds], found.num_seeds) == ([0, 1, 2, 3], 4)
    assert _effects(found) == pytest.approx(np.subtract(a, b).tolist())
    assert found.p_holm == pytest.approx(expected.pvalue)
    assert found.holm_interval == pytest.approx(found.ci95)


def test_against_several_is_against_their_mean() -> None:
    table = _table({"score/hue": {"a": _seeds(4, 5), "b": _seeds(1, 2), "c": _seeds(2, 5)}})
    assert _effects(_one(table, claim("x", of="score/hue", arm="a", against=("b", "c")))) == [2.5, 1.5]


def test_a_kind_is_the_mean_of_its_quantities_which_are_its_parts() -> None:
    arms = {
        "invariance/hue": {"a": _seeds(0.5, 0.7), "b": _seeds(0.1, 0.2)},
        "invariance/shift": {"a": _seeds(9, 9), "b": _seeds(0, 0)},
        "invariance/blur": {"a": _seeds(0.3, 0.3), "b": _seeds(0.3, 0.4)},
    }
    found = _one(_table(arms), claim("x", of="invariance/appearance", arm="a", against="b"))
    assert _effects(found) == pytest.approx([0.2, 0.2])
    assert [(part.name, part.effect) for part in found.parts] == [
        ("invariance/hue", pytest.approx(0.45)),
        ("invariance/blur", pytest.approx(-0.05)),
    ]
    assert found.parts[0].ci95 == pytest.approx(tuple(stats.ttest_1samp([0.4, 0.5], 0).confidence_interval(0.95)))
    assert _one(_table(arms), claim("x", of="invariance/hue", arm="a", against="b")).parts == ()


def test_the_best_single_is_chosen_by_the_other_seeds() -> None:
    """b is best in seed 0 and c in the others: by the others, c is always; the untrained and fusions are not asked."""
    roles: Mapping[str, Role] = {"a": "fusion", "b": "trained", "c": "trained", "u": "untrained", "w": "wide"}
    scores = {
        "a": _seeds(5, 5, 5, 5),
        "b": _seeds(2, 0, 0, 0),
        "c": _seeds(1, 2, 3, 4),
        "u": _seeds(9, 9, 9, 9),
        "w": _seeds(9, 9, 9, 9),
    }
    found = _one(_table({"score/hue": scores}, roles), claim("x", of="score/hue", arm="a", against="best single"))
    assert found.effect == 2.5
    assert _effects(found) == pytest.approx([4, 3, 2, 1])


def test_a_choice_that_seeds_change_makes_the_effect_less_sure() -> None:
    """By hand: leaving out seed 0, 1 or 2 leaves two, each of which chooses for the other."""
    roles: Mapping[str, Role] = {"a": "fusion", "b": "trained", "c": "trained"}
    scores = {"a": _seeds(0, 0, 0), "b": _seeds(3, 0, 0), "c": _seeds(0, 1, 1)}
    found = _one(_table({"score/hue": scores}, roles), claim("x", of="score/hue", arm="a", against="best single"))
    # Seed 0 is chosen for by 1 and 2: c, 0. Seeds 1 and 2 by the others, with 3 > 1 of b: 0 and 0.
    assert found.effect == 0
    # Of 1 and 2: c and c, -1. Of 0 and 2, or 0 and 1: b is chosen for the later one, 0; c for 0, 0.
    assert _effects(found) == pytest.approx([0 + 2 * (0 + 1), 0, 0])


def test_the_parts_of_a_claim_are_against_the_arm_that_is_best_at_the_whole() -> None:
    """b is best on average, though c is better on hue: the claim's effect is the mean of its parts."""
    scores = {
        "score/hue": {"a": _seeds(4, 4, 4), "b": _seeds(1, 1, 1), "c": _seeds(3, 3, 3)},
        "score/shape": {"a": _seeds(4, 4, 4), "b": _seeds(5, 5, 5), "c": _seeds(0, 0, 0)},
    }
    roles: Mapping[str, Role] = {"a": "fusion", "b": "trained", "c": "trained"}
    of_both = claim("x", of=["score/hue", "score/shape"], arm="a", against="best single")
    found = _one(_table(scores, roles), of_both)
    assert (found.effect, [part.effect for part in found.parts]) == (1.0, [3.0, -1.0])
    assert found.over == ("b", "c")
    assert comparison(found) == "score on hue and shape: a against the best of b and c"
    ranked = _one(_table(scores, roles), claim("x", of="rank/score", arm="a", against="best single"))
    # Ranks 1 and 2 of a, 3 and 1 of b, 2 and 3 of c: b again.
    assert (ranked.effect, [part.effect for part in ranked.parts]) == (0.5, [3.0, -1.0])


def test_best_single_of_two_seeds_is_undecided_and_of_one_has_no_effect() -> None:
    scores = {"a": _seeds(5, 5), "b": _seeds(1, 1), "c": _seeds(0, 0)}
    one = claim("x", of="score/hue", arm="a", against="best single")
    two = _one(_table({"score/hue": scores}), one)
    assert (two.verdict, two.effect, two.ci95, two.num_seeds) == ("undecided", 4.0, None, 2)
    alone = _one(_table({"score/hue": {arm: {0: by_seed[0]} for arm, by_seed in scores.items()}}), one)
    assert (alone.verdict, alone.effect, alone.ci95) == ("undecided", None, None)
    assert "too few seeds" in alone.why.lower()


def _triples(values: Sequence[float]) -> dict[int | tuple[int, ...], float]:
    """An ensemble whose number is its seeds' mean: of these, triples say what single seeds do."""
    count = len(values)
    triples = [(a, b, c) for a in range(count) for b in range(a + 1, count) for c in range(b + 1, count)]
    return {triple: float(np.mean([values[one] for one in triple])) for triple in triples}


def test_ensembles_whose_numbers_are_means_are_as_sure_as_single_seeds() -> None:
    a, b = [0.5, 0.6, 0.8, 0.7, 0.2], [0.4, 0.3, 0.6, 0.65, 0.3]
    table = _table({"score/hue": {"a": _seeds(*a), "e": _triples(b)}}, {"e": "ensemble"})
    found = _one(table, claim("x", of="score/hue", arm="a", against="e"))
    assert (found.effect, found.p) == pytest.approx((np.mean(a) - np.mean(b), stats.ttest_rel(a, b).pvalue))
    assert _effects(found) == pytest.approx(np.subtract(a, b).tolist())


def test_three_seeds_make_one_ensemble_which_is_undecided() -> None:
    table = _table({"score/hue": {"a": _seeds(3, 4, 5), "e": _triples([1, 2, 3])}}, {"e": "ensemble"})
    found = _one(table, claim("x", of="score/hue", arm="a", against="e"))
    assert (found.effect, found.ci95, found.verdict, found.num_seeds, found.seeds) == (2.0, None, "undecided", 3, ())
    assert "one more" in found.why


def test_one_seed_is_undecided_however_large_its_effect() -> None:
    found = _one(
        _table({"score/hue": {"a": _seeds(9), "b": _seeds(0)}}), claim("x", of="score/hue", arm="a", against="b")
    )
    assert (found.verdict, found.effect, found.ci95, found.p, found.holm_interval) == (
        "undecided",
        9.0,
        None,
        None,
        None,
    )
    assert _effects(found) == [9.0]
    assert "One seed" in found.why


def test_what_was_not_measured_is_undecided_and_counted() -> None:
    table = _table({"score/hue": {"a": _seeds(3, 4), "b": {5: 1.0}}})
    found = _one(table, claim("x", of="score/hue", arm="a", against="b"))
    assert (found.verdict, found.effect, found.num_seeds) == ("undecided", None, 0)
    assert "no seed" in found.why
    assert _one(table, claim("x", of="score/hue", arm="a", against="nobody")).verdict == "undecided"


def test_no_arm_to_be_the_best_of() -> None:
    table = _table({"score/hue": {"a": _seeds(3, 4, 5), "b": _seeds(1, 1, 1)}}, {"a": "trained", "b": "untrained"})
    found = _one(table, claim("x", of="score/hue", arm="a", against="best single"))
    assert (found.verdict, found.effect) == ("undecided", None)


def test_a_seed_that_lacks_one_of_the_quantities_does_not_count() -> None:
    arms = {
        "invariance/hue": {"a": _seeds(0.5, 0.7, 0.9), "b": _seeds(0.1, 0.2, 0.3)},
        "invariance/blur": {"a": _seeds(0.3, 0.3), "b": _seeds(0.3, 0.4, 0.5)},
    }
    found = _one(_table(arms), claim("x", of="invariance/appearance", arm="a", against="b"))
    assert (_effects(found), found.num_seeds) == (pytest.approx([0.2, 0.2]), 2)
    assert [part.num_seeds for part in found.parts] == [2, 2]
    assert [part.effect for part in found.parts] == pytest.approx([0.45, -0.05])


@pytest.mark.parametrize("role", ["fusion", "shaped"])
def test_ranks_are_among_the_arms_of_a_seed_and_better_is_more(role: Role) -> None:
    """Three of five compete: the untrained does not, nor does what lacks a seed. Ties share a rank."""
    roles: Mapping[str, Role] = {"a": role, "b": "trained", "c": "wide", "u": "untrained"}
    others: dict[str, dict[int | tuple[int, ...], float]] = {"u": _seeds(2.5, 2.5), "d": {0: 2.5}}
    table = _table(
        {
            "score/shape": {"a": _seeds(3, 1), "b": _seeds(1, 3), "c": _seeds(2, 2), **others},
            "score/hue": {"a": _seeds(3, 2), "b": _seeds(2, 2), "c": _seeds(2, 2), **others},
        },
        roles,
    )
    found = _one(table, claim("x", of="rank/score", arm="a", against="b"))
    assert _effects(found) == [1.75, -1.0]  # 1 and 1 against 3 and 2.5; 3 and 2 against 1 and 2
    assert found.unit == "ranks"
    assert [(part.name, part.unit, part.effect) for part in found.parts] == [
        ("score/shape", "accuracy", 0.0),
        ("score/hue", "r2", 0.5),
    ]


def test_ranks_that_are_the_same_in_all_seeds_are_not_certain() -> None:
    """Of one task, each seed is one rank up or down: five alike have the p of five coins, about 1 / 16."""
    scores = {"a": _seeds(2, 2, 2, 2, 2), "b": _seeds(1, 1, 1, 1, 1)}
    found = _one(_table({"score/hue": scores}), claim("x", of="rank/score", arm="a", against="b", smallest=0.5))
    assert found.effect == 1.0
    assert found.p == pytest.approx(stats.t.sf(np.sqrt(5), 4) * 2)
    assert 2**-5 < (found.p or 0) < 2**-3


def test_accuracies_are_rounded_to_the_number_of_images() -> None:
    """100 images: two rounding errors, uniform in 1 / 100, differ by a standard deviation of 0.01 / sqrt(6)."""
    scores = {"a": _seeds(0.5, 0.5, 0.5), "b": _seeds(0.49, 0.49, 0.49)}
    found = _one(_table({"score/shape": scores}), claim("x", of="score/shape", arm="a", against="b"))
    assert found.p == pytest.approx(stats.t.sf(0.01 / (0.01 / np.sqrt(6) / np.sqrt(3)), 2) * 2)


def _correlated(sign: float = 1.0, made: Role = "fusion") -> Table:
    rng = np.random.default_rng(1)
    x = {arm: _seeds(*rng.normal(index, 1.0, 4)) for index, arm in enumerate("abcde")}
    y = {arm: _seeds(*rng.normal(sign * index, 1.0, 4)) for index, arm in enumerate("abcde")}
    roles: Mapping[str, Role] = {"f": made, **dict.fromkeys("abcd", "trained"), "e": "untrained"}
    return _table({"invariance/hue": {**x, "f": _seeds(9, 9, 9, 9)}, "views/light": {**y, "f": x["a"]}}, roles)


@pytest.mark.parametrize("made", ["fusion", "ensemble", "shaped"])
def test_a_correlation_is_spearmans_over_the_arms_of_each_seed_but_what_is_made_of_them(made: Role) -> None:
    table = _correlated(made=made)
    found = _one(table, claim("x", between=("invariance/hue", "views/light"), smallest=0.1))
    rows = [row for row, one in enumerate(table.instances) if one.arm != "f"]
    by_seed = table.values[rows].reshape(5, 4, 2)
    rhos = [stats.spearmanr(by_seed[:, seed]).statistic for seed in range(4)]
    assert _effects(found) == pytest.approx(rhos)
    assert found.p == pytest.approx(stats.ttest_1samp(rhos, 0).pvalue)
    assert (found.over, found.unit, found.expect) == (tuple("abcde"), "rho", "positive")


def test_an_expected_negative_correlation_speaks_for_the_claim() -> None:
    names = ("invariance/hue", "views/light")
    plus, minus = (
        _one(_correlated(sign), claim("x", between=names, expect=expect))
        for sign, expect in ((1.0, "positive"), (-1.0, "negative"))
    )
    assert minus.effect is not None
    assert minus.effect > 0.5
    assert plus.effect is not None
    assert plus.effect > 0.5


def test_a_correlation_is_at_most_1_and_so_are_its_intervals() -> None:
    x = {"a": _seeds(1, 1, 1), "b": _seeds(2, 2, 2), "c": _seeds(3, 3, 3), "d": _seeds(4, 4, 4)}
    y = {**x, "a": _seeds(1, 1, 2), "b": _seeds(2, 2, 1)}
    found = _one(_table({"score/hue": x, "score/shape": y}), claim("x", between=("score/hue", "score/shape")), 5)
    assert _effects(found) == pytest.approx([1, 1, 0.8])
    assert found.ci95 is not None
    assert found.holm_interval is not None
    assert found.ci95[1] == found.holm_interval[1] == 1.0
    assert found.holm_interval[0] >= -1.0


def test_the_share_of_orders_of_the_arms_is_that_of_all_orders() -> None:
    """Three arms that agree in both seeds: one order of six is as large."""
    numbers = {"a": _seeds(1, 1), "b": _seeds(2, 2), "c": _seeds(3, 3)}
    found = _one(
        _table({"score/hue": numbers, "score/shape": numbers}), claim("x", between=("score/hue", "score/shape"))
    )
    assert found.p_orders == pytest.approx(1 / 6, abs=0.012)


def test_arms_that_are_named_are_correlated_in_the_seeds_that_all_have() -> None:
    numbers = {
        "a": _seeds(1, 3, 3),
        "b": _seeds(2, 2, 2),
        "c": _seeds(3, 1),
        "d": _seeds(4, 4, 4),
        "e": _seeds(5, 5, 5),
    }
    table = _table({"score/hue": numbers, "score/shape": numbers})
    between = ("score/hue", "score/shape")
    assert _one(table, claim("x", between=between, over=("a", "b", "c"))).num_seeds == 2
    all_seeds = _one(table, claim("x", between=between))
    assert (all_seeds.num_seeds, all_seeds.over) == (3, ("a", "b", "d", "e"))


@pytest.mark.parametrize(
    ("effects", "others", "smallest", "verdict"),
    [
        ((1.0, 1.1, 0.9, 1.0), 0, 0.5, "holds"),
        ((1.0, 1.1, 0.9, 1.0), 0, 5.0, "does not hold"),  # it is above 0, and smaller than would matter
        ((-1.0, -1.1, -0.9, -1.0), 0, 0.5, "does not hold"),
        ((0.01, -0.02, 0.01, 0.0), 0, 0.5, "does not hold"),
        ((1.0, 0.0, 2.0, -0.5), 0, 0.5, "undecided"),
        ((1.0, 1.5, 0.5, 0.7), 0, 0.5, "holds"),
        ((1.0, 1.5, 0.5, 0.7), 20, 0.5, "undecided"),  # p = 0.02
        ((0.0, 0.5, -0.5, -0.3), 0, 0.8, "does not hold"),
        ((0.0, 0.5, -0.5, -0.3), 20, 0.8, "undecided"),
    ],
)
def test_verdicts(effects: Sequence[float], others: int, smallest: float, verdict: str) -> None:
    table = _table({"score/hue": {"a": _seeds(*effects), "b": _seeds(*[0.0] * len(effects))}})
    found = _one(table, claim("x", of="score/hue", arm="a", against="b", smallest=smallest), others)
    assert found.verdict == verdict
    assert found.holm_interval is not None
    assert found.ci95 is not None
    assert found.holm_interval[0] <= found.ci95[0] <= found.ci95[1] <= found.holm_interval[1]
    assert (found.why != "") == (smallest == 5.0)


def test_the_level_of_each_claim_is_holms() -> None:
    """Of two, the surer is tested at half the level, and the other, once that one holds, at the whole."""
    first, second = [1.0, 1.1, 0.9, 1.0], [1.0, 1.5, 0.5, 0.7]
    zero = _seeds(0, 0, 0, 0)
    table = _table({"score/hue": {"a": _seeds(*first), "b": zero}, "score/count": {"a": _seeds(*second), "b": zero}})
    names = ("score/hue", "score/count")
    found = judge(table, [claim(name, of=name, arm="a", against="b", smallest=0.1) for name in names])
    assert [one.p_holm for one in found] == pytest.approx([2 * (found[0].p or 0), found[1].p])
    low = np.mean(first) - stats.t.ppf(1 - 0.025 / 2, 3) * stats.sem(first)
    assert found[0].holm_interval is not None
    assert found[0].holm_interval[0] == pytest.approx(low)
    assert found[1].holm_interval is not None
    assert found[1].holm_interval[0] == pytest.approx(stats.ttest_1samp(second, 0).confidence_interval(0.95).low)


def test_an_effect_below_0_never_holds() -> None:
    table = _table({"score/hue": {"a": _seeds(0, 0, 0), "b": _seeds(1.0, 1.1, 0.9)}})
    found = _one(table, claim("x", of="score/hue", arm="a", against="b"))
    assert (found.verdict, found.p_holm) == ("does not hold", 1.0)
    assert found.p is not None
    assert found.p < 0.01


def test_the_interval_over_images_is_of_draws_that_arms_share() -> None:
    """What makes images hard for both cancels; 95 % of the draws' differences about the effect are within."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 5, size=(2000, 1, 1))
    draws = np.array([3.0, 4.0, 1.0, 2.0])[None, :, None] + shared + rng.normal(0, 0.1, size=(2000, 4, 1))
    table = _table({"score/hue": {"a": _seeds(3, 4), "b": _seeds(1, 2)}}, draws=draws)
    found = _one(table, claim("x", of="score/hue", arm="a", against="b"))
    assert found.images_ci95 is not None
    # Each of two seeds has a difference with a variance of 2 x 0.01, of which there is the mean; 100 images.
    width = stats.t.ppf(0.975, 99) * np.sqrt(100 / 99) * 0.1
    assert found.images_ci95 == pytest.approx((2 - width, 2 + width), abs=0.02)


def test_without_draws_there_is_no_interval_over_images() -> None:
    table = _table({"score/hue": {"a": _seeds(3, 4), "b": _seeds(1, 2)}})
    assert _one(table, claim("x", of="score/hue", arm="a", against="b")).images_ci95 is None


def test_the_same_table_has_the_same_verdicts() -> None:
    claims = [claim("x", between=("invariance/hue", "views/light")), claim("y", of="views/light", arm="a", against="b")]
    assert judge(_correlated(), claims) == judge(_correlated(), claims)
