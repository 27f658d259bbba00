"""Against what was planted: scores that are the sum of an image's own level and a stratum's."""

import torch

from solo_invariance.measure.loop.summary import post_stratified

_LEVELS = torch.tensor([1.0, -1.0, 2.0, -2.0], dtype=torch.float64)
_GRID_STRATA = torch.tensor([0, 0, 0, 1])
_GRID_WEIGHTS = torch.full((4,), 0.25, dtype=torch.float64)
_HALVES = torch.full((4, 2), 0.5, dtype=torch.float64)


def _terms(strata: torch.Tensor) -> torch.Tensor:
    of_stratum = torch.tensor([10.0, 50.0], dtype=torch.float64)
    return (_LEVELS[:, None] + of_stratum[strata])[..., None]


def test_rows_are_as_if_each_had_seen_the_whole_grid() -> None:
    """Three parameters of four score 10 and one scores 50: 20 in the mean, whichever stratum a row happened to see."""
    strata = torch.tensor([[0, 0], [0, 0], [1, 1], [1, 1]])
    found = post_stratified(_terms(strata), _HALVES, strata, _GRID_WEIGHTS, _GRID_STRATA)
    torch.testing.assert_close(found[:, 0], _LEVELS + 20)


def test_a_stratum_that_nobody_saw_is_taken_to_be_like_the_others() -> None:
    strata = torch.zeros(4, 2, dtype=torch.int64)
    found = post_stratified(_terms(strata), _HALVES, strata, _GRID_WEIGHTS, _GRID_STRATA)
    torch.testing.assert_close(found[:, 0], _LEVELS + 10)
