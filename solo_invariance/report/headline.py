"""What the results say, in sentences that are computed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from solo_invariance.report.collect import Results, Row
from solo_invariance.report.columns import Column, Quantity, mean_column, readable, view_group
from solo_invariance.report.grids import (
    Grid,
    comparable_similarity,
    kinds_of,
    mean_ranks,
    means_of_group,
    measurements,
    number,
    of_group,
    transfer_grid,
)
from solo_invariance.report.leaders import MOST_NAMED
from solo_invariance.report.marks import Verdict as Judged
from solo_invariance.report.marks import groups, holds_zero, verdicts
from solo_invariance.report.paired import compared
from solo_invariance.report.scores import ScoredTask, scored_tasks
from solo_invariance.results import Estimate


class Label(str):
    """A backbone's label within a sentence, so that whoever prints the sentence can set it apart."""


Sentence = tuple[str, ...]


class Verdict(NamedTuple):
    """A claim about some backbones, and the kind of change and the numbers that it rests on."""

    claim: Sentence
    evidence: str


def headline(results: Results) -> list[Sentence]:
    """One sentence on invariance and one on transfer, as far as there are results for them.

    Backbones are called not distinguishable where the 95 % interval of their difference, paired image by image, has 0
    in it. Where they cannot be paired, it is only said that their intervals overlap; where they were measured on
    different images, they are not compared.
    """
    sentences = (_invariance_sentence(results), _layers_sentence(results), _transfer_sentence(results))
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


def _invariance_sentence(results: Results) -> Sentence:
    evidence: dict[Sentence, list[str]] = {}
    for kind in kinds_of(results.competitors):
        for verdict in _verdicts(results, kind):
            evidence.setdefault(verdict.claim, []).append(verdict.evidence)
    clauses = [("; ", *claim, " and ".join(grounds)) for claim, grounds in evidence.items()]
    parts = tuple(chain(*clauses))[1:]
    return (*parts, ".") if parts else ()


class _Compared(NamedTuple):
    """The means over one kind of change of all backbones, and how the competitors compare."""

    estimates: Mapping[str, Estimate]
    judged: Mapping[str, Judged]
    sets: Sequence[Sequence[str]]
    over: str


def _verdicts(results: Results, kind: str) -> list[Verdict]:
    """Compare the means over one kind of change: who leads, and who cannot be told from the leader."""
    quantity = comparable_similarity(results.rows)
    found = _compared(results, kind, quantity)
    if not found.estimates:
        return []
    rows = {row.label: row for row in results.rows}
    said = f"mean {readable(quantity).replace('width matched', 'width-matched')}"
    several = [of_set for of_set in found.sets if len(of_set) > 1]
    if len(found.sets) == 1:
        return [_verdict(found.sets[0], found, kind, said, rows)]
    alone = [label for of_set in found.sets if len(of_set) == 1 for label in of_set]
    verdicts_of_sets = [
        _verdict(of_set, found, kind, said, rows, f", of {len(of_set)} on the same images") for of_set in several
    ]
    if not alone:
        return verdicts_of_sets
    values = _values([found.estimates[label].mean for label in alone])
    verb = "was" if len(alone) == 1 else "were"
    others = "other" if several else "different"
    claim = (*_labels([rows[label] for label in alone]), f" {verb} measured on {others} images and not compared ")
    lows, highs = zip(*((found.estimates[label].low, found.estimates[label].high) for label in alone), strict=True)
    overlap = "" if len(alone) < 2 else "; intervals overlap" if max(lows) <= min(highs) else "; intervals differ"
    evidence = f"in invariance to {kind} changes ({said} {values} over {found.over}{overlap})"
    return [*verdicts_of_sets, Verdict(claim, evidence)]


def _verdict(
    labels: Sequence[str],
    found: _Compared,
    kind: str,
    said: str,
    rows: Mapping[str, Row],
    among: str = "",
) -> Verdict:
    """Say who leads of those that were measured on the same images."""
    judged = found.judged
    leading = [label for label in labels if label not in judged or judged[label].mark]
    unsure = [judged[label].mark == "overlap" for label in leading if label in judged]
    values = _values([found.estimates[label].mean for label in leading])
    if len(labels) == 1:
        predicate = " was measured on its invariance "
    elif len(leading) == 1:
        predicate = " is the most invariant "
    elif any(unsure):
        predicate = ", whose intervals overlap, come first in invariance "
    else:
        predicate = " are not distinguishable as the most invariant "
    details = [
        f"{said} {values} over {found.over}{among}",
        *_lead(labels, leading, found),
        *_untrained(leading, found, rows),
    ]
    claim = (*_labels([rows[label] for label in leading]), predicate)
    return Verdict(claim, f"to {kind} changes ({'; '.join(details)})")


def _lead(labels: Sequence[str], leading: Sequence[str], found: _Compared) -> list[str]:
    """Say by how much the leader is ahead of the next one, where that is known image by image."""
    behind = [label for label in labels if label in found.judged and label not in leading]
    if len(leading) != 1 or not behind:
        return []
    best = found.estimates[leading[0]].mean
    following = min(behind, key=lambda label: abs(found.estimates[label].mean - best))
    difference = found.judged[following].difference
    if difference is None:
        return []
    low, high = sorted((abs(difference.low), abs(difference.high)))
    return [f"{following} is {number(abs(difference.mean), 2)} [{number(low, 2)}, {number(high, 2)}] behind"]


def _untrained(leading: Sequence[str], found: _Compared, rows: Mapping[str, Row]) -> list[str]:
    """Give the number of the leader's untrained twin, where there is one."""
    families = {rows[label].family for label in leading}
    twins = [
        found.estimates[label].mean
        for label, row in rows.items()
        if row.role == "untrained" and row.family in families and label in found.estimates
    ]
    return [f"untrained {_values(twins)}"] if twins and len(leading) == 1 else []


def _compared(results: Results, kind: str, quantity: Quantity) -> _Compared:
    """Compare means over the transforms of a kind; where nobody has any, over its view sets."""
    rows = [row for row in results.rows if row.invariance]
    competing = [row for row in rows if row.role == "backbone"]
    on_transforms = any(of_group(measurements(row, quantity), kind) for row in competing)
    group, noun = (kind, "transform") if on_transforms else (view_group(kind), "view set")
    means = means_of_group(results, quantity, group)
    estimates = {row.label: mean for row, mean in zip(rows, means.estimates, strict=True) if mean}
    labels = [row.label for row in competing if row.label in estimates]
    if not labels:
        return _Compared({}, {}, (), "")
    found = compared(results).of(quantity, _column(rows, quantity, group, means.num_columns))
    judged = verdicts(
        estimates, found.sets, labels, lambda ours, theirs: found.pairs.get((ours, theirs)), larger_is_better=True
    )
    return _Compared(estimates, judged, groups(found.sets, labels), _counted(means.num_columns, noun))


def _column(rows: Sequence[Row], quantity: Quantity, group: str, num_columns: int) -> Column:
    """The column that a mean over so many shared changes is: the mean's, or that of the only one."""
    if num_columns > 1:
        return mean_column(group)
    measured = [of_group(measurements(row, quantity), group) for row in rows if row.role == "backbone"]
    present = [one for one in measured if one]
    return next(column for column in present[0] if all(column in one for one in present))


def _layers_sentence(results: Results) -> Sentence:
    """Say how many layers of which backbones there are: they are a curve over depth, and not compared."""
    layers = [row for row in results.rows if row.role == "layer"]
    families = list(dict.fromkeys(row.family for row in layers))
    if not layers:
        return ()
    named = _enumerated([Label(family) for family in families[:MOST_NAMED]])
    return (f"{_counted(len(layers), 'layer')} of ", *named, " are in the order of their depth and not compared.")


def _transfer_sentence(results: Results) -> Sentence:
    grid, tasks = transfer_grid(results), scored_tasks(results)
    competing = [row for row in grid.rows if row.role == "backbone"]
    if len(competing) == 1:
        columns = [column for column in grid.columns if column in grid.cells[competing[0].label]]
        return Label(competing[0].label), f" was scored on {_counted(len(columns), 'task')}."
    ranks = mean_ranks(grid)
    leaders = [row for row in competing if row.label in ranks and ranks[row.label] == min(ranks.values())]
    if not leaders:
        return ()
    basis = _basis(grid, leaders[0], ranks[leaders[0].label])
    if len(leaders) > 1:
        return *_labels(leaders), f" share the first place {basis}."
    return Label(leaders[0].label), f" is the best {basis}", *_peers(grid, leaders[0], tasks), "."


def _basis(grid: Grid, leader: Row, rank: float) -> str:
    """The only task that all were scored on, with the leader's score; of several, their number and its mean rank."""
    if len(grid.ranked) > 1:
        return f"on average over {_counted(len(grid.ranked), 'task')} (mean rank {number(rank, 2)})"
    column = grid.ranked[0]
    return f"on {column.title} ({column.note} {number(grid.estimate(leader, column).mean, grid.decimals)})"


def _peers(grid: Grid, leader: Row, tasks: Mapping[Column, ScoredTask]) -> Sentence:
    """The backbones that cannot be told from the leader on any of the tasks that all were scored on."""
    competing = [row for row in grid.rows if row.role == "backbone" and row is not leader]
    scored = [tasks[column] for column in grid.ranked]
    found = {row.label: [_same(task, row.label, leader.label) for task in scored] for row in competing}
    peers = [row for row in competing if all(found[row.label])]
    if not peers:
        return ()
    where = " on any of them" if len(grid.ranked) > 1 else ""
    if all(same == "tied" for row in peers for same in found[row.label]):
        verb = "is" if len(peers) == 1 else "are"
        return ", but ", *_labels(peers), f" {verb} not distinguishable from it{where}"
    whose = "its interval overlaps" if len(peers) == 1 else "their intervals overlap"
    return ", but ", *_labels(peers), f" may be as good: {whose} the leader's{where.replace('any', 'each')}"


def _same(task: ScoredTask, label: str, leader: str) -> str:
    """Return ``tied`` where a difference may be 0, ``overlap`` where only the intervals say so, else nothing."""
    if task.at_chance(label) or task.at_chance(leader):
        return "tied" if task.at_chance(label) and task.at_chance(leader) else ""
    difference = task.difference(label, leader)
    if difference is not None:
        return "tied" if holds_zero(difference) else ""
    return "overlap" if task.results[label].score.overlaps(task.results[leader].score) else ""


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
