import pytest
import torch

from solo_invariance.fuse import Projected, Standardized
from solo_invariance.fuse.select import forward_selection, head_of_width

_GENERATOR = torch.Generator().manual_seed(0)
_SIGNALS = torch.randn(300, 2, generator=_GENERATOR)


def _member(*signals: int, noise: float = 0.3, width: int = 4) -> torch.Tensor:
    columns = [_SIGNALS[:, [index]] for index in signals]
    return torch.cat([*columns, noise * torch.randn(300, width - len(columns), generator=_GENERATOR)], dim=1)


def _share_explained(features: torch.Tensor) -> float:
    """Of the sum of the two signals, by least squares."""
    target = _SIGNALS.sum(dim=1, keepdim=True)
    design = torch.cat([features, torch.ones(300, 1)], dim=1)
    residual = target - design @ torch.linalg.lstsq(design, target).solution
    return 1 - float(residual.square().mean() / target.var(correction=0))


def test_members_that_complement_each_other_are_found_and_no_more() -> None:
    members = [_member(noise=1.0), _member(0), _member(0), _member(1)]
    steps = forward_selection(members, lambda features: round(_share_explained(features), 1))
    assert {step.member for step in steps if step.accepted} in ({1, 3}, {2, 3})
    assert [step.accepted for step in steps] == [True, True, False]
    assert steps[1].score == pytest.approx(1.0)
    assert steps[1].gain == pytest.approx(steps[1].score - steps[0].score)
    assert set(steps[1].candidates) == {0, 1, 2, 3} - {steps[0].member}


def test_no_more_than_asked_for_are_chosen() -> None:
    steps = forward_selection([_member(0), _member(1)], _share_explained, max_members=1)
    assert len(steps) == 1


def test_of_equal_members_the_first_is_taken() -> None:
    steps = forward_selection([_member(0), _member(1)], lambda features: 0.5)
    assert [step.member for step in steps] == [0, 1]
    assert [step.accepted for step in steps] == [True, False]


def test_every_candidate_has_the_width_that_is_asked_for_where_it_can() -> None:
    widths = []

    def score(features: torch.Tensor) -> float:
        widths.append(features.shape[1])
        return float(len(widths))

    forward_selection([_member(0), _member(1), _member(0, width=8)], score, width=6)
    assert widths == [4, 4, 6, 6, 6, 6]


def test_a_width_below_the_members_projects() -> None:
    assert isinstance(head_of_width([4, 4], 6), Projected)
    assert isinstance(head_of_width([4, 4], 8), Standardized)
    assert isinstance(head_of_width([4, 4], None), Standardized)
