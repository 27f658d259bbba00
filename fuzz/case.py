"""What a case is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

Prepare = Callable[[Path, Random], None]
"""Makes or damages files in the folder that a case's command runs in."""


def as_it_is(work: Path, random: Random) -> None:
    """Change nothing."""


@dataclass(frozen=True)
class Case:
    """One command and what is odd about it.

    Args:
        kind: Which part of the campaign it belongs to.
        title: What is odd.
        arguments: Of ``solo-invariance``, to be run in a folder that holds the world.
        named: A refusal has to say one of these; anything goes where there are none.
        prepare: What is done to the folder before.
        senseless: No result makes sense: the command must refuse, or a result must say what is wrong with it.
    """

    kind: str
    title: str
    arguments: tuple[str, ...]
    named: tuple[str, ...] = ()
    prepare: Prepare = field(default=as_it_is, compare=False)
    senseless: bool = False
