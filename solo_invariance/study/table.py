"""All numbers of a study: those of each arm and seed, and what they are on other test images."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solo_invariance.config.claims import Role


class Instance(NamedTuple):
    """A backbone of a study: an arm, and the seeds that it was trained by.

    Attributes:
        arm: Its name.
        seeds: One, of single backbones and of fusions of one seed's arms; several, of an ensemble of seeds.
    """

    arm: str
    seeds: tuple[int, ...]


class Runs(NamedTuple):
    """Where the results of one instance lie.

    Attributes:
        instance: Of what they are.
        measured: Directories with ``invariance.json``.
        scored: Directories with ``transfer.json``, one a task.
        projected: The same of features that were projected to the study's width.
    """

    instance: Instance
    measured: tuple[Path, ...] = ()
    scored: tuple[Path, ...] = ()
    projected: tuple[Path, ...] = ()


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
    def from_results(cls, runs: Iterable[Runs], roles: Mapping[str, Role], seed: int = 0) -> "Table":
        """Read what ``measure`` and ``transfer`` wrote.

        Args:
            runs: Of every instance.
            roles: Of the arms, by name.
            seed: Of the draws of test images.

        Raises:
            UserError: A file is missing or broken, or instances were measured on other images.
        """
        raise NotImplementedError
