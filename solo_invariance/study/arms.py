"""A study's numbers as its figures need them: by arm, by seeds, and by kind of change."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from scipy.stats import rankdata

from solo_invariance.config.claims import members_of
from solo_invariance.results.study import StudyResult
from solo_invariance.study.table import Instance

Seeds = tuple[int, ...]


class Numbers:
    """The numbers of a study.

    Args:
        study: As ``study.json`` has it.
    """

    def __init__(self, study: StudyResult) -> None:
        self._study = study
        self._kinds = {name: one.kind or "" for name, one in study.quantities.items()}

    def arms(self, *roles: str) -> list[str]:
        """Return the arms of some roles, role by role."""
        return [name for role in roles for name, arm in self._study.arms.items() if arm.role == role]

    def beginning(self, of: str) -> list[str]:
        """Return the quantities ``of/...``."""
        return [name for name in self._kinds if name.startswith(f"{of}/")]

    def kinds(self, of: str) -> list[str]:
        """Return the kinds of the quantities ``of/...``."""
        return list(dict.fromkeys(self._kinds[name] for name in self.beginning(of)))

    def of_kind(self, of: str, kind: str) -> list[str]:
        """Return the quantities ``of/...`` of one kind."""
        return [name for name in self.beginning(of) if self._kinds[name] == kind]

    def values(self, arm: str, name: str) -> dict[Seeds, float]:
        """Return the number of each backbone of an arm, of a kind of quantities their mean, by its seeds."""
        numbers = self._study.numbers.get(arm, {})
        members = [{one.seeds: one.value for one in numbers.get(member, ())} for member in members_of(name, self._kinds)]
        shared = [seeds for seeds in (members[0] if members else {}) if all(seeds in one for one in members)]
        return {seeds: statistics.fmean(one[seeds] for one in members) for seeds in shared}

    def of_unit(self, unit: str) -> list[float]:
        """Return all numbers of a unit."""
        names = {name for name, one in self._study.quantities.items() if one.unit == unit}
        return [
            one.value
            for quantities in self._study.numbers.values()
            for name, numbers in quantities.items()
            if name in names
            for one in numbers
        ]

    def pairs(self, arm: str, across: str, up: str) -> Iterator[tuple[Instance, tuple[float, float]]]:
        """Yield two quantities of each backbone of an arm that has both."""
        first, second = self.values(arm, across), self.values(arm, up)
        for seeds in first:
            if seeds in second:
                yield Instance(arm, seeds), (first[seeds], second[seeds])

    def mean_ranks(self, of: str) -> dict[str, dict[int, float]]:
        """Return the mean rank of each arm over the tasks ``of/...``, by seed: 1 is the best.

        Arms are ranked among all that are of one seed and have all tasks by that seed: trained ones, wide ones and
        fusions. Equal scores share their ranks.
        """
        tasks, arms = self.beginning(of), self.arms("trained", "wide", "fusion")
        found: dict[str, dict[int, float]] = {arm: {} for arm in arms}
        for seed in self._study.seeds if tasks else ():
            scores = {arm: [self.values(arm, task).get((seed,)) for task in tasks] for arm in arms}
            known = {arm: [one for one in row if one is not None] for arm, row in scores.items() if None not in row}
            for arm, rank in zip(known, _ranks(list(known.values())), strict=True):
                found[arm][seed] = rank
        return {arm: ranks for arm, ranks in found.items() if ranks}


def _ranks(scores: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean rank of each row over the columns; the largest is the first."""
    columns = [rankdata([-row[column] for row in scores]) for column in range(len(scores[0]) if scores else 0)]
    return [statistics.fmean(float(ranks[index]) for ranks in columns) for index in range(len(scores))]
