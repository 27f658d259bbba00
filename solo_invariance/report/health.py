"""The label-free health of backbones as a table: what their features are like, whatever they are invariant to."""

from __future__ import annotations

from solo_invariance.report.collect import Results
from solo_invariance.report.columns import Column
from solo_invariance.report.grids import Cell, Grid

_NOTES = {"rankme": "directions", "alpha_req": "exponent"}


def health_grid(results: Results) -> Grid:
    """Return the metrics of the features of every backbone that has some; no number is the best.

    RankMe compares runs of one method, and alpha-ReQ is best near 1: neither ranks backbones of all kinds.
    """
    rows = tuple(row for row in results.rows if row.health)
    names = dict.fromkeys(name for row in rows for name in row.health)
    columns = {name: Column(name, "features", _NOTES.get(name, "")) for name in names}
    cells = {row.label: {columns[name]: Cell(one, "") for name, one in row.health.items()} for row in rows}
    return Grid(rows, tuple(columns.values()), cells, decimals=2)
