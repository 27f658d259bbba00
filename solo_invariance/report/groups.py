"""Rows that are one thing with several seeds, and what they have in common: their mean and spread."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from solo_invariance.report.collect import Results, Row
from solo_invariance.report.grids import Column, Grid
from solo_invariance.report.leaders import MOST_IN_FULL, leaders

FEWEST_FOLDED = 6
"""Of fewer rows, each is shown by itself; of as many, rank correlations are shown, for which seeds are no backbones."""

_SEED = re.compile(r"[\s_,/(-]*(?<![a-z])seeds?[\s_=-]*\d+(?:-\d+)*(?![a-z0-9])\)?", re.IGNORECASE)


class Group(NamedTuple):
    """The backbones that differ in nothing but their seed, as far as their labels and their runs' arguments say."""

    label: str
    rows: tuple[Row, ...]

    @property
    def is_folded(self) -> bool:
        """Whether there is more than one."""
        return len(self.rows) > 1


class Spread(NamedTuple):
    """The mean over some backbones, their standard deviation, and how many they are."""

    mean: float
    deviation: float
    num_backbones: int


def groups_of(rows: Sequence[Row]) -> list[Group]:
    """Return the rows in groups of one label, in which seeds do not count, in the order of their first rows.

    Runs of several seeds have one label, to which the report adds their directories, or labels with a part such as
    ``seed3`` or ``seed=3``. Backbones with labels of their own are a group where results say that they are of one
    family, one architecture and width, and of different seeds.
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(_SEED.sub("", row.files[0].label) or row.label, []).append(row)
    alike = _by_arguments([group[0] for group in found.values() if len(group) == 1])
    members = {row.label: (family, group) for family, group in alike.items() if family not in found for row in group}
    together: dict[str, list[Row]] = {}
    for label, group in found.items():
        if len(group) == 1:
            label, group = members.get(group[0].label, (group[0].label, group))
        together.setdefault(label, group)
    return [Group(label, tuple(group)) for label, group in together.items()]


def _by_arguments(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return rows by the family that their runs' arguments name, where all of it are one network with several seeds."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        if row.backbone.family is not None and row.backbone.seed is not None:
            families.setdefault(row.backbone.family, []).append(row)
    return {
        family: of_family
        for family, of_family in families.items()
        if len({row.backbone.seed for row in of_family}) == len(of_family) > 1
        and len({(row.role, row.backbone.name, row.backbone.num_features, row.backbone.layer) for row in of_family})
        == 1
    }


def folded(rows: Sequence[Row]) -> list[Group]:
    """Return the rows as they are shown: in groups where they are many and there are groups, else one by one."""
    groups = groups_of(rows)
    if len(rows) < FEWEST_FOLDED or not any(group.is_folded for group in groups):
        return [Group(row.label, (row,)) for row in rows]
    return groups


def shown_groups(results: Results) -> list[Group]:
    """Return the groups that are shown: all, where they are not more than anybody reads, or else the rows that lead."""
    groups = folded(results.rows)
    if len(groups) <= MOST_IN_FULL:
        return groups
    return [Group(row.label, (row,)) for row in leaders(results)]


def spread(grid: Grid, rows: Iterable[Row], column: Column) -> Spread | None:
    """Return the mean and the standard deviation of a column over some rows, None where none of them has it."""
    cells = [grid.cells.get(row.label, {}).get(column) for row in rows]
    means = [cell.estimate.mean for cell in cells if cell]
    return spread_of(means) if means else None


def spread_of(values: Sequence[float]) -> Spread:
    """Return the mean and the standard deviation, with n - 1, of one number or several; the latter of one is 0."""
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))
