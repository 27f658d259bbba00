"""A study's numbers as its figures need them: by arm, by seeds, and by kind of change."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from solo_invariance.config.claims import members_of
from solo_invariance.results.study import StudyResult
from solo_invariance.study.by_seed import RANKED, BySeed, Seeds
from solo_invariance.study.table import Instance, Table


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
        members = [
            {one.seeds: one.value for one in numbers.get(member, ())} for member in members_of(name, self._kinds)
        ]
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
        """Return the mean rank of each arm over the tasks ``of/...``, by seed; 1 is the best, and equals share it.

        Trained arms, wide and shaped ones and fusions are ranked, in the seeds that all of them have.
        """
        tasks = self.beginning(of)
        if not tasks:
            return {}
        by_seed = BySeed(Table.of(self._study))
        seeds_of = {arm: seeds for arm in self.arms(*RANKED) if (seeds := by_seed.seeds(arm, tasks))}
        shared = tuple(sorted(frozenset.intersection(*seeds_of.values()))) if seeds_of else ()
        ranks = {arm: by_seed.of(arm, (f"rank/{of}",), shared) for arm in seeds_of} if shared else {}
        return {arm: {seed: -float(rank[0]) for (seed,), rank in one.items()} for arm, one in ranks.items()}
