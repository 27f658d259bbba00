from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from solo_invariance.errors import UserError
from solo_invariance.measure import PartialResultFiles, PartialResults
from solo_invariance.measure.loop.partial_results import PartialResult

_KEY = ("hue", "", "similarity")


def _scores(rows: Sequence[int]) -> Tensor:
    """States that tell which row they are of."""
    return torch.tensor([[10.0 * row, 10.0 * row + 1] for row in rows]).reshape(-1, 2)


def _part(
    rows: Sequence[int], unreadable: Sequence[int] = (), names: Sequence[str] = ("hue",), most: int = 10**9
) -> PartialResult:
    kept = [row for row in rows if row not in unreadable]
    states = {
        (name, block, metric, "rows"): _scores([row for row in kept if row < (most if metric == "capped" else 10**9)])
        for name in names
        for block in ("", "deep/layer")
        for metric in ("similarity", "capped")
    }
    states = {key: state for key, state in states.items() if len(state)}
    return PartialResult(names, rows, unreadable, states, [f"{row}.png" for row in unreadable])


@pytest.fixture(params=["memory", "files"])
def new_parts(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], PartialResults]:
    """Make empty parts, in memory or in a directory of their own."""
    made: list[PartialResults] = []

    def new() -> PartialResults:
        made.append(PartialResults() if request.param == "memory" else PartialResultFiles(tmp_path / str(len(made))))
        return made[-1]

    return new


def test_parts_merge_in_any_order_to_states_in_the_order_of_rows(new_parts) -> None:
    pieces = [_part([4, 5, 6], [5]), _part([0, 2]), _part([1, 3, 9]), _part([7, 8], [7, 8])]
    for order in permutations(pieces):
        parts = new_parts()
        for piece in order:
            parts.add(piece)
        assert parts.done("hue") == set(range(10))
        assert parts.rows("hue").tolist() == [0, 1, 2, 3, 4, 6, 9]
        (found,) = parts.states(_KEY).items()
        assert found[0] == "rows"
        assert torch.equal(found[1], _scores([0, 1, 2, 3, 4, 6, 9]))
        assert parts.left_out("hue") == ["5.png", "7.png", "8.png"]


def test_a_metric_that_is_given_the_first_rows_only_has_states_of_these(new_parts) -> None:
    parts = new_parts()
    for rows, unreadable in (([8, 9], ()), ([0, 1, 2], (1,)), ([3, 4, 5, 6, 7], (4,))):
        parts.add(_part(rows, unreadable, most=6))
    assert parts.rows("hue").tolist() == [0, 2, 3, 5, 6, 7, 8, 9]
    assert torch.equal(parts.states(("hue", "", "capped"))["rows"], _scores([0, 2, 3, 5]))
    assert torch.equal(parts.states(_KEY)["rows"], _scores([0, 2, 3, 5, 6, 7, 8, 9]))


def test_names_and_blocks_are_kept_apart(new_parts) -> None:
    parts = new_parts()
    parts.add(_part([0, 1], names=["hue", "hue_shift"]))
    parts.add(_part([2], [2], names=["hue"]))
    parts.add(_part([5], names=["hue_shift"]))
    assert (parts.done("hue"), parts.done("hue_shift"), parts.done("blur")) == ({0, 1, 2}, {0, 1, 5}, set())
    assert parts.rows("hue_shift").tolist() == [0, 1, 5]
    assert (parts.left_out("hue"), parts.left_out("hue_shift")) == (["2.png"], [])
    assert torch.equal(parts.states(("hue", "deep/layer", "similarity"))["rows"], _scores([0, 1]))
    assert parts.states(("hue", "deep", "similarity")) == {}
    assert parts.states(("hue", "", "sim")) == {}
    assert len(parts.rows("blur")) == 0


def test_whole_numbers_stay_whole_and_others_are_float32(new_parts) -> None:
    parts = new_parts()
    ids = torch.tensor([2**40, 7])
    scores = torch.tensor([[0.1], [0.2]], dtype=torch.float64)
    parts.add(PartialResult(["hue"], [3, 4], [], {(*_KEY, "images"): ids, (*_KEY, "rows"): scores}))
    states = parts.states(_KEY)
    assert torch.equal(states["images"], ids)
    assert torch.equal(states["rows"], scores.float())


def test_parts_can_be_dropped(new_parts) -> None:
    parts = new_parts()
    parts.add(_part([0]))
    parts.drop(lambda name: True)
    assert parts.done("hue") == set()


def test_parts_of_what_is_not_finished_are_kept(new_parts) -> None:
    parts = new_parts()
    for rows, names in (([0, 1], ["hue"]), ([2], ["hue", "blur"]), ([3], ["blur"]), ([4], ["scale"])):
        parts.add(_part(rows, names=names))
    parts.drop(lambda name: name in ("hue", "scale"))
    assert (parts.done("hue"), parts.done("blur"), parts.done("scale")) == ({2}, {2, 3}, set())


def test_another_process_goes_on_with_the_files_of_one_that_died(tmp_path: Path) -> None:
    PartialResultFiles(tmp_path / "parts").add(_part([0, 1, 2], [1]))
    later = PartialResultFiles(tmp_path / "parts")
    assert later.done("hue") == {0, 1, 2}
    later.add(_part([3]))
    assert torch.equal(PartialResultFiles(tmp_path / "parts").states(_KEY)["rows"], _scores([0, 2, 3]))
    later.drop(lambda name: True)
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_directory_that_is_not_there_has_no_parts(tmp_path: Path) -> None:
    assert PartialResultFiles(tmp_path / "nowhere").done("hue") == set()


def test_units_of_the_same_rows_and_other_names_do_not_overwrite_each_other(tmp_path: Path) -> None:
    parts = PartialResultFiles(tmp_path)
    for names in (["hue"], ["blur"], ["hue_shift", "scale"]):
        parts.add(_part([0, 1, 5], names=names))
    parts.add(_part([0, 2, 5], names=["blur_more"]))
    assert len(list(tmp_path.glob("rows-*.npz"))) == 4
    assert parts.done("blur") == {0, 1, 5}


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 and no more"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    parts = PartialResultFiles(tmp_path)
    parts.add(_part([0, 1]))
    (path,) = tmp_path.glob("rows-*.npz")
    path.write_bytes(content)
    with pytest.raises(
        UserError,
        match=rf"{path.name}: cannot be read, truncated or no file of arrays; remove it, and what it held is measured",
    ):
        parts.done("hue")


def test_a_file_that_was_cut_off_is_named(tmp_path: Path) -> None:
    parts = PartialResultFiles(tmp_path)
    parts.add(_part(list(range(100))))
    (path,) = tmp_path.glob("rows-*.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=path.name):
        parts.rows("hue")


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    parts = PartialResultFiles(tmp_path)
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        parts.add(_part([0]))
    assert parts.done("hue") == set()
    assert list(tmp_path.iterdir()) == []


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    parts = PartialResultFiles(tmp_path)
    noise = torch.rand(50, 40, generator=torch.Generator().manual_seed(0))
    parts.add(PartialResult(["hue"], list(range(50)), [], {(*_KEY, "rows"): noise}))
    (path,) = tmp_path.glob("rows-*.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError, match=path.name):
        np.asarray(parts.states(_KEY)["rows"])


def test_a_state_that_is_not_what_was_written_is_noticed(tmp_path: Path) -> None:
    parts = PartialResultFiles(tmp_path)
    parts.add(PartialResult(["hue"], [0, 1], [], {(*_KEY, "rows"): torch.ones(2, 3)}))
    (path,) = tmp_path.glob("rows-*.npz")
    with np.load(path) as arrays:
        changed = {name: array.T if array.shape == (2, 3) else array for name, array in arrays.items()}
    np.savez(path, **changed)
    with pytest.raises(UserError, match=rf"{path.name}: '.*rows' in it is not what was written; remove it"):
        parts.states(_KEY)
