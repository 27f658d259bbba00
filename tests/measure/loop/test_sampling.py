import math

import pytest
import torch
from torch import Tensor

from solo_invariance.measure.loop.sampling import AdaptiveSampling, FullSampling

_GOLDEN = (1 + math.sqrt(5)) / 2


def _weights(sampling: FullSampling, row: int, count_identity: bool) -> list[float]:
    return sampling.weights(sampling.indices(row)[None], count_identity=count_identity)[0].tolist()


def _smooth(num_parameters: int) -> Tensor:
    """A function of the grid that no sum of few of its values gives by symmetry."""
    places = torch.arange(num_parameters, dtype=torch.float64) / num_parameters
    return (2 * math.pi * places).cos() + places


def _grid_mean(scores: Tensor, identity: int | None, count_identity: bool) -> float:
    kept = [index for index in range(len(scores)) if count_identity or index != identity or len(scores) == 1]
    return float(scores[kept].mean())


@pytest.mark.parametrize(
    ("size", "identity", "count_identity", "expected"),
    [
        (4, None, False, [1 / 4] * 4),
        (4, None, True, [1 / 4] * 4),
        (4, 2, False, [1 / 3, 1 / 3, 0, 1 / 3]),
        (4, 2, True, [1 / 4] * 4),
        (2, 0, False, [0, 1]),
        (1, 0, False, [1]),
        (1, 0, True, [1]),
    ],
)
def test_full_weights_leave_the_identity_out_unless_it_counts(size, identity, count_identity, expected) -> None:
    sampling = FullSampling(size, identity)
    assert sampling.indices(5).tolist() == list(range(size))
    assert sampling.num_views == size
    assert _weights(sampling, 5, count_identity) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("size", "identity", "count_identity", "expected"),
    [
        (2, 0, False, [1, 0]),
        (2, 0, True, [1 / 2, 1 / 2]),
        (7, 3, True, [1 / 7] * 7),
        (256, 9, False, [1 / 4] * 4 + [0]),
        (256, 9, True, [255 / 256 / 4] * 4 + [1 / 256]),
        (256, None, True, [1 / 4] * 4),
        (1, 0, False, [1]),
    ],
)
def test_adaptive_weights_give_the_identity_the_share_that_it_has_in_the_grid(
    size, identity, count_identity, expected
) -> None:
    assert _weights(AdaptiveSampling(size, identity, seed=0), 3, count_identity) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("count_identity", [False, True])
@pytest.mark.parametrize(("size", "identity"), [(1, 0), (1, None), (2, 0), (2, None), (7, 3), (8, None), (9, 8)])
def test_a_small_grid_is_measured_whole_in_every_row(size, identity, count_identity) -> None:
    sampling, scores = AdaptiveSampling(size, identity, seed=1), _smooth(size)
    for row in (0, 1, 17, 10_000):
        indices = sampling.indices(row)
        assert sorted(indices.tolist()) == list(range(size))
        mean = (scores[indices] * sampling.weights(indices[None], count_identity=count_identity)[0]).sum()
        assert float(mean) == pytest.approx(_grid_mean(scores, identity, count_identity), abs=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("count_identity", [False, True])
@pytest.mark.parametrize(("size", "identity"), [(9, None), (10, 4), (255, 0), (256, None), (256, 100), (257, 256)])
def test_means_over_rows_are_those_of_the_grid(size, identity, count_identity, seed) -> None:
    """By Koksma's inequality: the error is at most the variation of a row's mean, as a function of its start, times the
    discrepancy of the starts, N D_N <= 3 + (1 / ln golden + 1 / ln 2) ln N (Kuipers & Niederreiter 1974, "Uniform
    Distribution of Sequences", chapter 2, theorems 3.4 and 5.1)."""
    sampling, scores, rows = AdaptiveSampling(size, identity, seed), _smooth(size), 2000
    indices = torch.stack([sampling.indices(row) for row in range(rows)])
    means = (scores[indices] * sampling.weights(indices, count_identity=count_identity)).sum(dim=1)
    discrepancy = (3 + (1 / math.log(_GOLDEN) + 1 / math.log(2)) * math.log(rows)) / rows
    variation = float(scores.diff().abs().sum()) / sampling.num_views
    assert float(means.mean()) == pytest.approx(
        _grid_mean(scores, identity, count_identity), abs=variation * discrepancy
    )


@pytest.mark.parametrize("first", [0, 1, 5000])
@pytest.mark.parametrize(("size", "identity"), [(2, 0), (9, None), (10, 0), (81, 40), (255, 3), (256, None), (1000, 7)])
def test_every_parameter_is_measured_after_so_many_rows(size, identity, first) -> None:
    for seed in range(5):
        sampling = AdaptiveSampling(size, identity, seed)
        seen = {int(i) for row in range(first, first + sampling.rows_to_cover) for i in sampling.parameters(row)}
        assert seen == set(range(size)) - {identity}


def test_the_rows_to_cover_are_hardly_more_than_there_must_be() -> None:
    sampling = AdaptiveSampling(257, 0, seed=0)
    assert (sampling.num_views, sampling.visits, sampling.rows_to_cover) == (4, 64, 128)
    assert (AdaptiveSampling(9, 0, seed=0).num_views, AdaptiveSampling(10, 0, seed=0).num_views) == (8, 4)


@pytest.mark.parametrize(("size", "identity"), [(2, 0), (7, 6), (100, 99), (256, 40)])
def test_no_view_is_made_of_the_identity_though_every_row_has_it(size, identity) -> None:
    sampling = AdaptiveSampling(size, identity, seed=3)
    assert sampling.adds_identity
    for row in range(200):
        assert identity not in sampling.parameters(row)
        assert len(sampling.parameters(row)) == sampling.num_views
        assert sampling.indices(row).tolist() == [*sampling.parameters(row).tolist(), identity]


@pytest.mark.parametrize("count_identity", [False, True])
@pytest.mark.parametrize(("size", "drawn"), [(2, 1), (7, 6), (256, 4)])
def test_an_identity_that_changes_something_after_all_is_made_and_weighed_as_any(size, drawn, count_identity) -> None:
    inexact, exact = (AdaptiveSampling(size, 1, seed=3, exact=exact) for exact in (False, True))
    assert (inexact.num_views, exact.num_views) == (drawn + 1, drawn)
    assert not inexact.adds_identity
    for row in range(50):
        assert inexact.parameters(row).tolist() == inexact.indices(row).tolist() == exact.indices(row).tolist()
        assert _weights(inexact, row, count_identity) == _weights(exact, row, count_identity)


@pytest.mark.parametrize(("size", "identity"), [(9, None), (10, 4), (100, 99), (256, None), (257, 0)])
def test_strata_are_of_neighbours_and_of_about_one_size(size, identity) -> None:
    strata = AdaptiveSampling(size, identity, seed=0).strata
    assert strata is not None
    others = [int(strata[index]) for index in range(size) if index != identity]
    assert others == sorted(others)
    sizes = [others.count(stratum) for stratum in {*others}]
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == min(16, len(others))
    assert identity is None or int(strata[identity]) not in others


@pytest.mark.parametrize(("size", "identity"), [(2, 0), (8, None), (9, 3)])
def test_where_every_row_has_every_parameter_there_are_no_strata(size, identity) -> None:
    assert AdaptiveSampling(size, identity, seed=0).strata is None
    assert FullSampling(256, 0).strata is None


@pytest.mark.parametrize("identity", [None, 100])
def test_a_rows_parameters_are_evenly_spaced(identity) -> None:
    sampling = AdaptiveSampling(256, identity, seed=5)
    for row in range(100):
        steps = (sampling.parameters(row)).diff()
        assert steps.min() >= 63
        assert steps.max() <= 65


def test_a_seed_gives_one_sampling_and_another_seed_another() -> None:
    first, again, other = (AdaptiveSampling(256, None, seed) for seed in (1, 1, 2))
    rows = range(20)
    assert all(torch.equal(first.parameters(row), again.parameters(row)) for row in rows)
    assert not all(torch.equal(first.parameters(row), other.parameters(row)) for row in rows)
