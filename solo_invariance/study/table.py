"""All numbers of a study: those of each arm and seed, and what they are on other test images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from solo_invariance.config.claims import Role
from solo_invariance.results.study import StudyNumber, StudyQuantity, StudyResult
from solo_invariance.study.instances import Instance, Runs
from solo_invariance.study.reading import read_columns


@dataclass(frozen=True, eq=False)
class Table:
    """The numbers of a study.

    Args:
        instances: I of them.
        quantities: Q names: ``invariance/TRANSFORM``, ``views/VIEWSET``, ``score/TASK``, ``projected/TASK``.
        values: (I, Q), float64; nan where one was not measured.
        draws: (B, I, Q), float64: the same numbers on resampled test images, the same ones in a draw for all instances;
            None where they are not known.
        roles: Of the arms, by name.
        kinds: Of ``invariance/...`` and ``views/...``: ``spatial``, ``appearance`` or another.
        units: By quantity: ``similarity``, or the metric of a score.
        num_images: Test images, or groups of views, by quantity.
    """

    instances: tuple[Instance, ...]
    quantities: tuple[str, ...]
    values: NDArray[np.float64]
    draws: NDArray[np.float64] | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    num_images: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_results(cls, runs: Iterable[Runs], roles: Mapping[str, Role], seed: int = 0) -> Table:
        """Read what ``measure`` and ``transfer`` wrote.

        Args:
            runs: Of every instance.
            roles: Of the arms, by name.
            seed: Of the draws of test images.

        Raises:
            UserError: A file is missing or broken, or instances were measured on other images, or in other ways.
        """
        listed = list(runs)
        columns = read_columns(listed, seed)
        return cls(
            instances=tuple(one.instance for one in listed),
            quantities=tuple(columns),
            values=np.stack([one.values for one in columns.values()], axis=-1),
            draws=np.stack([one.draws for one in columns.values()], axis=-1),
            roles=roles,
            kinds={name: one.kind for name, one in columns.items() if one.kind},
            units={name: one.unit for name, one in columns.items()},
            num_images={name: one.num_images for name, one in columns.items()},
        )

    @classmethod
    def of(cls, result: StudyResult) -> Table:
        """Return the numbers of a study that was read, without draws."""
        cells = {
            (Instance(arm, one.seeds), quantity): one.value
            for arm, by_quantity in result.numbers.items()
            for quantity, numbers in by_quantity.items()
            for one in numbers
        }
        instances = tuple(dict.fromkeys(instance for instance, _ in cells))
        quantities = tuple(result.quantities)
        known = get_args(Role)
        return cls(
            instances=instances,
            quantities=quantities,
            values=np.array([[cells.get((one, name), np.nan) for name in quantities] for one in instances]),
            roles={arm: one.role for arm, one in result.arms.items() if one.role in known},  # type: ignore[misc]
            kinds={name: one.kind for name, one in result.quantities.items() if one.kind},
            units={name: one.unit for name, one in result.quantities.items()},
            num_images={name: one.num_images for name, one in result.quantities.items() if one.num_images},
        )

    def numbers(self) -> dict[str, dict[str, tuple[StudyNumber, ...]]]:
        """Return what ``study.json`` has as ``numbers``: by arm and quantity, of each instance that has it."""
        errors = None if self.draws is None else self.draws.std(axis=0, ddof=1)
        found: dict[str, dict[str, tuple[StudyNumber, ...]]] = {}
        for row, (arm, seeds) in enumerate(self.instances):
            for column, quantity in enumerate(self.quantities):
                value = float(self.values[row, column])
                if np.isfinite(value):
                    error = None if errors is None else float(errors[row, column])
                    number = StudyNumber(seeds=seeds, value=value, standard_error=error)
                    of_arm = found.setdefault(arm, {})
                    of_arm[quantity] = (*of_arm.get(quantity, ()), number)
        return found

    def quantity_records(self) -> dict[str, StudyQuantity]:
        """Return what ``study.json`` has as ``quantities``."""
        return {
            name: StudyQuantity(
                unit=self.units.get(name, "units"), kind=self.kinds.get(name), num_images=self.num_images.get(name)
            )
            for name in self.quantities
        }
