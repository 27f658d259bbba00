"""The closed forms against planted factors, NumPy, SciPy, another implementation and their own definitions."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from solo_invariance.backbones.shaping import FactorMoments
from solo_invariance.shape.closed_forms import Projection, covariance_with, erasing, ordered_directions, shrunk
from solo_invariance.shape.moments import ColumnSums, TransformSums


def planted(images: int, steps: int, width: int, seed: int = 0) -> Tensor:
    """Return features (N, K, D): a circle that a step walks, in two directions, mixed with what images vary by."""
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=draw, dtype=torch.float64)
    content = torch.randn(images, 1, width, generator=draw, dtype=torch.float64)
    noise = 0.3 * torch.randn(images, steps, width, generator=draw, dtype=torch.float64)
    return (content + noise + _circle(steps, width)) @ mixing


def moments_of(features: Tensor, coordinates: Tensor | None = None) -> FactorMoments:
    """Return the moments of features (N, K, D), whose steps all count alike."""
    steps = features.shape[1]
    told_apart = torch.eye(steps, dtype=torch.float64) if coordinates is None else coordinates
    sums = TransformSums(features.shape[2], told_apart, torch.ones(steps))
    sums.update(features)
    return sums.compute()


def _circle(steps: int, width: int) -> Tensor:
    angle = torch.arange(steps, dtype=torch.float64) * 2 * torch.pi / steps
    circle = torch.zeros(steps, width, dtype=torch.float64)
    circle[:, 0], circle[:, 1] = 3 * angle.cos(), 3 * angle.sin()
    return circle


def _eraser(features: Tensor) -> Projection:
    moments = moments_of(features)
    return erasing(moments.mean, moments.total, covariance_with(moments, moments.coordinates))


@pytest.mark.parametrize("width", [5, 40])
def test_after_erasing_no_linear_probe_reads_the_step(width: int) -> None:
    features = planted(8, 4, width)  # of 40 features, 8 images at 4 steps span 31 directions
    eraser = _eraser(features)
    assert eraser.rank == 3
    left = eraser(features)
    assert (left.mean(0) - left.mean((0, 1))).abs().max() < 1e-9 * features.abs().max()
    flat, step = left.reshape(-1, width).numpy(), np.tile(np.eye(4), (8, 1))
    weights, *_ = np.linalg.lstsq(flat - flat.mean(0), step - step.mean(0), rcond=1e-8)
    assert np.abs((flat - flat.mean(0)) @ weights).max() < 1e-6


def test_levels_count_by_their_weights() -> None:
    levels = torch.tensor([[1.0, 0.0], [3.0, 2.0], [4.0, 9.0]], dtype=torch.float64)
    values, counts = torch.tensor([2.0, 5.0, 6.0], dtype=torch.float64), [5, 3, 2]
    features, numbers = (one.repeat_interleave(torch.tensor(counts), dim=0) for one in (levels, values))
    sums = ColumnSums(2, 3)
    sums.update(features, torch.arange(3).repeat_interleave(torch.tensor(counts)))
    found = covariance_with(sums.compute(), values[:, None])[:, 0]
    expected = np.cov(features.T, numbers, bias=True)[2, :2] / np.std(numbers.numpy())
    np.testing.assert_allclose(found, expected)


def test_erasing_is_what_another_implementation_has() -> None:
    leace = pytest.importorskip("concept_erasure", reason="concept-erasure is not installed")
    features = planted(300, 4, 7)
    flat = features.reshape(-1, 7)
    step = torch.eye(4, dtype=torch.float64).repeat(300, 1)
    how = {"shrinkage": False, "constrain_cov_trace": False, "svd_tol": 1e-6}  # as the theorem has it
    theirs = leace.LeaceEraser.fit(flat, step, **how)
    np.testing.assert_allclose(_eraser(features)(flat), theirs(flat), atol=1e-8)


def test_erasing_by_a_shrunk_covariance_is_what_another_implementation_has_and_leaves_nothing() -> None:
    leace = pytest.importorskip("concept_erasure", reason="concept-erasure is not installed")
    features = planted(20, 4, 30)
    flat, moments = features.reshape(-1, 30), moments_of(features)
    step = torch.eye(4, dtype=torch.float64).repeat(20, 1)
    theirs = leace.LeaceEraser.fit(flat, step, shrinkage=True, constrain_cov_trace=False, svd_tol=1e-6)
    correction = 80 / 79  # theirs are unbiased covariances
    cross = covariance_with(moments, moments.coordinates)
    found = erasing(moments.mean, shrunk(correction * moments.total, 80), cross)
    np.testing.assert_allclose(found(flat), theirs(flat), atol=1e-6)
    left = found(features)
    assert (left.mean(0) - left.mean((0, 1))).abs().max() < 1e-9 * features.abs().max()


@pytest.mark.parametrize("images", [3, 30, 3000])
def test_a_covariance_is_shrunk_as_another_implementation_has_it(images: int) -> None:
    shrinkage = pytest.importorskip("concept_erasure.shrinkage", reason="concept-erasure is not installed")
    covariance = moments_of(planted(images, 2, 12)).total
    found = shrunk(covariance, images)
    np.testing.assert_allclose(found, shrinkage.optimal_linear_shrinkage(covariance, images), rtol=1e-9)
    assert float(found.trace()) == pytest.approx(float(covariance.trace()))
    equal = 2 * torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(shrunk(equal, images), equal)


def test_a_shrunk_covariance_holds_for_other_images() -> None:
    """Of few images, in as many dimensions, it is nearer to that of all than their own covariance."""
    together = planted(5000, 1, 40)[:, 0]
    expected, some = torch.cov(together.T), torch.cov(together[:50].T, correction=0)
    assert (shrunk(some, 50) - expected).norm() < 0.8 * (some - expected).norm()
    whitened = torch.linalg.solve(torch.linalg.cholesky(shrunk(some, 50)), (together - together.mean(0)).T)
    assert whitened.square().sum(0).mean() < 4 * 40  # by their own, 5 times as much and more


def test_erasing_moves_features_as_little_as_its_constraints_allow() -> None:
    features = planted(400, 4, 6)
    flat = features.reshape(-1, 6)
    eraser = _eraser(features)
    concept = torch.eye(4, dtype=torch.float64).repeat(400, 1)
    concept = concept - concept.mean(0)
    cross = (flat - flat.mean(0)).T @ concept / len(flat)
    moved = (eraser(flat) - flat).square().sum(1).mean()
    draw = torch.Generator().manual_seed(1)
    for _ in range(20):  # this map and a bit of any other that leaves no covariance either
        other = torch.randn(6, 6, generator=draw, dtype=torch.float64)
        nulled = other - other @ cross @ torch.linalg.pinv(cross)
        changed = eraser(flat) - flat.mean(0) + 0.05 * (flat - flat.mean(0)) @ nulled.T
        assert (changed.T @ concept).abs().max() / len(flat) < 1e-9
        assert ((changed + flat.mean(0)) - flat).square().sum(1).mean() >= moved - 1e-9


def test_directions_without_a_trace_are_left_alone() -> None:
    draw = torch.Generator().manual_seed(0)
    shape, width = (300, 4, 8), 8
    features = torch.randn(shape, generator=draw, dtype=torch.float64)
    features[:, :, 0] += torch.arange(4)
    flat = features.reshape(-1, width)
    first, others = flat[:, :1], flat[:, 1:]
    told = torch.cat([first, torch.eye(4, dtype=torch.float64).repeat(300, 1)], dim=1)
    others = others - told @ torch.linalg.lstsq(told, others).solution  # correlated with neither the step nor the first
    flat = torch.cat([first, others], 1)
    eraser = _eraser(flat.reshape(shape))
    assert eraser.rank == 1
    left = eraser(flat)
    np.testing.assert_allclose(left[:, 1:], flat[:, 1:], atol=1e-6)
    np.testing.assert_allclose(left[:, 0], first.mean(), atol=1e-6)


def test_a_factor_without_a_trace_leaves_everything() -> None:
    features = planted(30, 1, 4).expand(-1, 3, -1)
    eraser = _eraser(features)
    assert eraser.rank == 0
    assert torch.equal(eraser(features), features)


def test_directions_are_those_of_the_generalised_eigenproblem() -> None:
    moments = moments_of(planted(500, 6, 5))
    found = ordered_directions(moments.mean, moments.total, moments.changed)
    expected = scipy.linalg.eigh(moments.changed.numpy(), moments.total.numpy(), eigvals_only=True)
    np.testing.assert_allclose(found.share, expected, atol=1e-9)
    np.testing.assert_allclose(found.reads.T @ moments.total @ found.reads, np.eye(5), atol=1e-8)
    np.testing.assert_allclose(found.writes @ found.reads.T, np.eye(5), atol=1e-8)
    assert float(found.variance.sum()) == pytest.approx(float(moments.total.trace()))
    assert float(found.variance @ found.share) == pytest.approx(float(moments.changed.trace()))
    assert found.share[-2:].min() > 0.7  # the planted circle
    assert found.share[:-2].max() < 0.2
    # An invertible map of the features changes no share.
    mixing = torch.randn(5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    total, changed = (mixing.T @ one @ mixing for one in (moments.total, moments.changed))
    np.testing.assert_allclose(ordered_directions(moments.mean, total, changed).share, found.share, atol=1e-8)


def test_directions_of_features_that_vary_in_few() -> None:
    features = planted(10, 3, 4)
    wide = torch.cat([features, features[..., :2] @ torch.ones(2, 30, dtype=torch.float64)], dim=-1)
    moments = moments_of(wide)
    found = ordered_directions(moments.mean, moments.total, moments.changed)
    assert found.reads.shape == (34, 4)
    back = (wide - moments.mean) @ found.reads @ found.writes.T + moments.mean
    np.testing.assert_allclose(back, wide, atol=1e-7)


def test_what_is_taken_out_is_gone_and_the_rest_stays() -> None:
    features = planted(200, 6, 5)
    moments = moments_of(features)
    found = ordered_directions(moments.mean, moments.total, moments.changed)
    left = found.without(torch.tensor([4, 3]))(features)
    read = (left - moments.mean) @ found.reads
    np.testing.assert_allclose(read[..., 3:], 0, atol=1e-9)
    np.testing.assert_allclose(read[..., :3], ((features - moments.mean) @ found.reads)[..., :3], atol=1e-9)
    # Of what the factor makes, in whitened features, what is left is the shares of the directions that stay.
    after = moments_of((features - moments.mean) @ found.reads - read)
    assert float(after.changed.trace()) == pytest.approx(float(found.share[3:].sum()), rel=1e-9)
