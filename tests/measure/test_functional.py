import numpy as np
import pytest
import torch

from solo_invariance.measure.functional.chance import chance_similarity, same_image
from solo_invariance.measure.functional.retrieval import retrieval_rank
from solo_invariance.measure.functional.similarity import (
    group_distance,
    group_similarity,
    invariance_distance,
    invariance_similarity,
)
from solo_invariance.measure.functional.whitening import hold_out, whiten, whitening_from_statistics


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


def test_enough_images_that_vary_in_few_directions_are_said_to_do_so(features) -> None:
    flat = np.concatenate([features, features[:, :2], np.ones_like(features[:, :1])], axis=1)
    with pytest.raises(ValueError, match="singular: they vary in 6 directions alone, and 1 features are constant"):
        _whitening(flat)


def _shrunk(covariance: np.ndarray) -> np.ndarray:
    variances = covariance.diagonal()
    return 0.999 * covariance + 0.001 * np.diag(np.maximum(variances, 0.001 * variances.mean()))


def test_constant_features_are_named_where_their_covariance_is_singular() -> None:
    features = torch.randn(60, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    features[:, [3, 17]] = torch.tensor([0.0, 7.5], dtype=torch.float64)
    for more, shown in ((), "3, 17"), (range(4, 13), "3, 4, 5, 6, 7, 8, 9, 10, \\.\\.\\."):
        features[:, list(more)] = 1.25
        count = 2 + len(more)
        with pytest.raises(ValueError, match=rf"and {count} features are constant \(of 0 to 19: {shown}\)$"):
            whitening_from_statistics(features.mean(0), features.T.cov(), 60, shrink=False)
    redundant = torch.randn(60, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    redundant[:, 3] = redundant[:, 0] + redundant[:, 1]
    with pytest.raises(ValueError, match=r"they vary in 3 directions alone, and 0 features are constant$"):
        whitening_from_statistics(redundant.mean(0), redundant.T.cov(), 60, shrink=False)


@pytest.mark.parametrize("count", [4, 6, 7, 200])
def test_the_shrunk_covariance_has_a_thousandth_of_the_variances_at_any_number_of_images(features, count: int) -> None:
    found = _whitening(features[:count], shrink=True)
    expected = _shrunk(np.cov(features[:count].T))
    np.testing.assert_allclose((found.factor @ found.factor.T).numpy(), expected, rtol=1e-9, atol=1e-12)
    assert (found.shrinkage, found.num_images) == (0.001, count)


def test_a_constant_feature_counts_as_a_thousandth_of_the_mean_variance(features) -> None:
    features[:, 2] = 1.0
    found = _whitening(features, shrink=True)
    variances = np.cov(features.T).diagonal()
    assert float((found.factor @ found.factor.T)[2, 2]) == pytest.approx(1e-6 * variances.mean())
    with pytest.raises(ValueError, match="constant"):
        _whitening(np.ones((50, 3)), shrink=True)


def test_there_is_no_cliff_where_the_covariance_becomes_invertible() -> None:
    generator = np.random.default_rng(0)
    mix = generator.normal(size=(40, 40)) * np.linspace(0.2, 2, 40)
    clean, views = generator.normal(size=(2, 2000, 40)) @ mix
    views = 0.9 * clean + 0.4 * views
    reference = generator.normal(size=(20000, 40)) @ mix

    def similarity(count: int) -> float:
        found = []
        for start in range(0, 20 * count, count) if count < 1000 else (0,):
            whitening = _whitening(reference[start : start + count], shrink=True)
            z, w = whiten(torch.from_numpy(clean), whitening), whiten(torch.from_numpy(views), whitening)
            found.append(float(invariance_similarity(z, w[:, None]).mean()))
        return float(np.mean(found))

    limit = similarity(20000)
    for count in (40, 41, 42, 50, 60, 80, 160, 640):
        assert similarity(count) == pytest.approx(limit, abs=0.02)


@pytest.mark.parametrize("removed", [1, 4])
@pytest.mark.parametrize("shrink", [False, True])
def test_holding_out_is_leaving_out(features, removed: int, shrink: bool) -> None:
    views, others = np.concatenate([features[:removed], features[100 : 100 + removed]]), features[removed:]
    whitening = _whitening(features, shrink)
    whitened = whiten(torch.from_numpy(views[None]), whitening)
    found = hold_out(whitened, whiten(torch.from_numpy(features[None, :removed]), whitening), whitening)
    covariance = np.cov(others.T)
    if shrink:  # the diagonal stays that of all images
        kept = (len(features) - 1) / (len(others) - 1) * np.cov(features.T).diagonal()
        covariance = 0.999 * covariance + 0.001 * np.diag(kept)
    centred = views - others.mean(0)
    # All inner products: the rest is a rotation.
    expected = centred @ np.linalg.inv(covariance) @ centred.T
    found = (
        found * whitening.length() / whitening.length(removed)
    )  # lengths are corrected for as many images as are left
    np.testing.assert_allclose((found @ found.mT)[0].numpy(), expected, rtol=1e-9, atol=1e-9)


def test_an_image_of_the_reference_scores_as_one_that_is_not() -> None:
    """In it, whitened by twice as many images as features, it would score far less."""
    generator = np.random.default_rng(0)
    size, in_it, held_out = 30, [], []
    for _ in range(40):
        reference = generator.normal(size=(2 * size, size))
        views = 0.8 * reference + 0.6 * generator.normal(size=reference.shape)
        whitening = _whitening(reference, shrink=True)
        z = whiten(torch.from_numpy(np.stack([reference, views], axis=1)), whitening)
        in_it.append(float(invariance_similarity(z[:, 0], z[:, 1:]).mean()))
        z = hold_out(z, z[:, :1], whitening)
        held_out.append(float(invariance_similarity(z[:, 0], z[:, 1:]).mean()))
    clean = generator.normal(size=(100_000, size))
    others = 0.8 * clean + 0.6 * generator.normal(size=clean.shape)
    limit = invariance_similarity(torch.from_numpy(clean), torch.from_numpy(others)[:, None]).mean()
    assert np.mean(in_it) < float(limit) - 0.05
    assert np.mean(held_out) == pytest.approx(float(limit), abs=0.012)


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


@pytest.mark.parametrize("count", [100, 150, 210, 300, 500, 2000])
def test_lengths_are_those_by_the_distributions_own_covariance(count: int) -> None:
    width, generator = 200, torch.Generator().manual_seed(count)
    draw = torch.randn(count + 2000, width, generator=generator, dtype=torch.float64)
    reference, others = (draw * torch.linspace(0.5, 2, width)).split([count, 2000])
    whitening = whitening_from_statistics(reference.mean(dim=0), torch.cov(reference.T), count, shrink=True)
    squares = whiten(others, whitening).square().sum(dim=1).mean()
    # Of fewer images than features, only as many directions as images can be known.
    assert float(squares) * whitening.length() ** 2 == pytest.approx(min(width, count), rel=0.06)
    assert float(squares) > 1.09 * width
