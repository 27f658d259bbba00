from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from solo_invariance.data.decoding import Unreadable
from solo_invariance.data.images import TensorImages
from solo_invariance.data.reading import ImageReader, ReadingPolicy
from solo_invariance.errors import UserError


class _Images(TensorImages):
    """Images of which each value says the index, and some of which cannot be read."""

    def __init__(self, count: int, broken: Sequence[int] = ()) -> None:
        super().__init__(torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 3, 2, 2))
        self.broken = {*broken}

    def __getitem__(self, index: int) -> Tensor | Unreadable:  # type: ignore[override]
        if index in self.broken:
            return Unreadable(Path(f"{index}.png"), f"{index}.png: not a readable image")
        return super().__getitem__(index)


def _read(reader: ImageReader, units: Sequence[Sequence[int]]) -> list[tuple[list[int], list[int]]]:
    return [(positions, [int(image[0, 0, 0]) for image in images]) for positions, images in reader.units(units)]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_units_come_in_order_with_the_places_of_what_could_be_read(workers: int) -> None:
    policy = ReadingPolicy(workers, "skip", max_unreadable=0.5)
    reader = ImageReader(_Images(20, [4, 7, 9]), policy, total=9)
    units = [[1, 4, 2], [7], [], [0, 3, 9, 8, 5]]
    assert _read(reader, units) == [([0, 2], [1, 2]), ([], []), ([], []), ([0, 1, 3, 4], [0, 3, 8, 5])]
    assert [str(one.path) for one in reader.unreadable] == ["4.png", "7.png", "9.png"]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_first_image_that_cannot_be_read_stops_the_work(workers: int) -> None:
    reader = ImageReader(_Images(9, [7, 4]), ReadingPolicy(workers), total=9)
    with pytest.raises(UserError, match=r"^4\.png: not a readable image; on_error=skip leaves such images out$"):
        _read(reader, [[0, 1], [2, 4, 7]])


@pytest.mark.parametrize(
    ("share", "total", "broken", "allowed"),
    [
        (0.0, 100, 0, True),
        (0.0, 100, 1, False),
        (0.01, 100, 1, True),
        (0.01, 100, 2, False),
        (0.01, 99, 1, False),
        (0.5, 20, 10, True),
        (0.5, 20, 11, False),
        (1.0, 20, 20, True),
    ],
)
def test_so_many_may_be_left_out_and_no_more(share: float, total: int, broken: int, allowed: bool) -> None:
    reader = ImageReader(_Images(100, range(broken)), ReadingPolicy(0, "skip", share), total)
    units = [list(range(start, min(start + 7, total))) for start in range(0, total, 7)]
    if allowed:
        assert sum(len(positions) for positions, _ in _read(reader, units)) == total - broken
        assert len(reader.unreadable) == broken
    else:
        with pytest.raises(UserError, match=f"images cannot be read, more than max_unreadable={share} of them: 0.png"):
            _read(reader, units)


def test_the_message_names_some_of_them() -> None:
    reader = ImageReader(_Images(50, range(50)), ReadingPolicy(0, "skip", 0.1), total=50)
    with pytest.raises(UserError) as error:
        _read(reader, [list(range(50))])
    assert str(error.value) == (
        "6 of 50 images cannot be read, more than max_unreadable=0.1 of them: 0.png, 1.png, 2.png, 3.png, 4.png, ..."
    )
