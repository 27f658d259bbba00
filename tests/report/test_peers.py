"""Who cannot be told from the best on any task, by paired differences."""

from pathlib import Path

import numpy as np
import pytest

from solo_invariance.report.collect import collect_results
from solo_invariance.report.headline import headline
from tests.report.planted import write_scored

_TARGETS = np.random.default_rng(0).integers(0, 10, 200)


def _write(folder: Path, label: str, counts: dict[str, int]) -> None:
    for task, count in counts.items():
        predictions = np.where(np.arange(200) < count, _TARGETS, (_TARGETS + 1) % 10)
        write_scored(folder / label / task, label, task, predictions, _TARGETS)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        # One image behind on both: nobody can tell, and they share the first place.
        (139, "a and b share the first place on average over 2 tasks (mean rank 1.50)."),
        # Fifteen images of 200 that a alone gets right: intervals of 0.70 and 0.625 overlap, the paired one has no 0.
        (125, "a is the best on average over 2 tasks (mean rank 1.00)."),
    ],
)
def test_overlapping_intervals_hide_no_paired_difference(tmp_path: Path, second: int, said: str) -> None:
    _write(tmp_path, "a", {"x": 140, "y": 140})
    _write(tmp_path, "b", {"x": second, "y": second})
    _write(tmp_path, "c", {"x": 60, "y": 60})
    results = collect_results([tmp_path])
    first, other, _ = (row.transfer[0].score for row in results.rows)
    assert first.overlaps(other)
    assert ["".join(parts) for parts in headline(results)] == [said]


def test_whom_the_best_cannot_be_told_from_on_any_task_is_named(tmp_path: Path) -> None:
    """Four images of 200 between neighbours are not sure, eight between a and c are: only a is sure to be before c."""
    for label, count in (("a", 150), ("b", 146), ("c", 142)):
        _write(tmp_path, label, {"x": count, "y": count})
    assert ["".join(parts) for parts in headline(collect_results([tmp_path]))] == [
        "a is the best on average over 2 tasks (mean rank 1.50), but b is not distinguishable from it on any of them."
    ]
