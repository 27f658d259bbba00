"""Work of several processes: one that fails leaves none of the others waiting."""

from collections.abc import Callable
from typing import Any

import pytest

from solo_invariance.errors import SharedUserError, UserError
from solo_invariance.features.shared_work import in_each
from solo_invariance.processes import Processes


def _said(work: Callable[[Processes], Any]) -> Callable[[Processes], str]:
    def run(processes: Processes) -> str:
        with pytest.raises(SharedUserError) as raised:
            work(processes)
        return str(raised.value)

    return run


def test_what_each_makes_is_known_to_all(in_threads: Any) -> None:
    assert in_threads(3, lambda processes: in_each(processes, lambda: processes.rank**2)) == [[0, 1, 4]] * 3


@pytest.mark.parametrize("error", [UserError("no image"), OSError("no image")])
def test_what_fails_in_one_is_said_by_all(in_threads: Any, error: Exception) -> None:
    def work(processes: Processes) -> list[int]:
        def step() -> int:
            if processes.rank == 1:
                raise error
            return processes.rank

        return in_each(processes, step)

    expected = "no image" if isinstance(error, UserError) else "OSError: no image"
    assert in_threads(3, _said(work)) == [expected] * 3


@pytest.mark.parametrize("fails", ["before", "in the first", "between", "in the second", "after"])
def test_steps_within_a_step_end_together(in_threads: Any, fails: str) -> None:
    """One process fails at each point of a piece of work whose steps wait for the others."""

    def work(processes: Processes) -> Any:
        def at(place: str) -> None:
            if processes.rank == 1 and place == fails:
                raise UserError(f"failed {place}")

        def steps() -> None:
            at("before")
            in_each(processes, lambda: at("in the first"))
            at("between")
            in_each(processes, lambda: at("in the second"))
            at("after")

        return in_each(processes, steps)

    assert in_threads(3, _said(work)) == [f"failed {fails}"] * 3


def test_one_process_keeps_its_own_error() -> None:
    with pytest.raises(ZeroDivisionError):
        in_each(Processes(), lambda: 1 // 0)
