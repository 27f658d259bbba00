"""Which backbones see what others ignore, as a table of the page."""

from __future__ import annotations

from typing import NamedTuple

from solo_invariance.fuse.complementarity import complementarity
from solo_invariance.report.collect import Results, Row
from solo_invariance.report.columns import Quantity, readable
from solo_invariance.report.drawing import colours
from solo_invariance.report.grids import comparable_similarity

MOST = 0.5
"""The strong end of the ramp, on every page: half of what similarities can differ by, from 0 to 1."""


class Entry(NamedTuple):
    """How much one backbone sees of what another ignores, the step of the ramp, and what contributes most."""

    value: float
    level: int
    strongest: str | None


class Matrix(NamedTuple):
    """Who sees what whom ignores: rows ignore, columns see; None where a backbone meets itself."""

    labels: list[str]
    num_transforms: int
    rows: list[tuple[str, list[Entry | None]]]


def complementarity_matrix(results: Results) -> Matrix | None:
    """Return the matrix of the single backbones; None where there are no two that were measured on the same transforms.

    A fused backbone sees what its members see: it would say nothing about whom to fuse.
    """
    singles = [row for row in results.rows if row.transforms and not row.is_fused and row.role == "backbone"]
    quantity = comparable_similarity(singles)
    measured = {row.label: _means(row, quantity) for row in singles}
    try:
        found = complementarity(measured)
    except ValueError:
        return None
    rows = []
    for i, label in enumerate(found.labels):
        entries = [
            None if i == j else _entry(float(found.matrix[i, j]), found.strongest[i][j])
            for j in range(len(found.labels))
        ]
        rows.append((label, entries))
    return Matrix(found.labels, len(found.transforms), rows)


def _means(row: Row, quantity: Quantity) -> dict[str, float]:
    estimates = {name: getattr(transform, quantity) for name, transform in row.transforms.items()}
    return {name: estimate.mean for name, estimate in estimates.items()}


def _entry(value: float, strongest: str | None) -> Entry:
    return Entry(value, colours.level(value, 0.0, MOST), strongest and readable(strongest))
