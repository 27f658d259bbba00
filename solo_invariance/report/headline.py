"""What the results say, in sentences that are computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from solo_invariance.report.collect import Results, Row
from solo_invariance.report.grids import (
    Column,
    Grid,
    Means,
    comparable_similarity,
    kinds_of,
    mean_ranks,
    measurements,
    number,
    of_group,
    readable,
    shared_means,
    transfer_grid,
    view_group,
)
from solo_invariance.report.leaders import MOST_NAMED


class Label(str):
    """A backbone's label within a sentence, so that whoever prints the sentence can set it apart."""


Sentence = tuple[str, ...]


class Verdict(NamedTuple):
    """A claim about some backbones, and the kind of change and the numbers that it rests on."""

    claim: Sentence
    evidence: str


def headline(results: Results) -> list[Sentence]:
    """One sentence on invariance and one on transfer, as far as there are results for them.

    Backbones whose 95 % intervals overlap are called not distinguishable.
    """
    sentences = (_invariance_sentence(results.rows), _transfer_sentence(transfer_grid(results)))
    return [sentence for sentence in sentences if sentence]


def scope(results: Results) -> str:
    """How much was compared: the numbers of backbones, transforms, view sets and tasks."""
    counts = {
        "backbone": len(results.rows),
        "transform": len({name for row in results.rows for name in row.transforms}),
        "view set": len({name for row in results.rows for name in row.views}),
        "task": len({(result.task, result.metric) for row in results.rows for result in row.transfer}),
    }
    return ", ".join(_counted(count, noun) for noun, count in counts.items() if count)


def _invariance_sentence(rows: Sequence[Row]) -> Sentence:
    evidence: dict[Sentence, list[str]] = {}
    for verdict in filter(None, (_verdict(rows, kind) for kind in kinds_of(rows))):
        evidence.setdefault(verdict.claim, []).append(verdict.evidence)
    clauses = [("; ", *claim, " and ".join(grounds)) for claim, grounds in evidence.items()]
    parts = tuple(chain(*clauses))[1:]
    return (*parts, ".") if parts else ()


def _verdict(rows: Sequence[Row], kind: str) -> Verdict | None:
    """Compare the means over one kind of change: who leads, and who cannot be told from the leader."""
    means, noun = _means_of_kind(rows, kind)
    compared = [(row, mean) for row, mean in zip(rows, means.estimates, strict=True) if mean]
    if not compared:
        return None
    best = max((mean for _, mean in compared), key=lambda mean: mean.mean)
    leading = [(row, mean) for row, mean in compared if mean.overlaps(best)]
    values = _values([mean.mean for _, mean in leading])
    similarity = readable(comparable_similarity(rows)).replace("width matched", "width-matched")
    evidence = f"to {kind} changes (mean {similarity} {values} over {_counted(means.num_columns, noun)})"
    return Verdict((*_labels([row for row, _ in leading]), _predicate(len(leading), len(compared))), evidence)


def _predicate(num_leading: int, num_compared: int) -> str:
    if num_compared == 1:
        return " was measured on its invariance "
    return " is the most invariant " if num_leading == 1 else " are not distinguishable as the most invariant "


def _means_of_kind(rows: Sequence[Row], kind: str) -> tuple[Means, str]:
    """Means over the transforms of a kind; where nobody has any, over its view sets."""
    quantity = comparable_similarity(rows)
    measured = [measurements(row, quantity) for row in rows]
    on_transforms = [of_group(row, kind) for row in measured]
    if any(on_transforms):
        return shared_means(on_transforms), "transform"
    return shared_means([of_group(row, view_group(kind)) for row in measured]), "view set"


def _transfer_sentence(grid: Grid) -> Sentence:
    if len(grid.rows) == 1:
        return Label(grid.rows[0].label), f" was scored on {_counted(len(grid.columns), 'task')}."
    ranks = mean_ranks(grid)
    leaders = [row for row in grid.rows if row.label in ranks and ranks[row.label] == min(ranks.values())]
    if not leaders:
        return ()
    basis = _basis(grid, leaders[0], ranks[leaders[0].label])
    if len(leaders) > 1:
        return *_labels(leaders), f" share the first place {basis}."
    return Label(leaders[0].label), f" is the best {basis}", *_peers(grid, leaders[0]), "."


def _basis(grid: Grid, leader: Row, rank: float) -> str:
    """The only task that all were scored on, with the leader's score; of several, their number and its mean rank."""
    if len(grid.shared) > 1:
        return f"on average over {_counted(len(grid.shared), 'task')} (mean rank {number(rank, 2)})"
    column = grid.shared[0]
    return f"on {column.title} ({column.note} {number(grid.estimate(leader, column).mean, grid.decimals)})"


def _peers(grid: Grid, leader: Row) -> Sentence:
    """The backbones whose interval overlaps the leader's on every task that all were scored on."""
    shared = grid.shared
    peers = [row for row in grid.rows if row is not leader and _overlap_on(shared, grid, row, leader)]
    if not peers:
        return ()
    verb = "is" if len(peers) == 1 else "are"
    where = " on any of them" if len(grid.shared) > 1 else ""
    return ", but ", *_labels(peers), f" {verb} not distinguishable from it{where}"


def _overlap_on(columns: Sequence[Column], grid: Grid, one: Row, other: Row) -> bool:
    return all(grid.estimate(one, column).overlaps(grid.estimate(other, column)) for column in columns)


def _labels(rows: Sequence[Row]) -> Sentence:
    """The labels of some backbones, of more than a few the first ones."""
    few = rows if len(rows) <= MOST_NAMED else rows[: MOST_NAMED - 2]
    others = [f"{len(rows) - len(few)} others"] if len(few) < len(rows) else []
    return tuple(_enumerated([*(Label(row.label) for row in few), *others]))


def _values(values: Sequence[float]) -> str:
    """The numbers of as many backbones as are named, or what they lie between."""
    if len(values) <= MOST_NAMED:
        return "".join(_enumerated([number(value, 2) for value in values]))
    return f"{number(min(values), 2)} to {number(max(values), 2)}"


def _enumerated(items: Sequence[str]) -> list[str]:
    """The items with commas and a last "and" between them."""
    separators = [", "] * (len(items) - 2) + [" and "] * (len(items) > 1) + [""]
    return [part for item, separator in zip(items, separators, strict=True) for part in (item, separator) if part]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
