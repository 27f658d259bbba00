"""Holm's procedure, and how often marks are wrong where nothing differs."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm, ttest_1samp

from solo_invariance.bootstrap import estimates
from solo_invariance.report.marks import Comparisons, Difference, Verdict, counted, holm, p_value, verdicts
from solo_invariance.results import Estimate


def test_holm_as_computed_by_hand() -> None:
    """Of four: 4 x 0.01, 3 x 0.015, then 2 x 0.02 and 0.5, none of them below the one before."""
    assert holm([0.02, 0.01, 0.5, 0.015], count=4) == pytest.approx([0.045, 0.04, 0.5, 0.045])


def test_comparisons_that_were_not_made_count() -> None:
    assert holm([0.004, 0.001], count=10) == pytest.approx([0.036, 0.01])
    assert holm([0.3], count=10) == [1.0]
    assert holm([], count=3) == []


def test_a_p_value_is_that_of_the_difference_with_the_error_of_its_reference() -> None:
    many = 10**9
    both = Difference(mean=-0.05, ci95=(-0.1, 0.0), standard_error=0.03, reference_error=0.04, num_images=many)
    assert p_value(both) == pytest.approx(2 * norm.sf(1.0))
    assert p_value(Difference(mean=0.0, ci95=(0.0, 0.0), standard_error=0.0, num_images=many)) == 1.0
    assert p_value(Difference(mean=0.1, ci95=(0.1, 0.1), standard_error=0.0, num_images=many)) == 0.0


def test_of_few_images_a_p_value_is_that_of_the_t_test() -> None:
    values = np.random.default_rng(0).normal(0.5, 1, 12)
    error = values.std() / math.sqrt(12)  # as the bootstrap has it
    one = Difference(mean=values.mean(), ci95=(0.0, 1.0), standard_error=error, num_images=12)
    assert p_value(one) == pytest.approx(ttest_1samp(values, 0).pvalue)


def _difference(z: float) -> Difference:
    return Difference(mean=-z, ci95=(-z - 1.96, -z + 1.96), standard_error=1.0, num_images=10**9)


def test_a_difference_that_many_comparisons_explain_is_marked() -> None:
    """z = 2.5 has p = 0.0124: it holds alone, and not among ten; z = 4 does."""
    column = {
        "a": Verdict("best", "a", None),
        "b": Verdict("", "a", _difference(2.5)),
        "c": Verdict("", "a", _difference(4)),
    }
    (alone,), made = counted([column], 2)
    assert {label: one.mark for label, one in alone.items()} == {"a": "best", "b": "", "c": ""}
    assert made == Comparisons(count=2, paired=2, found=2, kept=2)
    (among,), made = counted([column], 10)
    assert {label: one.mark for label, one in among.items()} == {"a": "best", "b": "unsure", "c": ""}
    assert made == Comparisons(count=10, paired=2, found=2, kept=1)


@pytest.mark.parametrize(("backbones", "columns"), [(2, 1), (6, 4)])
def test_where_nothing_differs_few_tables_say_that_something_does(backbones: int, columns: int) -> None:
    """400 simulated tables: sure marks in at most 5 %, up to the error of the simulation, and not in none.

    By the 95 % interval of each difference alone, nearly every table of six backbones and four columns would have one.
    """
    draw = np.random.default_rng(0)
    pairs = columns * math.comb(backbones, 2)
    wrong, alone = 0, 0
    for _ in range(400):
        table = []
        for _ in range(columns):
            easy = draw.normal(size=(60, 1))
            values = torch.from_numpy(easy + draw.normal(size=(60, backbones)))
            table.append(_verdicts_of(values))
        found, made = counted(table, pairs)
        wrong += any(one.mark == "" for of_column in found for one in of_column.values())
        alone += made.found > 0
    assert wrong / 400 < 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)
    assert alone / 400 > (0.02 if backbones == 2 else 0.5)


def _verdicts_of(values: torch.Tensor) -> dict[str, Verdict]:
    labels = [str(index) for index in range(values.shape[1])]
    own = dict(zip(labels, estimates(values, resamples=2), strict=True))
    means = {label: Estimate(mean=one.mean, ci95=(one.mean - 1, one.mean + 1)) for label, one in own.items()}

    def difference(ours: str, theirs: str) -> Difference:
        one = (values[:, int(ours)] - values[:, int(theirs)]).numpy()
        error = one.std() / math.sqrt(len(one))
        ends = one.mean() - 1.96 * error, one.mean() + 1.96 * error
        return Difference(mean=one.mean(), ci95=ends, standard_error=error, num_images=len(one))

    return verdicts(means, {}, labels, difference, larger_is_better=True)
