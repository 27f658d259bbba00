"""What a study compares, and where its results lie."""

from pathlib import Path
from typing import NamedTuple


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
