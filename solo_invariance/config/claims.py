"""What a study claims, written before its runs: read from a preset and checked before anything is trained."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["trained", "untrained", "wide", "fusion", "ensemble"]
"""What an arm of a study is: backbones of a family, never trained, wider than the others, a fusion of arms of one seed,
or one of an arm's own seeds."""

BEST_SINGLE = "best single"
"""What a claim is against that is against the trained arm which is best by the other seeds."""

RANKS = ("rank/score", "rank/projected")
"""Mean ranks over the tasks, among all arms of one seed."""


@dataclass(frozen=True)
class Claim:
    """One number a seed, and what it is claimed to be: above 0.

    It is how much larger a quantity of an arm is than those of others (``of``, ``arm``, ``against``), or the rank
    correlation of two quantities over arms (``between``, ``expect``).

    Args:
        name: By which pages and ``expect`` know it.
        finding: Which of the paper's findings it is a part of, such as ``1a``.
        says: A sentence.
        smallest: The smallest effect that would matter, in the effect's unit.
        of: Quantities, or kinds of them, whose mean is compared.
        arm: The arm that is claimed to have more.
        against: The arms, the mean of which is claimed to be less.
        between: Two quantities, or kinds of them.
        expect: Whether their correlation is claimed to be positive or negative.
        over: The arms that it is over; empty: all of one seed but fusions.
    """

    name: str
    finding: str
    says: str
    smallest: float
    of: tuple[str, ...] = ()
    arm: str = ""
    against: tuple[str, ...] = ()
    between: tuple[str, ...] = ()
    expect: Literal["positive", "negative"] = "positive"
    over: tuple[str, ...] = ()


def claims_from(entries: Mapping[str, Mapping[str, Any]], key: str = "study.claims") -> list[Claim]:
    """Return the claims of a configuration, in its order.

    Args:
        entries: Keys of a claim, by its name.
        key: Of the entries, for messages.

    Raises:
        UserError: A key is unknown or missing, or a value is none that it can have.
    """
    raise NotImplementedError


def require_judgeable(
    claims: Collection[Claim], arms: Mapping[str, Role], quantities: Mapping[str, str], key: str = "study.claims"
) -> None:
    """Refuse claims about what a study does not have, before anything is trained.

    Args:
        claims: All of the study.
        arms: Roles, by name.
        quantities: The kind of each, by name; empty of scores.
        key: Of the claims, for messages.

    Raises:
        UserError: An arm or a quantity is unknown; the message says what is close to it.
    """
    raise NotImplementedError
