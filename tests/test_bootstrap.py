import numpy as np
import pytest
import torch

from solo_invariance.measure import estimate, estimate_difference


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for repetition in range(200):
        sample = torch.rand(60, 1, generator=generator)
        found = estimate(sample, seed=repetition, resamples=400)
        covered += found.low <= 0.5 <= found.high
    assert 0.89 <= covered / 200 <= 0.99


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
