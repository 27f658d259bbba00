import numpy as np
import pytest
import torch
from torch import Tensor

from solo_invariance.measure.functional import (
    group_similarity,
    invariance_similarity,
    whiten,
    whitening_from_statistics,
    width_matched_group_similarity,
    width_matched_projections,
    width_matched_similarity,
)
from solo_invariance.measure.metrics import WidthMatchedSimilarity
from solo_invariance.measure.metrics.view_metric import Projections

IMAGES, WIDTH = 4000, 128


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def planted(noise: float = 0.3) -> tuple[Tensor, Tensor]:
    """Features of a falling spectrum, and views with the same noise in all of them: the small ones are lost."""
    features = draw(IMAGES, WIDTH) * torch.arange(1, WIDTH + 1) ** -0.7
    return features, features + noise * draw(IMAGES, WIDTH, seed=1)


def scores(clean: Tensor, views: Tensor, width: int = 16, projections: int = 32) -> tuple[float, float]:
    """The plain similarity and the width-matched one."""
    covariance = torch.cov(clean.T)
    rank_is_full = clean.shape[1] <= WIDTH
    whitening = whitening_from_statistics(clean.mean(0), covariance, IMAGES, shrink=not rank_is_full)
    maps = width_matched_projections(whitening, covariance, IMAGES, width, projections, shrink=True)
    z, w = whiten(clean, whitening), whiten(views, whitening)[:, None]
    return float(invariance_similarity(z, w).mean()), float(width_matched_similarity(z, w, maps).mean())


def test_projections_of_features_are_as_similar_as_the_features() -> None:
    clean, views = planted()
    plain, matched = scores(clean, views)
    few = draw(WIDTH, 16, seed=2)
    found = [scores(clean @ few, views @ few)]
    found += [scores(clean @ turn, views @ turn) for turn in (draw(WIDTH, 32, seed=seed) for seed in range(3, 9))]
    assert all(narrow > plain + 0.05 for narrow, _ in found)
    # One projection of the features differs from another by 0.02.
    assert [other for _, other in found] == pytest.approx([matched] * len(found), abs=0.03)
    assert sum(other for _, other in found[1:]) / 6 == pytest.approx(matched, abs=0.012)


def test_features_in_a_wider_space_are_as_similar() -> None:
    clean, views = planted()
    _, matched = scores(clean, views)
    wider = torch.linalg.qr(draw(4 * WIDTH, WIDTH, seed=5)).Q.T
    assert scores(clean @ wider, views @ wider)[1] == pytest.approx(matched, abs=0.012)


def test_an_invariant_representation_is_told_apart() -> None:
    clean, _ = planted()
    assert scores(clean, 2 * clean - clean.mean(0))[1] == pytest.approx(1)
    assert scores(clean, planted(noise=0.05)[1])[1] > scores(clean, planted()[1])[1] + 0.1
    assert scores(clean, clean.roll(1, 0))[1] == pytest.approx(0, abs=0.02)


def test_it_is_the_cosine_of_projected_features_that_are_whitened_by_their_own_covariance() -> None:
    clean, views = planted()
    covariance = torch.cov(clean.T)
    whitening = whitening_from_statistics(clean.mean(0), covariance, IMAGES, shrink=False)
    maps = width_matched_projections(whitening, covariance, IMAGES, 16, 1, shrink=False)
    directions = draw(WIDTH, 16)  # the first draw of the same generator
    projected, other = clean @ directions, views @ directions
    inverse = torch.linalg.inv(torch.cov(projected.T))
    a, b = projected - projected.mean(0), other - projected.mean(0)
    expected = (a @ inverse * b).sum(1) / ((a @ inverse * a).sum(1) * (b @ inverse * b).sum(1)).sqrt()
    z, w = whiten(clean, whitening), whiten(views, whitening)[:, None]
    torch.testing.assert_close(width_matched_similarity(z, w, maps)[:, 0], expected)
    metric = WidthMatchedSimilarity(maps)
    metric.update(z, w)
    torch.testing.assert_close(metric.compute(), expected.mean())


def test_there_are_as_many_projections_as_asked_for_and_no_two_alike() -> None:
    whitening = whitening_from_statistics(torch.zeros(5).double(), torch.eye(5).double(), 100, shrink=False)
    first, second, third = width_matched_projections(whitening, torch.eye(5).double(), 100, 2, 3, shrink=False)
    assert not torch.allclose(first, second)
    assert not torch.allclose(second, third)


def test_no_more_features_than_dimensions_are_left_as_they_are() -> None:
    whitening = whitening_from_statistics(torch.zeros(3), torch.eye(3), 100, shrink=False)
    maps = width_matched_projections(whitening, torch.eye(3), 100, 3, 5, shrink=False)
    assert torch.equal(maps, torch.eye(3)[None])
    views = draw(2, 4, 3).float()
    for diagonal in (False, True):
        expected = group_similarity(views, include_diagonal=diagonal)
        assert torch.equal(width_matched_group_similarity(views, maps, include_diagonal=diagonal), expected)


def test_groups_are_means_over_projections() -> None:
    views, maps = draw(2, 4, 3), draw(5, 2, 3, seed=1)
    expected = torch.stack([group_similarity(views @ one.T, include_diagonal=False) for one in maps]).mean(0)
    torch.testing.assert_close(width_matched_group_similarity(views, maps, include_diagonal=False), expected)


def without(reference: Tensor, removed: list[int], features: Tensor) -> Tensor:
    """Cosines (V, V) of projected features (V, D), whitened by the reference's images but those that are removed."""
    directions = draw(reference.shape[1], 4)  # the first draw of the same generator
    others = np.delete(reference.numpy(), removed, axis=0) @ directions.numpy()
    centred = features.numpy() @ directions.numpy() - others.mean(0)
    products = centred @ np.linalg.inv(np.cov(others.T)) @ centred.T
    lengths = np.sqrt(products.diagonal())
    return torch.from_numpy(products / np.outer(lengths, lengths))


def test_images_of_the_reference_are_taken_out_of_it_in_the_projection() -> None:
    clean, views = draw(40, 12, seed=1), draw(40, 12, seed=2)
    covariance = torch.cov(clean.T)
    whitening = whitening_from_statistics(clean.mean(0), covariance, 40, shrink=False)
    maps = width_matched_projections(whitening, covariance, 40, 4, 1, shrink=False)
    z, w = whiten(clean, whitening), whiten(views, whitening)
    found = width_matched_similarity(z, w[:, None], maps, torch.arange(40) < 20, whitening)[:, 0]
    for image, removed in ((0, [0]), (19, [19]), (20, []), (39, [])):
        expected = without(clean, removed, torch.stack([clean[image], views[image]]))[0, 1]
        torch.testing.assert_close(found[image], expected)
    metric = WidthMatchedSimilarity().with_projections(Projections(maps, whitening))
    metric.update(z, w[:, None], held_out=torch.arange(40) < 20)
    torch.testing.assert_close(metric.compute(), found.mean())
    groups = z[:6].unflatten(0, (2, 3))
    of_groups = width_matched_group_similarity(groups, maps, groups, whitening, include_diagonal=True)
    for group, rows in zip(of_groups, ([0, 1, 2], [3, 4, 5]), strict=True):
        torch.testing.assert_close(group, without(clean, rows, clean[rows]).mean())


def test_without_projections_it_says_so() -> None:
    with pytest.raises(ValueError, match="projects features: expected projections, got none"):
        WidthMatchedSimilarity().update(draw(2, 3), draw(2, 1, 3))
