"""Student's t, the jackknife and Holm's levels, against closed forms, scipy and numbers by hand."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from solo_invariance.study.over_seeds import MeanOverSeeds, holm_levels, pseudo_values


def _over(differences: np.ndarray) -> MeanOverSeeds:
    return MeanOverSeeds.of(float(differences.mean()), differences)


@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_it_is_the_paired_t_test(count: int) -> None:
    rng = np.random.default_rng(count)
    ours, theirs = rng.normal(0.3, 1, count), rng.normal(0, 1, count)
    found, expected = _over(ours - theirs), stats.ttest_rel(ours, theirs)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval() == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p_up_to(0.1) == pytest.approx(stats.ttest_1samp(ours - theirs, 0.1, alternative="greater").pvalue)
    assert found.p_from(0.7) == pytest.approx(stats.ttest_1samp(ours - theirs, 0.7, alternative="less").pvalue)


def test_the_two_ends_of_an_interval_have_levels_of_their_own() -> None:
    found = _over(np.array([1.0, 2.0, 4.0]))
    low, high = found.interval(0.01, 0.2)
    assert found.p_up_to(low) == pytest.approx(0.01)
    assert found.p_from(high) == pytest.approx(0.2)


def test_numbers_on_a_grid_deviate_by_as_much_as_it_says() -> None:
    same = np.full(4, 1.0)
    assert MeanOverSeeds.of(1.0, same, 0.5).error == 0.25
    assert MeanOverSeeds.of(1.0, same).p == 0.0
    assert MeanOverSeeds.of(0.0, same - 1).p == 1.0


def test_of_a_mean_over_seeds_the_jackknife_is_the_numbers_themselves() -> None:
    values = {seed: np.random.default_rng(seed).normal(size=(3,)) for seed in (2, 5, 7, 11)}
    found = pseudo_values(lambda some: np.mean([values[one] for one in some], axis=0) if some else None, (2, 5, 7, 11))
    assert found is not None
    np.testing.assert_allclose(found, np.stack([values[one] for one in (2, 5, 7, 11)], axis=1))


def test_of_pairs_the_jackknife_is_that_of_a_u_statistic() -> None:
    """The mean of (a - b)^2 / 2 over pairs is the variance, of which the jackknife is known: by hand, of 0, 1, 5."""
    values = {0: 0.0, 1: 1.0, 2: 5.0}

    def variance(some: tuple[int, ...]) -> np.ndarray | None:
        pairs = [(values[a] - values[b]) ** 2 / 2 for a, b in combinations(some, 2)]
        return np.array([np.mean(pairs)]) if pairs else None

    found = pseudo_values(variance, (0, 1, 2))
    assert found is not None
    np.testing.assert_allclose(found[0], [3 * 7 - 2 * 8, 3 * 7 - 2 * 12.5, 3 * 7 - 2 * 0.5])


def test_too_few_seeds_have_no_pseudo_values() -> None:
    assert pseudo_values(lambda some: np.zeros(1) if len(some) > 2 else None, (0, 1, 2)) is None
    assert pseudo_values(lambda some: None, (0, 1, 2)) is None
    one = pseudo_values(lambda some: np.array([4.0]) if some else None, (3,))
    assert one is not None
    assert one.tolist() == [[4.0]]


def test_holms_levels_by_hand() -> None:
    """Of five tests at 5 %: 0.001 and 0.012 pass 0.01 and 0.0125; 0.02 does not pass 0.0167, nor does what follows."""
    adjusted, levels = holm_levels([0.02, 0.001, 0.3, 0.012], 5, 0.05)
    assert adjusted == pytest.approx([0.06, 0.005, 0.6, 0.048])
    assert levels == pytest.approx([0.05 / 3, 0.05 / 5, 0.05 / 3, 0.05 / 4])


def test_where_all_pass_the_last_is_tested_alone() -> None:
    assert holm_levels([0.001, 0.002], 2, 0.05)[1] == pytest.approx([0.025, 0.05])
    assert holm_levels([], 2, 0.05) == ([], [])
