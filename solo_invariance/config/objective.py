"""What a sweep optimises: numbers by the names that results give them. Imports nothing heavy."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from solo_invariance.errors import UserError, did_you_mean

SEEKING = ("ax", "nevergrad", "optuna")
"""Hydra's sweepers that look for the best values, and so need a number of each job."""

EVERYWHERE = ("num_features", "seconds")
"""What every result of measuring and scoring has: the width of the features, and how long it took."""

_LISTED = 12


class ObjectiveError(UserError):
    """An objective that no job of a sweep has: each would be refused as the first one is."""


def names_of_objective(chosen: Any) -> list[str]:
    """Return the names that ``objective`` chooses, none where it is null.

    Raises:
        ObjectiveError: It is neither a name nor a list of different names.
    """
    names = [] if chosen is None else [chosen] if isinstance(chosen, str) else chosen
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ObjectiveError(f"objective={chosen}: expected the name of a number in the result, or a list of names")
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise ObjectiveError(f"objective=[{','.join(names)}]: {twice} is there twice; once is enough")
    return [*names]


def require_objective(chosen: Any, known: Iterable[str], beginnings: Sequence[str] = ()) -> None:
    """Refuse an objective that no result can have, before anything is computed.

    Args:
        chosen: A name, a list of names, or None.
        known: Names of numbers that the result will have.
        beginnings: What the names of further numbers begin with, which are not known before.

    Raises:
        ObjectiveError: A name is none of them; the message lists them.
    """
    names = [*known]
    for name in names_of_objective(chosen):
        if name not in names and not any(name.startswith(beginning) for beginning in beginnings):
            raise ObjectiveError(_unknown(name, [*names, *(f"{beginning}NAME" for beginning in beginnings)]))


def values_of(chosen: Any, numbers: Mapping[str, float]) -> list[float]:
    """Return the numbers of one result that ``objective`` chooses.

    Args:
        chosen: A name, a list of names, or None.
        numbers: All that there are, by name.

    Raises:
        UserError: There is none of that name here, which another result may have, or it is not finite; the message
            lists what there is.
    """
    names = names_of_objective(chosen)
    for name in names:
        if name not in numbers:
            raise UserError(_unknown(name, [*numbers]))
        if not math.isfinite(numbers[name]):
            raise UserError(f"objective={name}: is {numbers[name]}")
    return [float(numbers[name]) for name in names]


def _unknown(name: str, known: Sequence[str]) -> str:
    listed = ", ".join(known[:_LISTED]) + (f" and {len(known) - _LISTED} more" if len(known) > _LISTED else "")
    return f"objective={name}: there is no such number{did_you_mean(name, known)}; there are {listed or 'none'}"
