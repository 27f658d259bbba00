"""Moments of factors against NumPy, in any order and by any number of processes."""

import numpy as np
import pytest
import torch
from torch import Tensor

from solo_invariance.backbones.shaping import FactorMoments
from solo_invariance.shape.moments import ColumnSums, TransformSums

from .test_closed_forms import planted


def _equal(found: FactorMoments, expected: FactorMoments) -> None:
    for name, ours, theirs in zip(found._fields, found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9, err_msg=name)


def test_moments_of_a_transform_are_those_of_numpy() -> None:
    features, weights = planted(50, 6, 5) + 100, torch.arange(1, 7, dtype=torch.float64)
    sums = TransformSums(5, torch.eye(6), weights)
    sums.update(features[:20])
    sums.update(features[20:])
    share, values = (weights / weights.sum()).numpy(), features.numpy()
    apart = values - np.einsum("k,nkd->nd", share, values)[:, None]
    flat, counted = values.reshape(-1, 5), np.tile(share, 50)
    expected = FactorMoments(
        np.average(flat, axis=0, weights=counted),
        np.cov(flat.T, aweights=counted, bias=True),
        np.einsum("k,nkd,nke->de", share, apart, apart) / 50,
        values.mean(0),
        values.std(0),
        share,
        np.eye(6),
        50,
    )
    _equal(sums.compute(), expected)


def test_moments_of_a_column_are_those_of_numpy() -> None:
    features, values = planted(60, 1, 5)[:, 0] + 100, torch.arange(60) % 7 // 3
    sums = ColumnSums(5, 3)
    sums.update(features[:13], values[:13])
    sums.update(features[13:], values[13:])
    groups = [features[values == value].numpy() for value in range(3)]
    means = np.stack([group.mean(0) for group in groups])
    share = np.array([len(group) for group in groups]) / 60
    expected = FactorMoments(
        features.numpy().mean(0),
        np.cov(features.numpy().T, bias=True),
        np.cov(means.T, aweights=share, bias=True),
        means,
        np.stack([group.std(0) for group in groups]),
        share,
        np.eye(3),
        60,
    )
    _equal(sums.compute(), expected)


def test_a_value_without_an_image_is_an_error() -> None:
    sums = ColumnSums(2, 3)
    sums.update(torch.zeros(2, 2), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="value 1 has no image"):
        sums.compute()


@pytest.mark.parametrize("kind", ["transform", "column"])
def test_processes_that_share_the_images_have_the_sums_of_one(kind: str) -> None:
    features, values = planted(40, 3, 4), torch.arange(40) % 2

    def sums(rows: Tensor) -> TransformSums | ColumnSums:
        if kind == "transform":
            transform = TransformSums(4, torch.eye(3), torch.ones(3))
            transform.update(features[rows])
            return transform
        column = ColumnSums(4, 2)
        column.update(features[rows, 0], values[rows])
        return column

    alone, parts = sums(torch.arange(40)), [sums(torch.arange(40)[rank::3]) for rank in range(3)]
    together = parts[0]
    for state, how in together._reductions.items():  # as torchmetrics does over processes
        setattr(together, state, how(torch.stack([getattr(part, state) for part in parts])))
    together._computed = None
    _equal(together.compute(), alone.compute())
