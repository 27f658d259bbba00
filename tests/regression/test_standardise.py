import pytest
import torch

from solo_invariance.regression.standardise import principal_axes, standardisation, training_deviations


def draw(count: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 7 + torch.randn(count, size, generator=generator, dtype=torch.float64) * torch.arange(1, size + 1)


def test_standardised_features_have_mean_zero_and_deviation_one() -> None:
    features = draw(50, 4)
    standardised = standardisation(features, unit_deviation=True).apply(features)
    assert torch.allclose(standardised.mean(0), torch.zeros(4, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(standardised.std(0, correction=0), torch.ones(4, dtype=torch.float64))


def test_without_unit_deviation_features_are_centred_alone() -> None:
    features = draw(50, 4)
    centred = standardisation(features, unit_deviation=False).apply(features)
    assert torch.allclose(centred, features - features.mean(0))


@pytest.mark.parametrize("unit_deviation", [True, False])
def test_undoing_gives_the_same_predictions_for_features_as_given(unit_deviation: bool) -> None:
    features = torch.cat([draw(50, 4), torch.full((50, 1), 0.1)], dim=1)
    transform = standardisation(features, unit_deviation)
    slopes, intercept = torch.rand(5, 2, dtype=torch.float64), torch.rand(2, dtype=torch.float64)
    raw_slopes, raw_intercept = transform.undo(slopes, intercept)
    assert torch.allclose(features @ raw_slopes + raw_intercept, transform.apply(features) @ slopes + intercept)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e9, 1e-200])
def test_a_constant_feature_is_left_out(constant: float) -> None:
    features = torch.cat([draw(50, 2), torch.full((50, 1), constant, dtype=torch.float64)], dim=1)
    assert standardisation(features, unit_deviation=True).apply(features)[:, 2].tolist() == [0.0] * 50


def test_a_feature_that_varies_by_rounding_alone_is_left_out() -> None:
    jitter = torch.tensor([0.0, 1.0] * 25, dtype=torch.float64) * 2.0**-52
    features = torch.stack([1 + jitter, 1 + 1e6 * jitter], dim=1)
    assert standardisation(features, unit_deviation=True).scale.isinf().tolist() == [True, False]


def test_training_deviations_see_the_training_images_alone() -> None:
    features = draw(50, 3)
    features[:20, 0] = 4
    transform = standardisation(features, unit_deviation=True)
    training = torch.stack([torch.arange(50) >= 10, torch.arange(50) < 30, torch.arange(50) < 20], dim=1)
    standardised = transform.apply(features)
    deviations = training_deviations(standardised, training)
    expected = torch.stack([standardised[fold].std(0, correction=0) for fold in training.T], dim=1)
    expected[0, 2] = 1
    assert torch.allclose(deviations, expected, rtol=1e-10)


@pytest.mark.parametrize(("count", "size"), [(30, 5), (5, 30), (6, 6)])
def test_principal_axes_are_orthonormal_and_span_the_features(count: int, size: int) -> None:
    features = draw(count, size)
    centred = features - features.mean(0)
    axes, scatter = principal_axes(centred)
    assert torch.allclose(axes.T @ axes, torch.eye(axes.shape[1], dtype=torch.float64), atol=1e-9)
    assert torch.allclose((axes * scatter) @ axes.T, centred.T @ centred, atol=1e-8)


@pytest.mark.parametrize(("count", "size"), [(30, 5), (5, 30)])
def test_features_without_scatter_have_axes_without_scatter(count: int, size: int) -> None:
    assert principal_axes(torch.zeros(count, size, dtype=torch.float64)).scatter.sum() == 0
