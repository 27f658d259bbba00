import numpy as np
import pytest
import torch
from scipy.stats import binom

from solo_invariance.measure import estimate, estimate_difference


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
    assert estimate(torch.full((10, 1), 0.25)) == (0.25, 0.0, 0.25, 0.25)


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
