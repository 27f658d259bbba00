"""The closed forms against planted factors, NumPy and SciPy, and their own definitions."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from solo_invariance.shape.closed_forms import centred, erasing, ordered_directions
from solo_invariance.shape.orbits import OrbitSums


def _planted(images: int, steps: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return features (N, K, D) with a step's trace (K, D) in two directions, mixed with what images vary by."""
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=draw, dtype=torch.float64)
    content = torch.randn(images, 1, width, generator=draw, dtype=torch.float64)
    noise = 0.3 * torch.randn(images, steps, width, generator=draw, dtype=torch.float64)
    angle = torch.arange(steps, dtype=torch.float64) * 2 * torch.pi / steps
    trace = torch.zeros(steps, width, dtype=torch.float64)
    trace[:, 0], trace[:, 1] = 3 * angle.cos(), 3 * angle.sin()
    return (content + noise + trace) @ mixing, trace @ mixing


def test_moments_of_orbits_are_those_of_numpy_whatever_the_batches() -> None:
    features, _ = _planted(50, 6, 5)
    weights = torch.arange(1, 7, dtype=torch.float64)
    sums, other = OrbitSums(5, weights, origin=features[0, 0]), OrbitSums(5, weights)
    sums.update(features[:20])
    sums.update(features[20:])
    other.update(features)
    share = (weights / weights.sum()).numpy()
    values = features.numpy()
    means = np.einsum("k,nkd->nd", share, values)
    apart = values - means[:, None]
    for found in (sums.compute(), other.compute()):
        assert found.num_images == 50
        np.testing.assert_allclose(found.mean, means.mean(0), atol=1e-10)
        np.testing.assert_allclose(found.steps, values.mean(0), atol=1e-10)
        np.testing.assert_allclose(found.between, np.cov(means.T, bias=True), atol=1e-9)
        np.testing.assert_allclose(found.within, np.einsum("k,nkd,nke->de", share, apart, apart) / 50, atol=1e-9)
        flat = values.reshape(-1, 5)
        np.testing.assert_allclose(found.total, np.cov(flat.T, aweights=np.tile(share, 50), bias=True), atol=1e-9)


@pytest.mark.parametrize("width", [5, 40])
def test_after_erasing_no_linear_probe_reads_the_step(width: int) -> None:
    features, _ = _planted(8, 4, width)  # of 40 features, 8 images at 4 steps span 31 directions
    sums = OrbitSums(width, torch.ones(4))
    sums.update(features)
    moments = sums.compute()
    eraser = erasing(moments.mean, moments.total, centred(moments.steps, moments.weights))
    assert eraser.rank == 3
    left = eraser(features)
    assert (left.mean(0) - left.mean((0, 1))).abs().max() < 1e-9 * features.abs().max()
    flat, step = left.reshape(-1, width).numpy(), np.tile(np.eye(4), (8, 1))
    weights, *_ = np.linalg.lstsq(flat - flat.mean(0), step - step.mean(0), rcond=1e-8)
    assert np.abs((flat - flat.mean(0)) @ weights).max() < 1e-6


def test_erasing_moves_features_as_little_as_its_constraints_allow() -> None:
    features, _ = _planted(400, 4, 6)
    flat = features.reshape(-1, 6)
    concept = torch.eye(4, dtype=torch.float64).repeat(400, 1)
    mean, covariance = flat.mean(0), torch.cov(flat.T, correction=0)
    cross = (flat - mean).T @ (concept - concept.mean(0)) / len(flat)
    eraser = erasing(mean, covariance, cross)
    moved = (eraser(flat) - flat).square().sum(1).mean()
    # Any other linear map that leaves no covariance: this one and more of any map that reads none of what is left.
    draw = torch.Generator().manual_seed(1)
    for _ in range(20):
        other = torch.randn(6, 6, generator=draw, dtype=torch.float64)
        left = eraser(flat) - mean
        nulled = other - other @ cross @ torch.linalg.pinv(cross)  # kills the concept's covariance, too
        changed = left + 0.05 * (flat - mean) @ nulled.T
        assert (changed.T @ (concept - concept.mean(0))).abs().max() / len(flat) < 1e-9
        assert ((changed + mean) - flat).square().sum(1).mean() >= moved - 1e-9


def test_directions_without_a_trace_are_left_alone() -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(300, 4, 8, generator=draw, dtype=torch.float64)
    features[:, :, 0] += torch.arange(4)
    features[..., 1:] -= features[..., 1:].mean(1, keepdim=True)  # no step differs but along the first
    features = features - features.mean((0, 1))
    flat = features.reshape(-1, 8)
    q, _ = torch.linalg.qr(flat)  # uncorrelated with each other, so that the first is alone in the trace
    flat = torch.cat([flat[:, :1], flat[:, 1:] - flat[:, :1] @ torch.linalg.lstsq(flat[:, :1], flat[:, 1:]).solution], 1)
    features = flat.reshape(300, 4, 8)
    sums = OrbitSums(8, torch.ones(4))
    sums.update(features)
    moments = sums.compute()
    cross = centred(moments.steps, moments.weights)
    cross[1:] = 0
    eraser = erasing(moments.mean, moments.total, cross)
    assert eraser.rank == 1
    assert (eraser(flat) - flat)[:, 1:].abs().max() < 1e-6 * flat.abs().max()
    assert (eraser(flat)[:, 0] - flat[:, 0].mean()).abs().max() < 1e-6


def test_directions_are_those_of_the_generalised_eigenproblem() -> None:
    features, _ = _planted(500, 6, 5)
    sums = OrbitSums(5, torch.ones(6))
    sums.update(features)
    moments = sums.compute()
    found = ordered_directions(moments.between, moments.within)
    expected = scipy.linalg.eigh(moments.within.numpy(), moments.total.numpy(), eigvals_only=True)
    np.testing.assert_allclose(found.share, expected, atol=1e-9)
    np.testing.assert_allclose(found.reads.T @ moments.total @ found.reads, np.eye(5), atol=1e-8)
    np.testing.assert_allclose(found.writes @ found.reads.T, np.eye(5), atol=1e-8)
    assert found.share[-2:].min() > 0.7  # the planted circle
    assert found.share[:-2].max() < 0.2
    # An invertible map of the features changes neither shares nor what is said of an image.
    mixing = torch.randn(5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    other = ordered_directions(mixing.T @ moments.between @ mixing, mixing.T @ moments.within @ mixing)
    np.testing.assert_allclose(other.share, found.share, atol=1e-8)


def test_directions_of_features_that_vary_in_few() -> None:
    features, _ = _planted(10, 3, 4)
    wide = torch.cat([features, features[..., :2] @ torch.ones(2, 30, dtype=torch.float64)], dim=-1)
    sums = OrbitSums(34, torch.ones(3))
    sums.update(wide)
    moments = sums.compute()
    found = ordered_directions(moments.between, moments.within)
    assert found.reads.shape == (34, 4)
    back = (wide - moments.mean) @ found.reads @ found.writes.T + moments.mean
    np.testing.assert_allclose(back, wide, atol=1e-7)
