import numpy as np
import pytest
import torch
from sklearn.covariance import OAS

from solo_invariance.measure.functional.chance import chance_similarity, same_image
from solo_invariance.measure.functional.retrieval import retrieval_rank
from solo_invariance.measure.functional.similarity import (
    group_distance,
    group_similarity,
    invariance_distance,
    invariance_similarity,
)
from solo_invariance.measure.functional.whitening import whiten, whitening_from_statistics


@pytest.fixture
def features() -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.normal(size=(200, 6)) @ generator.normal(size=(6, 6)) + generator.normal(size=6)


def _whitening(features: np.ndarray, shrink: bool = False):
    tensor = torch.from_numpy(features)
    return whitening_from_statistics(tensor.mean(dim=0), torch.cov(tensor.T), len(features), shrink=shrink)


def test_whitened_features_have_mean_zero_and_identity_covariance(features) -> None:
    z = whiten(torch.from_numpy(features), _whitening(features))
    torch.testing.assert_close(z.mean(dim=0), torch.zeros(6, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.cov(z.T), torch.eye(6, dtype=torch.float64), atol=1e-10, rtol=0)


def test_similarity_and_distance_against_numpy_by_the_inverse_covariance(features) -> None:
    clean, views = features[:20], features[20:80].reshape(20, 3, 6)
    mean, inverse = features.mean(axis=0), np.linalg.inv(np.cov(features, rowvar=False))
    whitening = _whitening(features)
    z, w = whiten(torch.from_numpy(clean), whitening), whiten(torch.from_numpy(views), whitening)
    for i in range(20):
        for p in range(3):
            a, b = clean[i] - mean, views[i, p] - mean
            cosine = a @ inverse @ b / np.sqrt((a @ inverse @ a) * (b @ inverse @ b))
            assert float(invariance_similarity(z, w)[i, p]) == pytest.approx(cosine, abs=1e-10)
            distance = np.sqrt((clean[i] - views[i, p]) @ inverse @ (clean[i] - views[i, p]))
            assert float(invariance_distance(z, w)[i, p]) == pytest.approx(distance, abs=1e-10)


def test_rotating_or_scaling_feature_space_changes_nothing(features) -> None:
    generator = np.random.default_rng(1)
    mix = generator.normal(size=(6, 6))
    numbers = []
    for x in (features, features @ mix + 3.0):
        whitening = _whitening(x)
        z, w = whiten(torch.from_numpy(x[:10]), whitening), whiten(torch.from_numpy(x[10:20]), whitening)[:, None]
        numbers.append((invariance_similarity(z, w), invariance_distance(z, w)))
    torch.testing.assert_close(numbers[0], numbers[1], atol=1e-8, rtol=1e-8)


def test_an_invariant_backbone_scores_one_and_zero(features) -> None:
    z = whiten(torch.from_numpy(features[:5]), _whitening(features))
    views = z[:, None].expand(5, 4, 6)
    torch.testing.assert_close(invariance_similarity(z, views), torch.ones(5, 4, dtype=torch.float64))
    assert torch.equal(invariance_distance(z, views), torch.zeros(5, 4, dtype=torch.float64))


def test_too_few_images_are_an_error_that_says_how_many_are_needed(features) -> None:
    with pytest.raises(ValueError, match="6 features from 5 reference images is singular: more than 6 images"):
        _whitening(features[:5])


def test_shrinkage_mends_too_few_images_and_constant_features(features) -> None:
    few = _whitening(features[:5], shrink=True)
    assert 0 < few.shrinkage <= 1
    assert whiten(torch.from_numpy(features), few).isfinite().all()
    constant = features.copy()
    constant[:, 2] = 1.0
    mended = _whitening(constant, shrink=True)
    assert mended.shrinkage > 0
    assert _whitening(features, shrink=True).shrinkage == 0  # nothing to mend, nothing changed
    with pytest.raises(ValueError, match="constant"):
        _whitening(np.ones((50, 3)), shrink=True)


def test_the_shrunk_covariance_is_nearer_to_the_truth_than_the_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.diag(torch.linspace(0.5, 2, 10, dtype=torch.float64))
    nearer = 0
    for _ in range(20):
        sample = torch.randn(8, 10, dtype=torch.float64, generator=generator) * truth.diagonal().sqrt()
        covariance = torch.cov(sample.T)
        shrunk = whitening_from_statistics(sample.mean(dim=0), covariance, 8, shrink=True)
        assert 0.1 < shrunk.shrinkage <= 1
        nearer += (shrunk.factor @ shrunk.factor.T - truth).norm() < (covariance - truth).norm()
    assert nearer == 20


def _oas(covariance: np.ndarray, count: int) -> float:
    """The weight of Chen, Wiesel, Eldar & Hero (2010), equation 23."""
    p, trace, square = len(covariance), np.trace(covariance), np.trace(covariance @ covariance)
    return min(1.0, ((1 - 2 / p) * square + trace**2) / ((count + 1 - 2 / p) * (square - trace**2 / p)))


@pytest.mark.parametrize(("count", "dimensions"), [(3, 6), (5, 6), (8, 20), (20, 20)])
def test_the_shrinkage_is_that_of_oracle_approximating(count: int, dimensions: int) -> None:
    generator = np.random.default_rng(0)
    sample = generator.normal(size=(count, dimensions)) * np.linspace(0.2, 3, dimensions) ** 3
    covariance = np.cov(sample.T)
    expected = _oas(covariance, count)
    found = _whitening(sample, shrink=True)
    assert 0 < found.shrinkage < 1
    assert found.shrinkage == pytest.approx(expected, rel=1e-10)
    target = np.eye(dimensions) * covariance.diagonal().mean()
    mixed = (1 - expected) * covariance + expected * target
    np.testing.assert_allclose(found.factor @ found.factor.T, mixed, rtol=1e-9, atol=1e-12)


def test_the_shrinkage_of_many_features_is_scikit_learns() -> None:
    """Which leaves out the equation's 2 / p: of 500 features there is little left of it."""
    sample = np.random.default_rng(0).normal(size=(25, 500)) * np.linspace(0.1, 3, 500) ** 8
    expected = OAS().fit(sample).shrinkage_
    assert 0.1 < expected < 0.9
    assert _whitening(sample, shrink=True).shrinkage == pytest.approx(expected, rel=1e-3)


def test_a_constant_feature_is_mended_by_a_millionth_however_many_images_there_are() -> None:
    covariance = torch.tensor([1.0, 2.0, 0.0, 3.0], dtype=torch.float64).diag()
    mended = whitening_from_statistics(torch.zeros(4, dtype=torch.float64), covariance, 10**13, shrink=True)
    assert mended.shrinkage == 1e-6
    expected = (1 - 1e-6) * covariance.diagonal() + 1e-6 * 1.5
    torch.testing.assert_close(mended.factor.diagonal() ** 2, expected, rtol=1e-12, atol=0)


def test_groups_against_loops(features) -> None:
    views = torch.from_numpy(features[:24].reshape(4, 6, 6))
    for include, pairs in ((True, [(i, j) for i in range(6) for j in range(6)]), (False, None)):
        pairs = pairs or [(i, j) for i in range(6) for j in range(6) if i != j]
        for group in range(4):
            v = views[group]
            cosine = np.mean([float(torch.cosine_similarity(v[i], v[j], dim=0)) for i, j in pairs])
            distance = np.mean([float((v[i] - v[j]).norm()) for i, j in pairs if i != j])
            assert float(group_similarity(views, include_diagonal=include)[group]) == pytest.approx(cosine, abs=1e-10)
            assert float(group_distance(views)[group]) == pytest.approx(distance, abs=1e-10)


def test_images_are_told_apart_by_their_ids() -> None:
    same = same_image(torch.tensor([4, 9, 2]), torch.tensor([9, 4, 4, 7]))
    assert same.tolist() == [[False, True, True, False], [True, False, False, False], [False] * 4]
    with pytest.raises(ValueError, match=r"expected images \(N,\), got none"):
        same_image(None, torch.arange(3))
    with pytest.raises(ValueError, match=r"expected images \(N,\), got shape \(2, 1\)"):
        same_image(torch.zeros(2, 1), torch.arange(3))


@pytest.mark.parametrize("gallery", [(4, 5), (4, 6, 1), (3, 6)])
def test_a_gallery_that_does_not_fit_is_refused(gallery: tuple[int, ...]) -> None:
    clean, views, own = torch.zeros(2, 6), torch.zeros(2, 3, 6), torch.zeros(2, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"gallery \(G, D\) and own \(N, G\)"):
        chance_similarity(views, torch.zeros(gallery), own)
    with pytest.raises(ValueError, match=r"gallery \(G, D\) and own \(N, G\)"):
        retrieval_rank(clean, views, torch.zeros(gallery), own)
