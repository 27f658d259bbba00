"""What a study claims, written before its runs: read from a preset and checked before anything is trained."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from solo_invariance.errors import UserError, none_of

Role = Literal["trained", "untrained", "wide", "shaped", "fusion", "ensemble"]
"""What an arm of a study is: backbones of a family, never trained, wider than the others, a fusion of arms of one seed,
or one of an arm's own seeds."""

BEST_SINGLE = "best single"
"""What a claim is against that is against the trained arm which is best by the other seeds."""

RANKS = {"rank/score": "score", "rank/projected": "projected"}
"""Mean ranks over tasks, of trained arms of one seed and fusions of them; values are what names of tasks begin with."""

_Expected = Literal["positive", "negative"]
_COMPARED = ("of", "arm", "against")
_CORRELATED = ("between", "expect")
_EVERY = ("finding", "says", "smallest")
_KEYS = (*_EVERY, *_COMPARED, *_CORRELATED, "over")
_FINDING = re.compile("[1-9][a-z]?")
FEWEST_RANKED = 3
"""Arms that a rank correlation of a claim is over, at least."""


@dataclass(frozen=True)
class Claim:
    """One number a seed, and what it is claimed to be: above 0.

    It is how much larger a quantity of an arm is than those of others (``of``, ``arm``, ``against``), or the rank
    correlation of two quantities over arms (``between``, ``expect``).

    Args:
        name: By which pages and ``expect`` know it.
        finding: Which of the paper's findings it is a part of, ``1a`` to ``3``; or, from ``4`` on, of one's own.
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
    expect: _Expected = "positive"
    over: tuple[str, ...] = ()


def claims_from(entries: Mapping[str, Any], key: str = "study.claims") -> list[Claim]:
    """Return the claims of a configuration, in its order.

    Args:
        entries: Keys of a claim, by its name.
        key: Of the entries, for messages.

    Raises:
        UserError: A key is unknown or missing, or a value is none that it can have.

    Example:
        >>> entry = {"finding": "2a", "says": "hue wants ventral", "smallest": 0.02}
        >>> claims_from({"hue": {**entry, "of": "score/hue", "arm": "ventral", "against": "dorsal"}})[0].against
        ('dorsal',)
    """
    return [_claim(str(name), entry, f"{key}: {name}") for name, entry in entries.items()]


def members_of(name: str, kinds: Mapping[str, str]) -> tuple[str, ...]:
    """Return the quantities that a name in a claim stands for; none, where it is no quantity, kind or rank.

    Args:
        name: A quantity, a kind of them such as ``invariance/spatial``, or one of ``RANKS``.
        kinds: The kind of each quantity, by its name.

    Example:
        >>> kinds = {"invariance/hue": "appearance", "invariance/blur": "appearance", "score/hue": ""}
        >>> members_of("invariance/appearance", kinds), members_of("rank/score", kinds)
        (('invariance/hue', 'invariance/blur'), ('score/hue',))
    """
    if name in kinds:
        return (name,)
    if name in RANKS:
        return tuple(one for one in kinds if one.startswith(f"{RANKS[name]}/"))
    prefix, _, kind = name.partition("/")
    return tuple(one for one, of_kind in kinds.items() if kind and of_kind == kind and one.startswith(f"{prefix}/"))


def correlated_arms(claim: Claim, roles: Mapping[str, Role]) -> tuple[str, ...]:
    """Return the arms that a claim's correlation is over: those that it names, or all of one seed but fusions."""
    return claim.over or tuple(arm for arm, role in roles.items() if role not in ("shaped", "fusion", "ensemble"))


def require_judgeable(
    claims: Iterable[Claim], arms: Mapping[str, Role], kinds: Mapping[str, str], key: str = "study.claims"
) -> None:
    """Refuse claims about what a study does not have, before anything is trained.

    Args:
        claims: All of the study.
        arms: Roles, by name.
        kinds: The kind of each quantity, by its name; empty of scores.
        key: Of the claims, for messages.

    Raises:
        UserError: An arm or a quantity is unknown, or cannot be in such a claim; the message says what can.
    """
    for claim in claims:
        where = f"{key}: {claim.name}"
        for part in ("of", "between"):
            for name in getattr(claim, part):
                _require_quantity(name, kinds, f"{where}: {part}={name}")
        if claim.between:
            _require_correlated(claim, arms, where)
        else:
            _require_compared(claim, arms, where)


def _claim(name: str, entry: Any, where: str) -> Claim:
    if not isinstance(entry, Mapping):
        raise UserError(f"{where}: expected keys and values ({', '.join(_KEYS)}), found {entry}")
    unknown = next((one for one in entry if one not in _KEYS), None)
    if unknown is not None:
        raise UserError(f"{where}: there is no key {unknown!r}{none_of(str(unknown), _KEYS)}")
    kind, other = (_CORRELATED, _COMPARED) if "between" in entry else (_COMPARED, (*_CORRELATED, "over"))
    for one in other:
        if one in entry:
            raise UserError(f"{where}: has {kind[0]} and {one}; a claim has of, arm and against, or between and expect")
    for one in (*_EVERY, *kind):
        if entry.get(one) in (None, "", []):
            raise UserError(f"{where}: {one} is missing")
    between, expect = _texts(entry, "between", where), entry.get("expect", "positive")
    if between and len(between) != 2:
        raise UserError(f"{where}: between={list(between)}: expected two quantities")
    if expect not in get_args(_Expected):
        raise UserError(f"{where}: expect={expect}: expected positive or negative")
    finding = str(entry["finding"])
    if not _FINDING.fullmatch(finding):
        raise UserError(f"{where}: finding={finding}: expected a digit, with or without a letter behind it, such as 2a")
    return Claim(
        name=name,
        finding=finding,
        says=str(entry["says"]),
        smallest=_smallest(entry["smallest"], where),
        of=_texts(entry, "of", where),
        arm=str(entry.get("arm", "")),
        against=_texts(entry, "against", where),
        between=between,
        expect=expect,
        over=_texts(entry, "over", where),
    )


def _texts(entry: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """Return a list of names, or the one name, as it is written."""
    value = entry.get(key) or []
    names = [value] if isinstance(value, str) else value
    if isinstance(names, Mapping) or not isinstance(names, Iterable) or not all(isinstance(one, str) for one in names):
        raise UserError(f"{where}: {key}={value}: expected a name or a list of names")
    found = tuple(names)
    twice = next((one for one in found if found.count(one) > 1), None)
    if twice is not None:
        raise UserError(f"{where}: {key}: names {twice!r} twice")
    return found


def _smallest(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UserError(f"{where}: smallest={value}: expected a number above 0, the smallest effect that would matter")
    return float(value)


def _require_quantity(name: str, kinds: Mapping[str, str], where: str) -> None:
    if not members_of(name, kinds):
        of_kinds = {f"{one.partition('/')[0]}/{kind}" for one, kind in kinds.items() if kind}
        known = [*kinds, *sorted(of_kinds), *(rank for rank in RANKS if members_of(rank, kinds))]
        raise UserError(f"{where}: there is no such quantity{none_of(name, known)}")


def _require_compared(claim: Claim, arms: Mapping[str, Role], where: str) -> None:
    _require_arm(claim.arm, arms, f"{where}: arm={claim.arm}")
    for other in claim.against:
        if other == claim.arm:
            raise UserError(f"{where}: against={other}: is the claim's own arm")
        if other != BEST_SINGLE:
            _require_arm(other, {**arms, BEST_SINGLE: "trained"}, f"{where}: against={other}")
        elif "trained" not in {role for arm, role in arms.items() if arm != claim.arm}:
            raise UserError(f"{where}: against={other}: there is no other arm that is trained")
    others = [name for name in claim.of if name not in RANKS]
    if 0 < len(others) < len(claim.of):
        raise UserError(f"{where}: of={others[0]}: has no mean with ranks; claim of either")
    for name in claim.of:
        for arm in (claim.arm, *claim.against):
            if name in RANKS and arms.get(arm) in ("ensemble", "untrained"):
                what = "an ensemble of seeds" if arms[arm] == "ensemble" else "untrained"
                raise UserError(f"{where}: of={name}: ranks are among trained arms of one seed, and {arm} is {what}")
            if arms.get(arm) == "ensemble" and not name.startswith(tuple(RANKS.values())):
                raise UserError(f"{where}: of={name}: is not measured of {arm}: ensembles of seeds have scores alone")


def _require_correlated(claim: Claim, arms: Mapping[str, Role], where: str) -> None:
    for name in claim.between:
        if name in RANKS:
            raise UserError(f"{where}: between={name}: expected quantities, which are ranked here anyway")
    for arm in claim.over:
        _require_arm(arm, arms, f"{where}: over={arm}")
        if arms[arm] == "ensemble":
            raise UserError(f"{where}: over={arm}: is an ensemble of seeds; a correlation is over arms of one seed")
    if len(found := correlated_arms(claim, arms)) < FEWEST_RANKED:
        raise UserError(f"{where}: between: a rank correlation is over {FEWEST_RANKED} arms at least, not {len(found)}")


def _require_arm(name: str, arms: Iterable[str], where: str) -> None:
    if name not in arms:
        raise UserError(f"{where}: there is no such arm{none_of(name, arms)}")
