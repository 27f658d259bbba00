"""What is said of a study's claims, on every page and in the terminal: the words, the signs, and how numbers read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from solo_invariance.config.claims import BEST_SINGLE
from solo_invariance.config.measure import KINDS
from solo_invariance.report.columns import METRICS, readable
from solo_invariance.report.grids import number
from solo_invariance.results.estimate import Interval
from solo_invariance.results.study import Effect, JudgedClaim, StudyResult, Verdict

VERDICTS: Mapping[Verdict, str] = {"holds": "✓", "does not hold": "✗", "undecided": "?"}
"""The sign of each verdict."""

FINDINGS: Mapping[str, str] = {
    "1": "Backbones ignore what their family changes",
    "1a": "Backbones ignore what their family changes",
    "1b": "They ignore real changes of that kind, too",
    "1c": "Synthetic changes tell how real ones come out",
    "2": "Tasks want opposite invariances",
    "2a": "Tasks want opposite invariances",
    "2b": "Invariance decides transfer",
    "3": "A fusion of complementary backbones does well everywhere",
}
"""What a finding says, by the number that claims have; others are known by their number alone."""

RULE = (
    "A claim holds where its interval over seeds lies above 0, and does not hold where it lies below the smallest "
    "effect that would matter; else it is undecided, as everything is of one seed. These intervals are wide enough for "
    "all claims at once (Holm); the printed one is of 95 % by itself. Seeds are the unit: effects are paired by seed, "
    "with Student's distribution. The second line has the same seeds on other test images."
)
"""How verdicts are given."""

_WORDS = {
    "invariance": "invariance to",
    "views": "invariance to real views of",
    "score": "score on",
    "projected": "score at equal width on",
    "rank": "mean rank by",
}
_NAMES = {"rank/projected": "score at equal width"}
_DECIMALS = {"rho": 2, "ranks": 2}


class Finding(NamedTuple):
    """The claims of one of the findings, with what it is called."""

    name: str
    says: str
    claims: tuple[JudgedClaim, ...]


def findings(study: StudyResult) -> list[Finding]:
    """Return a study's claims by the finding that they are a part of, in the order of the claims."""
    names = dict.fromkeys(claim.finding for claim in study.claims)
    return [
        Finding(name, FINDINGS.get(name, ""), tuple(claim for claim in study.claims if claim.finding == name))
        for name in names
    ]


def count_of_verdicts(study: StudyResult) -> dict[Verdict, int]:
    """Return how many claims have each verdict, all three in their order."""
    found = Counter(claim.verdict for claim in study.claims)
    return {verdict: found[verdict] for verdict in VERDICTS}


def sentence(study: StudyResult) -> list[tuple[str, Verdict | None]]:
    """Return how many claims have each verdict as the parts of a sentence; those that are a verdict say which."""
    total, seeds = len(study.claims), len(study.seeds)
    count = count_of_verdicts(study)
    ends = f", by {seeds} seeds." if seeds != 1 else ", by one seed, of which nothing can be told."
    return [
        (f"Of {total} {'claim' if total == 1 else 'claims'}, ", None),
        (f"{count['holds']} {'holds' if count['holds'] == 1 else 'hold'}", "holds"),
        (", ", None),
        (f"{count['does not hold']} {'does' if count['does not hold'] == 1 else 'do'} not hold", "does not hold"),
        (" and ", None),
        (f"{count['undecided']} {'is' if count['undecided'] == 1 else 'are'} undecided", "undecided"),
        (ends, None),
    ]


def comparison(claim: JudgedClaim) -> str:
    """Return what is compared with what, as a phrase."""
    if claim.between:
        over = f" over {enumerated(claim.over)}" if claim.over else " over single backbones"
        return f"rank correlation of {' and '.join(map(named, claim.between))}{over}; expected {claim.expect}"
    mean = "the mean of " if len(claim.against) > 1 else ""
    best = f"the best of {enumerated(claim.over)}" if claim.over else BEST_SINGLE
    against = [best if arm == BEST_SINGLE else arm for arm in claim.against]
    return f"{_together(claim.of)}: {claim.arm} against {mean}{enumerated(against)}"


def named(quantity: str) -> str:
    """Return what a quantity is called in a sentence.

    Example:
        >>> named("score/object_hue"), named("invariance/spatial"), named("rank/score")
        ('score on object hue', 'invariance to spatial changes', 'mean rank by score')
    """
    return _together([quantity])


def _together(quantities: Sequence[str]) -> str:
    """Return what quantities are called, those of one sort by what they are of alone: score on shape and hue."""
    sorts: dict[str, list[str]] = {}
    for quantity in quantities:
        of, _, name = quantity.partition("/")
        sorts.setdefault(of, []).append(f"{name} changes" if name in KINDS else _NAMES.get(quantity, readable(name)))
    return " and ".join(f"{_WORDS.get(of, of)} {enumerated(names)}".strip() for of, names in sorts.items())


def unit_shown(unit: str) -> str:
    """Return what a unit, or several with commas between them, are called.

    Example:
        >>> unit_shown("ranks"), unit_shown("accuracy, r2") == "accuracy, R\N{SUPERSCRIPT TWO}"
        ('ranks better', True)
    """
    words = {"rho": "\N{GREEK SMALL LETTER RHO}", "ranks": "ranks better", **METRICS}
    return ", ".join(words.get(one, one) for one in unit.split(", "))


def enumerated(names: Sequence[str]) -> str:
    """Return names with commas between them, and the last one after an and."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def signed(value: float | None, unit: str) -> str:
    """Return an effect with its sign, in as many decimals as its unit needs; a dash where there is none.

    Example:
        >>> signed(0.1234, "accuracy"), signed(-1.5, "ranks"), signed(None, "rho")
        ('+0.123', '−1.50', '–')
    """
    if value is None:
        return "\N{EN DASH}"
    text = number(value, _DECIMALS.get(unit, 3))
    return text if text.startswith("\N{MINUS SIGN}") else f"+{text}"


def bounds(ends: Interval | None, unit: str) -> str:
    """Return an interval of an effect; empty where there is none."""
    return "" if ends is None else f"[{signed(ends[0], unit)}, {signed(ends[1], unit)}]"


def probability(p: float | None) -> str:
    """Return a p-value; a dash where there is none.

    Example:
        >>> probability(0.0312), probability(0.0002), probability(None)
        ('0.031', '< 0.001', '–')
    """
    if p is None:
        return "\N{EN DASH}"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def values_of(effect: Effect) -> list[float]:
    """Return the effect of each seed."""
    return [one.effect for one in effect.seeds]
