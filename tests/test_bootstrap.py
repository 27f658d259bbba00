import math

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm, t
from torch import Tensor

from solo_invariance import bootstrap
from solo_invariance.bootstrap import (
    Estimate,
    bootstrap_interval,
    estimate,
    estimate_difference,
    paired_interval,
)
from solo_invariance.transfer.scores import accuracy, mean_average_precision, r2


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_of_many_images_is_that_of_the_normal_distribution(seed: int) -> None:
    """Mean -+ 1.96 standard errors; an interval of 90 % would have 1.64 of them, one of 99 % 2.58."""
    sample = torch.rand(1000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    mean, error = float(sample.mean()), float(sample.std()) / 1000**0.5
    found = estimate(sample, seed=seed, resamples=20_000)
    assert (found.low - mean) / error == pytest.approx(-1.96, abs=0.06)
    assert (found.high - mean) / error == pytest.approx(1.96, abs=0.06)


def test_the_interval_of_a_skewed_sample_is_made_of_quantiles() -> None:
    """Of the mean of four images that are one and otherwise zero: a binomial distribution, which is not symmetric."""
    sample = torch.tensor([1.0] * 4 + [0.0] * 46)[:, None]
    found = estimate(sample, resamples=20_000)
    low, high = binom.ppf([0.025, 0.975], 50, 4 / 50) / 50
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.high - found.mean > 1.2 * (found.mean - found.low)


def test_the_interval_of_a_paired_difference_is_as_wide() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1000, 1, generator=generator, dtype=torch.float64)
    ours = images + 0.2 * torch.randn(1000, 1, generator=generator, dtype=torch.float64)
    error = float((ours - images).std()) / 1000**0.5
    found = estimate_difference(ours, images)
    assert (found.high - found.low) / error == pytest.approx(2 * 1.96, rel=0.05)


def test_the_interval_is_deterministic_and_collapses_for_a_constant() -> None:
    sample = torch.arange(30.0)[:, None]
    assert estimate(sample, seed=1) == estimate(sample, seed=1)
    assert estimate(sample, seed=1) != estimate(sample, seed=2)
    assert estimate(torch.full((10, 1), 0.25))[:4] == (0.25, 0.0, 0.25, 0.25)


def test_the_standard_error_is_that_of_a_mean() -> None:
    sample = torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
    assert estimate(sample).standard_error == pytest.approx(float(sample.std()) / 20, rel=0.06)


def test_a_ratio_is_resampled_with_its_two_terms_together() -> None:
    """Against a bootstrap written out in NumPy: terms that rise and fall together have a ratio that hardly varies."""
    generator = np.random.default_rng(0)
    size = generator.uniform(1, 9, 80)
    terms = torch.from_numpy(np.stack([2 * size + generator.normal(0, 0.01, 80), size], axis=1))
    found = estimate(terms, lambda means: means[..., 0] / means[..., 1])
    rows = generator.integers(80, size=(2000, 80))
    ratios = terms.numpy()[rows].mean(axis=1)
    spread = (ratios[:, 0] / ratios[:, 1]).std()
    assert found.mean == pytest.approx(2, abs=1e-3)
    assert found.standard_error == pytest.approx(spread, rel=0.1)


def test_a_paired_difference_is_surer_than_its_two_sides() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(100, 1, generator=generator, dtype=torch.float64)
    ours, theirs = images + 0.1 + 0.05 * torch.randn(100, 1, generator=generator), images
    difference = estimate_difference(ours, theirs)
    assert difference.mean == pytest.approx(float((ours - theirs).mean()))
    assert 0 < difference.low < difference.high
    assert estimate(ours).low < 0 < estimate(ours).high
    assert difference.standard_error == pytest.approx(float((ours - theirs).std()) / 10, rel=0.1)
    with pytest.raises(ValueError, match="of the same images"):
        estimate_difference(ours, theirs[:99])


def test_many_images_are_resampled_in_pieces_that_give_the_same() -> None:
    sample = torch.randn(5000, 2, generator=torch.Generator().manual_seed(0))
    found = estimate(sample, resamples=900)
    assert found.standard_error == pytest.approx(float(sample[:, 0].std()) / 5000**0.5, rel=0.1)


@pytest.mark.parametrize("count", [5, 12, 30])
def test_the_interval_of_few_images_is_as_wide_as_students(count: int) -> None:
    """Of twelve, 2.2 standard errors; the percentiles themselves are 1.88 of them away."""
    sample = torch.from_numpy(norm.ppf((np.arange(count) + 0.5) / count))[:, None]
    found = estimate(sample, resamples=100_000)
    half = t.ppf(0.975, count - 1) * float(sample.std()) / count**0.5
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05 if count > 5 else 0.2)


def test_draws_of_one_image_are_resampled_together() -> None:
    """Four draws of each of 40 images say as much as the images do, and draws that differ in number count as such."""
    values = torch.randn(40, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    images = torch.arange(40).repeat(4)
    once, four = estimate(values), estimate(values.repeat(4, 1), images=images)
    assert four[:4] == pytest.approx(once[:4])
    some = torch.cat([torch.arange(40), torch.arange(10)])
    found = estimate(values[some], images=some)
    assert found.mean == pytest.approx(float(values[some].mean()))
    counts = torch.bincount(some)[:, None]
    residuals = counts * (values - found.mean) / 50
    assert found.standard_error == pytest.approx(float((residuals**2).sum().sqrt()), rel=0.06)
    ours, theirs = values + 0.1 * torch.randn(40, 1, generator=torch.Generator().manual_seed(1)), values
    twice = estimate_difference(ours.repeat(2, 1), theirs.repeat(2, 1), images=torch.arange(40).repeat(2))
    assert twice[:4] == pytest.approx(estimate_difference(ours, theirs)[:4])


def test_an_independent_error_widens_the_interval_in_quadrature() -> None:
    found, z = Estimate(0.5, 0.05, 0.4, 0.8).with_reference_error(0.1), norm.ppf(0.975) * 0.1
    assert found == pytest.approx((0.5, 0.05, 0.5 - math.hypot(0.1, z), 0.5 + math.hypot(0.3, z), 0.1))
    assert found.as_dict()["reference_error"] == 0.1
    assert "reference_error" not in Estimate(0.5, 0.05, 0.4, 0.8).as_dict()


def draw_classes(seed: int, count: int = 200, classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (count,), generator=generator) ** 2
    guesses = torch.randint(classes, (count,), generator=generator) ** 2
    right = torch.rand(count, generator=generator) < 0.6
    return torch.where(right, targets, guesses), targets


def draw_numbers(seed: int, count: int = 200, targets: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = 100 + torch.randn(count, targets, generator=generator, dtype=torch.float64) * torch.arange(1, targets + 1)
    return truth + 0.7 * torch.randn(count, targets, generator=generator, dtype=torch.float64), truth


def test_bootstrap_interval_of_an_accuracy_is_the_binomial_one() -> None:
    predictions, targets = draw_classes(0, count=2000)
    share = float(accuracy(predictions, targets))
    half = 1.96 * math.sqrt(share * (1 - share) / len(targets))
    low, high = bootstrap_interval(accuracy, predictions, targets, resamples=4000)
    assert low == pytest.approx(share - half, abs=half / 10)
    assert high == pytest.approx(share + half, abs=half / 10)


def test_bootstrap_interval_covers_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        right = torch.rand(300, generator=torch.Generator().manual_seed(seed)) < 0.7
        low, high = bootstrap_interval(accuracy, right.long(), torch.ones(300, dtype=torch.int64), 400, seed=seed)
        covered += low <= 0.7 <= high
    assert 0.91 <= covered / 200 <= 0.985


def test_bootstrap_interval_depends_on_the_seed_alone() -> None:
    predictions, targets = draw_numbers(0)
    torch.manual_seed(1)
    first = bootstrap_interval(r2, predictions, targets, seed=3)
    torch.manual_seed(2)
    assert bootstrap_interval(r2, predictions, targets, seed=3) == first
    assert bootstrap_interval(r2, predictions, targets, seed=4) != first


def test_bootstrap_works_through_resamples_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions, targets = draw_classes(0)
    whole = bootstrap_interval(accuracy, predictions, targets)
    monkeypatch.setattr(bootstrap, "_WEIGHTS_AT_ONCE", 30 * len(targets))
    parts = bootstrap_interval(accuracy, predictions, targets)
    assert parts == whole


def test_paired_interval_of_accuracies_is_the_difference_of_paired_proportions() -> None:
    first, targets = draw_classes(0, count=3000)
    flipped = torch.rand(len(targets), generator=torch.Generator().manual_seed(9)) < 0.1
    second = torch.where(flipped, targets.roll(1), first)
    gains = (first == targets).double() - (second == targets).double()
    half = 1.96 * float(gains.std() / len(gains) ** 0.5)
    low, high = paired_interval(accuracy, first, second, targets, resamples=4000)
    assert (low, high) == pytest.approx((float(gains.mean()) - half, float(gains.mean()) + half), abs=half / 10)
    apart = bootstrap_interval(accuracy, first, targets, resamples=4000)
    assert high - low < 0.6 * (apart.high - apart.low) * 2**0.5


def test_paired_interval_of_equals_is_zero_and_turns_with_the_order() -> None:
    first, targets = draw_numbers(0)
    second, _ = draw_numbers(1)
    assert paired_interval(r2, first, first, targets) == (0, 0)
    low, high = paired_interval(r2, first, second, targets, seed=2)
    assert paired_interval(r2, second, first, targets, seed=2) == pytest.approx((-high, -low))


def _mean(predictions: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    weights = torch.ones_like(predictions) if weights is None else weights
    return weights @ predictions / weights.sum(-1)


def test_means_and_weighted_scores_are_of_the_same_draws() -> None:
    values = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = estimate(values[:, None], seed=3, resamples=400)
    low, high = bootstrap_interval(_mean, values, values, resamples=400, seed=3)
    assert high - low == pytest.approx(found.high - found.low)
    assert low == pytest.approx(found.low, abs=(high - low) / 10)


def test_scores_of_few_images_have_the_interval_of_student() -> None:
    """Samples of ten images vary too little: their own percentiles are a fifth narrower."""
    values = torch.from_numpy(norm.ppf((np.arange(10) + 0.5) / 10))
    half = t.ppf(0.975, 9) * float(values.std()) / 10**0.5
    ends = bootstrap_interval(_mean, values, values, resamples=20000)
    assert ends == pytest.approx((-half, half), rel=0.06)
    paired = paired_interval(_mean, values, torch.zeros(10, dtype=torch.float64), values, resamples=20000)
    assert paired == pytest.approx((-half, half), rel=0.06)


def _many_numbers(seed: int, count: int = 40, targets: int = 200) -> tuple[Tensor, Tensor]:
    """Predictions of independent targets, half of whose variance they explain."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(count, targets, generator=generator, dtype=torch.float64)
    return found, found + torch.randn(count, targets, generator=generator, dtype=torch.float64)


def _many_labels(seed: int, count: int = 40, labels: int = 60) -> tuple[Tensor, Tensor]:
    """Scores of independent labels that a tenth of the images have."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(count, labels, generator=generator) < 0.1
    truth[0] = True
    return truth + torch.randn(count, labels, generator=generator, dtype=torch.float64), truth


@pytest.mark.parametrize(("metric", "draw"), [(r2, _many_numbers), (mean_average_precision, _many_labels)])
def test_a_score_of_many_targets_is_in_its_interval_as_often_as_it_says(metric, draw) -> None:  # type: ignore[no-untyped-def]
    """A resample has a bias that is the same for all targets; the spread of their mean is smaller than that."""
    scores = torch.stack([metric(*draw(seed)) for seed in range(60)])
    ends = [bootstrap_interval(metric, *draw(seed), resamples=200, seed=seed) for seed in range(60)]
    assert all(low <= score <= high for score, (low, high) in zip(scores.tolist(), ends, strict=True))
    assert sum(low <= float(scores.mean()) <= high for low, high in ends) >= 0.9 * 60
    # It is not much wider than scores that vary so much between draws ask for.
    widths = torch.tensor([high - low for low, high in ends])
    assert float(widths.mean()) < 2 * (2 * 1.96) * float(scores.std())


def test_a_difference_of_scores_of_many_targets_is_in_its_interval() -> None:
    for seed in range(10):
        found, truth = _many_numbers(seed)
        worse = found + 2 * _many_numbers(seed + 100)[0]
        low, high = paired_interval(r2, found, worse, truth, resamples=200, seed=seed)
        assert low <= float(r2(found, truth) - r2(worse, truth)) <= high
