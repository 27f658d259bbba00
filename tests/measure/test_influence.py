import numpy as np
import pytest
import torch
from torch import Tensor

from solo_invariance.measure.functional.influence import (
    group_reference_influence,
    group_reference_influence_on_distance,
    reference_influence,
    reference_influence_on_distance,
)
from solo_invariance.measure.functional.whitening import whiten, whitening_from_statistics
from solo_invariance.measure.loop.reference_error import ReferenceBlocks, standard_error
from solo_invariance.measure.statistics.feature_statistics import feature_statistics

_WIDTH = 5


def _features(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(_WIDTH, _WIDTH, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return torch.randn(*shape, _WIDTH, generator=generator, dtype=torch.float64) @ mixing + 3


def _products(features: np.ndarray, reference: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the products (V, V) of features (V, D), by the mean and the inverse covariance of a weighted reference."""
    weights = weights / weights.sum()
    mean = weights @ reference
    covariance = (reference - mean).T @ (weights[:, None] * (reference - mean))
    return (features - mean) @ np.linalg.inv(covariance) @ (features - mean).T


def _cosines(products: np.ndarray) -> np.ndarray:
    lengths = np.sqrt(np.diag(products))
    return products / np.outer(lengths, lengths)


def _distances(products: np.ndarray) -> np.ndarray:
    squares = np.diag(products)
    return np.sqrt(np.maximum(squares[:, None] + squares - 2 * products, 0))


def _derivatives(features: np.ndarray, reference: np.ndarray, function=_cosines) -> np.ndarray:
    """Return n times the change of a function of products, (R, V, V), as the weight of each image grows from 1."""
    step, found = 1e-4, []
    for one in np.eye(len(reference)):
        more, less = (function(_products(features, reference, 1 + sign * step * one)) for sign in (1, -1))
        found.append(len(reference) * (more - less) / (2 * step))
    return np.stack(found)


def _whitened(features: Tensor, reference: Tensor) -> Tensor:
    """Return features whitened by the covariance that divides by n."""
    covariance = torch.cov(reference.T, correction=0)
    return whiten(features, whitening_from_statistics(reference.mean(dim=0), covariance, len(reference), shrink=False))


def test_the_influence_is_the_derivative_by_the_weight_of_an_image() -> None:
    reference, features = _features(40), _features(4, seed=1)
    expected = _derivatives(features.numpy(), reference.numpy())
    whitened = _whitened(features, reference)
    clean, views = whitened[:2], whitened[2:][None].expand(2, 2, -1)
    for weights in ([1.0, 0.0], [0.0, 1.0], [0.25, 0.75]):
        each = torch.tensor(weights, dtype=torch.float64).expand(2, 2)
        found = reference_influence(clean, views, each, _whitened(reference, reference))
        np.testing.assert_allclose(found.T, expected[:, :2, 2:] @ np.array(weights), atol=1e-5)
    assert np.abs(expected).mean() > 0.1


@pytest.mark.parametrize("include_diagonal", [True, False])
def test_the_influence_on_a_group_is_the_derivative_of_its_mean_cosine(include_diagonal: bool) -> None:
    reference, views = _features(40), _features(4, seed=1)
    cosines = _derivatives(views.numpy(), reference.numpy())
    expected = cosines.sum(axis=(1, 2)) / (16 if include_diagonal else 12)
    whitened = _whitened(views, reference)
    found = group_reference_influence(whitened, _whitened(reference, reference), include_diagonal=include_diagonal)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_influence_on_distances_is_their_derivative() -> None:
    reference, features = _features(40), _features(4, seed=1)
    expected = _derivatives(features.numpy(), reference.numpy(), _distances)
    whitened, images = _whitened(features, reference), _whitened(reference, reference)
    clean, views = whitened[:2], whitened[2:][None].expand(2, 2, -1)
    weights = torch.tensor([0.25, 0.75], dtype=torch.float64).expand(2, 2)
    found = reference_influence_on_distance(clean, views, weights, images)
    np.testing.assert_allclose(found.T, expected[:, :2, 2:] @ weights[0].numpy(), atol=1e-5)
    of_group = group_reference_influence_on_distance(whitened, images)
    off_diagonal = expected * (1 - np.eye(4))  # rounding is all that the distance of a view from itself has
    np.testing.assert_allclose(of_group, off_diagonal.sum(axis=(1, 2)) / 12, atol=1e-5)
    assert np.abs(off_diagonal).mean() > 0.1


def test_views_that_are_alike_stay_so_whatever_the_reference() -> None:
    images, one = _features(40), _features(1, seed=1)
    alike = reference_influence_on_distance(one, one[:, None], torch.ones(1, 1), images)
    assert alike.eq(0).all()
    two = torch.cat([one, one, _features(1, seed=2)])
    of_two = group_reference_influence_on_distance(two[1:], images)
    torch.testing.assert_close(group_reference_influence_on_distance(two, images), 2 / 3 * of_two)


def _error_and_jackknife(num_reference: int, sample: int, num_images: int) -> tuple[float, float]:
    """Return the reference's standard error by blocks of a sample, and by leaving out each of its images in turn."""
    reference, clean = _features(num_reference), _features(num_images, seed=1)
    pairs = torch.stack([clean, 0.8 * clean + 0.6 * _features(num_images, seed=2)], dim=1)

    def mean(others: Tensor) -> float:
        whitened = _whitened(pairs, others)
        return float(torch.cosine_similarity(whitened[:, 0], whitened[:, 1]).mean())

    n = num_reference
    left_out = np.array([mean(reference[torch.arange(n) != one]) for one in range(n)])
    jackknife = float(np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()))
    moments = feature_statistics(reference)._replace(sample=reference[:sample])
    whitening = whitening_from_statistics(moments.mean, moments.covariance, n, shrink=True)
    blocks = ReferenceBlocks.of(moments, whitening)
    assert blocks is not None
    whitened = whiten(pairs, whitening)
    weights = torch.ones(num_images, 1, dtype=torch.float64)
    return standard_error(blocks.influence(whitened[:, 0], whitened[:, 1:], weights).mean(dim=0)), jackknife


@pytest.mark.parametrize(("num_reference", "sample"), [(100, 100), (640, 640), (1500, 600)])
def test_the_error_is_that_of_the_jackknife_whatever_the_sample_and_its_blocks(num_reference: int, sample: int) -> None:
    error, jackknife = _error_and_jackknife(num_reference, sample, 30)
    assert error == pytest.approx(jackknife, rel=0.15)


def test_an_average_over_views_weighs_their_influences() -> None:
    moments = feature_statistics(_features(64))._replace(sample=_features(64))
    whitening = whitening_from_statistics(moments.mean, moments.covariance, 64, shrink=True)
    blocks = ReferenceBlocks.of(moments, whitening)
    assert blocks is not None
    clean, views = whiten(_features(3, seed=1), whitening), whiten(_features(3, 2, seed=2), whitening)
    weights = torch.tensor([[0.25, 0.75]]).expand(3, 2)
    apart = [blocks.influence(clean, views[:, [view]], torch.ones(3, 1)) for view in (0, 1)]
    torch.testing.assert_close(blocks.influence(clean, views, weights), 0.25 * apart[0] + 0.75 * apart[1])


def test_moments_without_a_sample_have_no_blocks() -> None:
    moments = feature_statistics(_features(64))
    assert ReferenceBlocks.of(moments, whitening_from_statistics(*moments[:3], shrink=True)) is None
