from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_invariance.report.collect import collect_results
from solo_invariance.report.drawing.whiskers import MARGIN, WIDTH, whiskers
from solo_invariance.report.grids import transfer_grid

Make = Callable[..., Any]


def test_the_intervals_of_a_column_share_a_scale_that_spans_them(tmp_path: Path, write_transfer: Make) -> None:
    write_transfer("a", "a", "shape", 0.2, 0.1)
    write_transfer("b", "b", "shape", 0.8, 0.1)
    ((_, column),) = whiskers(transfer_grid(collect_results([tmp_path]))).items()
    assert column["a"] == pytest.approx((MARGIN, MARGIN + (WIDTH - 2 * MARGIN) / 8, MARGIN + (WIDTH - 2 * MARGIN) / 4))
    assert column["b"].high == pytest.approx(WIDTH - MARGIN)


def test_a_single_exact_score_is_drawn(tmp_path: Path, write_transfer: Make) -> None:
    write_transfer("a", "a", "shape", 0.5, 0.0)
    ((_, column),) = whiskers(transfer_grid(collect_results([tmp_path]))).items()
    assert column["a"] == (MARGIN, MARGIN, MARGIN)
