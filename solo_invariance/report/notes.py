"""How to read a report: what its marks rest on, how many comparisons there are, and which metric to believe."""

from __future__ import annotations

from collections.abc import Iterator

from solo_invariance.report.collect import Results
from solo_invariance.report.columns import readable
from solo_invariance.report.grids import Grid, comparable_similarity, invariance_grid, number, transfer_grid
from solo_invariance.report.leaders import MOST_NAMED
from solo_invariance.report.marks import holds_zero
from solo_invariance.report.paired import comparable_distance, compared
from solo_invariance.report.scores import scored_tasks
from solo_invariance.results import Estimate

_SHOWN = 2  # contradictions, each of which is four numbers and two intervals

INTERVALS = (
    "Intervals are 95 % confidence intervals. Two backbones are called not distinguishable where the interval of their "
    "difference, paired image by image on the same images, has 0 in it. Where they cannot be paired, it is said that "
    "their intervals overlap; on different images they are not compared."
)

WHICH_METRIC = (
    "Which metric when: similarity is the cosine of the whitened features before and after a change. It asks whether "
    "their direction stays, it does not depend on their length, and it is what probes of normalised features, nearest "
    "neighbours and retrieval see; across widths, take the width-matched one. Distance is the length of what the "
    "change adds, in standard deviations of the features: at the same angle it grows with the length of the features, "
    "and a change of length alone counts, too, so images and views that lie far from the reference images weigh most. "
    "Where the two disagree, believe similarity on whether a backbone is invariant, and take distance to say that "
    "features of the one are longer on these images, or change their length."
)


def notes(results: Results) -> list[str]:
    """Return sentences for the end of the page, as far as they apply."""
    return [
        *([INTERVALS] if len(results.rows) > 1 else []),
        *([WHICH_METRIC] if any(row.invariance for row in results.rows) else []),
        *findings(results),
    ]


def findings(results: Results) -> list[str]:
    """Return those of the sentences that are about these results: how many comparisons, and what is at chance."""
    grids = {
        "invariance": invariance_grid(results, comparable_similarity(results.rows)),
        "scores": transfer_grid(results),
    }
    return [
        *(_multiplicity(what, grid) for what, grid in grids.items() if grid.comparisons.paired),
        *_chance(results),
        *_left_out(results, grids["scores"]),
    ]


def disagreements(results: Results) -> list[str]:
    """Return where similarity and distance contradict each other with intervals without 0, and which to believe."""
    found = [text for text, _ in _contradictions(results)]
    if not found:
        return []
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return [
        f"Similarity and distance disagree: {'; '.join(found[:_SHOWN])}{more}. Believe similarity on whether a "
        f"backbone is invariant; the note on which metric to take says why."
    ]


def _contradictions(results: Results) -> Iterator[tuple[str, Estimate]]:
    similarity, distance = comparable_similarity(results.rows), comparable_distance(results.rows)
    found = compared(results)
    seen: set[tuple[str, frozenset[str]]] = set()
    for (quantity, column), differences in found.columns.items():
        if quantity != similarity:
            continue
        others = found.of(distance, column).pairs
        for (ours, theirs), ahead in differences.pairs.items():
            apart = others.get((ours, theirs))
            key = f"{column.group} {column.name}", frozenset((ours, theirs))
            if apart is None or holds_zero(ahead) or holds_zero(apart) or key in seen:
                continue
            if (ahead.mean > 0) == (apart.mean > 0):  # nearer in direction, and further away
                seen.add(key)
                what = f"the mean over {column.group} changes" if column.is_mean else column.title
                yield f"{what}, {ours} minus {theirs}: similarity {_signed(ahead)}, distance {_signed(apart)}", ahead


def _signed(estimate: Estimate) -> str:
    sign = "+" if estimate.mean >= 0 else ""
    return f"{sign}{number(estimate.mean, 3)} [{number(estimate.low, 3)}, {number(estimate.high, 3)}]"


def _multiplicity(what: str, grid: Grid) -> str:
    made = grid.comparisons
    by_chance = number(0.05 * made.paired, 1)
    return (
        f"The table of {what} makes {made.count} comparisons: each pair of backbones of a column counts, since the "
        f"best is chosen by the same numbers. {made.found} of the {made.paired} paired differences from the best have "
        f"an interval without 0, where about {by_chance} would if nothing differed and the best were known beforehand; "
        f"{made.kept} of them stay when all comparisons are counted (Holm, on t-tests of the paired "
        f"differences, at 5 % for the whole table), the others are marked ◐."
    )


def _chance(results: Results) -> Iterator[str]:
    said = []
    for column, task in scored_tasks(results).items():
        chance = task.chance()
        if chance is not None:
            said.append(f"{column.title} ({column.note}) {number(chance, 3)}")
    if said:
        listed = ", ".join(said[: 4 * MOST_NAMED])
        yield f"Chance, the score of a prediction that is the same for all images: {listed}."
    low = {readable(column.name): task.at_chance_labels for column, task in scored_tasks(results).items()}
    if any(low.values()):
        named = "; ".join(f"{task}: {_few(labels)}" for task, labels in low.items() if labels)
        yield (
            f"Not above chance, or not above random weights, by the 95 % interval, and so neither marked nor ranked "
            f"before others: {named}."
        )


def _few(labels: list[str]) -> str:
    more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    return ", ".join(labels[:MOST_NAMED]) + more


def _left_out(results: Results, grid: Grid) -> Iterator[str]:
    """Say which tasks do not count in the mean ranks, where others do."""
    competitors = [row for row in grid.rows if row.role == "backbone"]
    if not grid.ranked or len(competitors) < 2:
        return
    left = [column.title for column in grid.columns if column not in grid.ranked]
    if left:
        yield (
            f"Mean ranks leave out {', '.join(left)}: not scored for every backbone, or not on the same test images, "
            f"or nobody is above chance."
        )
