import numpy as np
import pytest
import torch
from sklearn.model_selection import KFold

from solo_invariance.protocols import ProtocolName
from solo_invariance.regression.cross_validation import (
    assign_folds,
    check_penalties,
    choose_penalty,
    penalty_grid,
    redrawn_folds,
)


@pytest.mark.parametrize("protocol", ["clean", "paper"])
@pytest.mark.parametrize(("num_members", "low", "high"), [(1, -6, 5), (2, -4, 7), (3, -2, 9)])
def test_grid_is_the_papers(num_members: int, low: int, high: int, protocol: ProtocolName) -> None:
    grid = penalty_grid(num_members, protocol)
    assert len(grid) == 45
    assert torch.allclose(grid.log10().diff(), torch.tensor(11 / 44, dtype=torch.float64))
    assert grid[0].item() == pytest.approx(10.0**low)
    assert grid[-1].item() == pytest.approx(10.0**high)


def test_the_papers_grid_is_in_single_precision() -> None:
    assert penalty_grid(protocol="paper").tolist() == [penalty.item() for penalty in torch.logspace(-6, 5, 45)]
    assert not torch.equal(penalty_grid(protocol="paper"), penalty_grid())


def test_grid_refuses_no_members_and_unknown_protocols() -> None:
    with pytest.raises(ValueError, match="num_members=0, expected at least 1"):
        penalty_grid(0)
    with pytest.raises(ValueError, match="protocol='dirty', expected one of clean, paper"):
        penalty_grid(1, "dirty")  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "folds"), [(10, 5), (23, 5), (7, 7), (101, 2)])
def test_folds_differ_in_size_by_one_at_most(count: int, folds: int) -> None:
    sizes = assign_folds(count, folds, seed=0).bincount(minlength=folds)
    assert sizes.sum() == count
    assert sizes.max() - sizes.min() <= 1


def test_stratified_folds_deal_each_class_evenly() -> None:
    labels = torch.tensor([0] * 3 + [1] * 41 + [2] * 20 + [3] * 1)
    fold_of = assign_folds(len(labels), 5, seed=0, labels=labels)
    sizes = fold_of.bincount(minlength=5)
    assert sizes.tolist() == [13, 13, 13, 13, 13]
    for label in range(4):
        counts = fold_of[labels == label].bincount(minlength=5)
        assert counts.max() - counts.min() <= 1


def test_stratified_folds_are_shuffled_within_a_class() -> None:
    labels = torch.zeros(100, dtype=torch.int64)
    fold_of = assign_folds(100, 5, seed=0, labels=labels)
    assert not torch.equal(fold_of, torch.arange(100) % 5)


@pytest.mark.parametrize("labels", [None, torch.arange(60) % 7])
def test_folds_depend_on_the_seed_alone(labels: torch.Tensor | None) -> None:
    torch.manual_seed(1)
    first = assign_folds(60, 5, 3, labels)
    torch.manual_seed(2)
    assert torch.equal(assign_folds(60, 5, 3, labels), first)
    assert not torch.equal(assign_folds(60, 5, 4, labels), first)


@pytest.mark.parametrize(("count", "folds", "seed"), [(20, 5, 0), (23, 5, 7), (101, 2, 3)])
def test_redrawn_folds_are_those_of_scikit_learn(count: int, folds: int, seed: int) -> None:
    state = np.random.RandomState(seed)
    ours = redrawn_folds(count, folds, seed)
    for _ in range(3):
        expected = torch.empty(count, dtype=torch.int64)
        for fold, (_, held_out) in enumerate(KFold(folds, shuffle=True, random_state=state).split(np.zeros(count))):
            expected[held_out] = fold
        assert torch.equal(next(ours), expected)


@pytest.mark.parametrize("folds", [1, 11])
def test_impossible_numbers_of_folds_are_refused(folds: int) -> None:
    with pytest.raises(ValueError, match=f"folds={folds} for 10 images, expected at least 2 folds"):
        assign_folds(10, folds, seed=0)


def test_a_fold_may_need_several_images() -> None:
    assert assign_folds(10, 5, seed=0, at_least=2).bincount().tolist() == [2] * 5
    with pytest.raises(ValueError, match="folds=5 for 9 images, expected at least 2 folds, each of at least 2 images"):
        assign_folds(9, 5, seed=0, at_least=2)


def test_the_best_penalty_is_chosen_in_any_order() -> None:
    assert choose_penalty(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.1, 0.3, 0.2]), "clean") == 1


def test_of_equal_penalties_clean_takes_the_largest_and_paper_the_smallest() -> None:
    penalties, scores = torch.tensor([1.0, 10.0, 0.1, 100.0]), torch.tensor([0.9, 0.9, 0.9, 0.5])
    assert choose_penalty(penalties, scores, "clean") == 1
    assert choose_penalty(penalties, scores, "paper") == 2


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_penalties_must_be_finite_and_positive(bad: float) -> None:
    with pytest.raises(ValueError, match=f"penalty {bad}, expected finite and positive"):
        check_penalties(torch.tensor([1.0, bad]))


@pytest.mark.parametrize("shape", [(0,), (2, 2), ()])
def test_penalties_must_be_a_vector(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"penalties of shape .*, expected \(P,\)"):
        check_penalties(torch.ones(shape))
