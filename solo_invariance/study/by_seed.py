"""A study's numbers by the seeds that they are of: of arms, of ensembles of seeds, and ranks."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from solo_invariance.config.claims import RANKS, Role, members_of
from solo_invariance.study.table import Table

Array = NDArray[np.float64]
Seeds = tuple[int, ...]

RANKED: tuple[Role, ...] = ("trained", "wide", "shaped", "fusion")
"""The arms of one seed that are ranked against each other."""


class BySeed:
    """The numbers of a table by seed: R = 1 + B of each, as measured and on each draw of test images.

    Args:
        table: Of a study.
    """

    def __init__(self, table: Table) -> None:
        self.roles: dict[str, Role] = {one.arm: table.roles.get(one.arm, "trained") for one in table.instances}
        self._table = table
        self._kinds = {name: table.kinds.get(name, "") for name in table.quantities}
        self._columns = {name: index for index, name in enumerate(table.quantities)}
        self._rows: dict[str, dict[Seeds, int]] = {}
        for index, one in enumerate(table.instances):
            self._rows.setdefault(one.arm, {})[tuple(sorted(one.seeds))] = index
        measured = table.values[None]
        self._numbers = measured if table.draws is None else np.concatenate([measured, table.draws])

    def arms(self, *roles: Role) -> list[str]:
        """Return the arms of some roles."""
        return [arm for arm, role in self.roles.items() if role in roles]

    def quantities(self, names: Iterable[str]) -> list[str]:
        """Return the quantities that names in a claim stand for."""
        return list(dict.fromkeys(member for name in names for member in members_of(name, self._kinds)))

    def unit(self, names: Iterable[str]) -> str:
        """Return what quantities are measured in."""
        if {*names} <= {*RANKS}:
            return "ranks"
        return (
            ", ".join(dict.fromkeys(self._table.units.get(one, "units") for one in self.quantities(names))) or "units"
        )

    def num_images(self, names: Iterable[str]) -> int:
        """Return on how many test images, at least, quantities are measured."""
        return min(self._table.num_images.get(one, 1) for one in self.quantities(names))

    def seeds(self, arm: str, names: Sequence[str]) -> frozenset[int]:
        """Return the seeds of the instances of an arm that have all of some quantities."""
        return frozenset(seed for instance in self._measured(arm, names) for seed in instance)

    def of(self, arm: str, names: Sequence[str], seeds: Seeds) -> dict[Seeds, Array]:
        """Return the mean of some quantities of each instance of an arm, (R,), by its seeds.

        Args:
            arm: Its name.
            names: Quantities, kinds, or ranks, of which the negative is returned, so that more is better.
            seeds: Of ranks: what is ranked are the arms that have all of them.
        """
        found = [self._ranks(arm, name, seeds) if name in RANKS else self._means(arm, name) for name in names]
        shared = set.intersection(*({*one} for one in found))
        return {
            instance: np.mean([one[instance] for one in found], axis=0) for instance in found[0] if instance in shared
        }

    def least_deviation(self, names: Sequence[str]) -> float:
        """Return the standard deviation over seeds that differences of two arms have at least, since they are counts.

        Ranks of two arms that are alike differ by one up or down, in each task; accuracies of N images are rounded to
        1 / N. A few seeds may all have the same difference by chance.
        """
        return float(np.sqrt(sum(self._least_variance(name) for name in names))) / len(names)

    def _least_variance(self, name: str) -> float:
        members = self.quantities([name])
        if name in RANKS:
            return 1 / len(members)
        counts = [one for one in members if self._table.units.get(one, "").endswith("accuracy")]
        return sum(1 / 6 / self.num_images([one]) ** 2 for one in counts) / len(members) ** 2

    def _measured(self, arm: str, names: Sequence[str]) -> dict[Seeds, int]:
        """Return the rows of the instances of an arm that have all of some quantities."""
        columns = [self._columns[one] for one in self.quantities(names)]
        instances = self._rows.get(arm, {}) if all(self.quantities([name]) for name in names) else {}
        whole = np.isfinite(self._numbers[0][:, columns]).all(axis=1)
        return {one: row for one, row in instances.items() if whole[row]}

    def _means(self, arm: str, name: str) -> dict[Seeds, Array]:
        columns = [self._columns[one] for one in self.quantities([name])]
        measured = self._measured(arm, [name])
        means = self._numbers[:, [*measured.values()]][:, :, columns].mean(axis=2)
        return {instance: means[:, place] for place, instance in enumerate(measured)}

    def _ranks(self, arm: str, name: str, seeds: Seeds) -> dict[Seeds, Array]:
        """Return the negative mean rank over tasks among the arms of each seed; equal ones share the mean rank."""
        members = self.quantities([name])
        columns = [self._columns[one] for one in members]
        others = [one for one in self.arms(*RANKED) if one != arm and {*seeds} <= self.seeds(one, members)]
        found: dict[Seeds, Array] = {}
        for seed in seeds:
            own, *theirs = (self._numbers[:, self._rows[one][(seed,)]][:, columns] for one in (arm, *others))
            better = sum(((one > own) + 0.5 * (one == own) for one in theirs), np.zeros_like(own))
            found[(seed,)] = -1 - better.mean(axis=1)
        return found


def mean_within(instances: Mapping[Seeds, Array], seeds: Iterable[int]) -> Array | None:
    """Return the mean over instances that are of some seeds and of no others, (R,); None where there are none."""
    some = {*seeds}
    within = [values for instance, values in instances.items() if some.issuperset(instance)]
    return sum(within[1:], within[0]) / len(within) if within else None


def best_within(
    candidates: Sequence[Mapping[Seeds, Array]], seeds: Seeds, chosen_by: Sequence[Mapping[Seeds, Array]] | None = None
) -> Array | None:
    """Return the mean over seeds of the arm that is best on average over the other seeds, (R,).

    What is chosen by the numbers that it is then compared by would look better than it is. The choice is by what was
    measured, and kept for other test images.

    Args:
        candidates: Instances of one seed, measured first.
        seeds: Those that there are; with fewer than two, there is no choice, and None is returned.
        chosen_by: Other numbers of the same instances, by which the best is chosen; by default those themselves.
    """
    if len(seeds) < 2:
        return None
    measured = np.array([[one[(seed,)][0] for seed in seeds] for one in chosen_by or candidates])  # (candidates, n)
    chosen = (measured.sum(axis=1, keepdims=True) - measured).argmax(axis=0)
    values = [candidates[best][(seed,)] for best, seed in zip(chosen, seeds, strict=True)]
    found: Array = np.mean(values, axis=0)
    return found
