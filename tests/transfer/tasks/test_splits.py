import numpy as np
import pytest
import torch

from solo_invariance.data.images import TensorImages
from solo_invariance.errors import UserError
from solo_invariance.transfer.tasks import Split, TaskSettings
from solo_invariance.transfer.tasks.splits import draw, draw_rows, select, shuffle_split, stratified_split


def _split(targets: torch.Tensor) -> Split:
    values = torch.arange(len(targets), dtype=torch.uint8)
    return Split(TensorImages(values[:, None, None, None].expand(-1, 3, 2, 2)), targets)


def _seen(split: Split) -> list[int]:
    return [int(split.images[index][0, 0, 0]) for index in range(len(split.images))]  # type: ignore[index]


def test_a_shuffled_split_is_that_of_the_official_code() -> None:
    order = np.arange(600)
    np.random.RandomState(0).shuffle(order)
    train, test = shuffle_split(600, 0.6, seed=0)
    assert {*train} == {*order[:360]}
    assert {*test} == {*order[360:]}
    assert not np.array_equal(train, shuffle_split(600, 0.6, seed=1)[0])


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_cannot_be_split(count: int) -> None:
    with pytest.raises(UserError, match=f"{count} images are too few"):
        shuffle_split(count, 0.6, seed=0)


def test_a_stratified_split_has_the_same_share_of_each_class() -> None:
    classes = torch.tensor([0] * 100 + [1] * 20 + [2] * 2).repeat(2)[torch.randperm(244)]
    train, test = stratified_split(classes, 0.3, seed=3)
    assert sorted([*train, *test]) == list(range(244))
    assert classes[test].bincount().tolist() == [60, 12, 1]
    again = stratified_split(classes, 0.3, seed=3)
    assert np.array_equal(test, again[1])
    assert not np.array_equal(test, stratified_split(classes, 0.3, seed=4)[1])


def test_select_takes_images_with_their_targets() -> None:
    split = select(_split(torch.tensor([10.0, 11.0, 12.0, 13.0])), np.array([3, 0, 3]))
    assert _seen(split) == [3, 0, 3]
    assert split.targets.tolist() == [13.0, 10.0, 13.0]


def test_draws_are_without_replacement_in_the_shares_of_the_classes() -> None:
    classes = torch.tensor([0] * 60 + [1] * 30 + [2] * 9 + [3])
    drawn = draw(_split(classes), "num_train", TaskSettings(num_train=50, seed=0))
    assert len({*_seen(drawn)}) == 50
    assert torch.equal(drawn.targets, classes[_seen(drawn)])
    assert drawn.targets.bincount(minlength=4).tolist() == pytest.approx([30, 15, 4.5, 1], abs=1)
    assert draw(_split(classes), "num_train", TaskSettings(num_train=4)).targets.tolist() == [0, 1, 2, 3]


def test_draws_depend_on_the_seed_and_the_split_alone() -> None:
    split = _split(torch.rand(100, 2))
    drawn = _seen(draw(split, "num_train", TaskSettings(num_train=20, seed=0)))
    assert drawn == sorted(drawn) == _seen(draw(split, "num_train", TaskSettings(num_train=20, num_test=3, seed=0)))
    assert drawn != _seen(draw(split, "num_train", TaskSettings(num_train=20, seed=1)))
    assert drawn != _seen(draw(split, "num_test", TaskSettings(num_test=20, seed=0)))
    assert draw(split, "num_test", TaskSettings(num_train=20)) is split


def test_the_usual_number_is_taken_where_there_are_enough() -> None:
    assert len(draw_rows(np.arange(50), "num_train", TaskSettings(), usual=20)) == 20
    assert draw_rows(np.arange(10), "num_train", TaskSettings(), usual=20).tolist() == list(range(10))
    assert len(draw_rows(np.arange(50), "num_train", TaskSettings(num_train=30), usual=20)) == 30


@pytest.mark.parametrize("wanted", [0, -1, 11])
def test_more_than_there_are_is_an_error(wanted: int) -> None:
    with pytest.raises(UserError, match=rf"task\.num_test={wanted}: expected 1 to 10"):
        draw(_split(torch.zeros(10)), "num_test", TaskSettings(num_test=wanted))
