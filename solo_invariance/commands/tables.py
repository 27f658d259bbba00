"""The tables of measuring and scoring, a block for each kind of change or task."""

import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rich import box
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from solo_invariance.commands.terminal import console
from solo_invariance.report.columns import METRICS, Column, readable, view_group
from solo_invariance.report.grids import KINDS, number, shared_means
from solo_invariance.results import (
    Estimate,
    InvarianceComparison,
    InvarianceResult,
    TransferComparison,
    TransferResult,
    TransformResult,
    ViewResult,
)
from solo_invariance.results.estimate import Measured

_LISTED = 5
_MOST_LAYERS = 4
_MOST_OUTPUTS = 12
_HEADING = 20  # as wide as a number with its interval
_DIFFERS = "*"
_EDGE = "!"


class Block(NamedTuple):
    """What was measured of one kind of change, with the mean over it where it is of several.

    Args:
        title: The kind.
        entries: By name, the estimates of each metric.
        mean: Of each metric.
    """

    title: str
    entries: Mapping[str, Mapping[str, Estimate]]
    mean: Mapping[str, Estimate]


def blocks_of(transforms: Mapping[str, Measured], views: Mapping[str, Measured]) -> list[Block]:
    """Return what was measured, kind by kind: spatial, appearance, any others, and then view sets.

    Means are over what a metric says something of, with the cautious intervals of the report.
    """
    groups: dict[str, dict[str, Measured]] = {}
    kinds = [*KINDS, *(one.kind for one in transforms.values())]
    for title in (*kinds, *map(view_group, (*KINDS, *(one.kind for one in views.values())))):
        groups[title] = {}
    for name, one in transforms.items():
        groups[one.kind][name] = one
    for name, one in views.items():
        groups[view_group(one.kind)][name] = one
    return [_block(title, entries) for title, entries in groups.items() if entries]


def _block(title: str, entries: Mapping[str, Measured]) -> Block:
    shown = {name: {metric: one.metrics[metric] for metric in _metrics(one)} for name, one in entries.items()}
    mean = {}
    for metric in _unique(shown.values()):
        of_metric = {Column(name, title): found[metric] for name, found in shown.items() if metric in found}
        means = shared_means([of_metric])
        if means.num_columns > 1 and means.estimates[0] is not None:
            mean[metric] = means.estimates[0]
    return Block(title, shown, mean)


def print_measured_layers(results: Sequence[InvarianceResult]) -> None:
    """Print a table for each layer, or one of means over kinds of change where there are many."""
    if len(results) <= _MOST_LAYERS:
        for result in results:
            print_measured(result)
        return
    first = results[0]
    console.print(_title(f"{len(results)} layers and twins", first), style="italic", soft_wrap=True)
    blocks = {result.label: blocks_of(result.transforms, result.views) for result in results}
    kinds = [block.title for block in blocks[first.label]]
    shown = [entry for found in blocks.values() for block in found for entry in block.entries.values()]
    # Layers have different widths, on which the plain one depends.
    metric = "width_matched_similarity" if all("width_matched_similarity" in one for one in shown) else "similarity"
    health = list(dict.fromkeys(name for result in results for name in result.health))
    headings = [f"mean {readable(metric)}, {kind}" for kind in kinds]
    table = _empty([*headings, *map(readable, health)], "layer")
    for result in results:
        found = blocks[result.label]
        of_kind = {block.title: block.mean.get(metric) or next(iter(block.entries.values()))[metric] for block in found}
        of_features = (cell(result.health.get(name), 2) for name in health)
        table.add_row(Text(result.label), *(cell(of_kind.get(kind), 3, "") for kind in kinds), *of_features)
    console.print(table, "")
    _print_cautions(dict.fromkeys(caution for result in results for caution in result.cautions))


def print_measured(result: InvarianceResult) -> None:
    """Print the numbers of one result, what was drawn for them, and what was left out."""
    blocks = blocks_of(result.transforms, result.views)
    print_blocks(_title(result.label, result), blocks)
    if result.budget == "adaptive" and result.transforms:
        console.print(adaptive_in_words(result), soft_wrap=True, highlight=False)
    print_health(result.health, f"of {result.backbone.num_features} features")
    _print_left_out(result)


def print_health(health: Mapping[str, Estimate], of: str, sign: str = "") -> None:
    """Print the metrics of features, which are of no change of the images, in one line.

    Args:
        health: By name.
        of: What they are of.
        sign: ``+`` to show the signs of differences, and which of them are none by chance.
    """
    if health:
        listed = ", ".join(f"{readable(name)} {cell(one, 2, sign).plain.rstrip()}" for name, one in health.items())
        console.print(f"health {of}: {listed}", highlight=False, soft_wrap=True)


def _title(what: str, result: InvarianceResult) -> str:
    if not result.transforms and not result.views:
        count = "" if result.reference is None else f"{result.reference.num_images} "
        return f"{what}: features of {count}images, protocol {result.protocol}"
    on = f"{result.num_images} images, k {result.k}" if result.transforms else "view sets"
    if result.budget == "adaptive" and result.transforms:
        on = f"up to {on}, budget adaptive"
    return f"{what}: invariance on {on}, protocol {result.protocol}"


def adaptive_in_words(result: InvarianceResult) -> str:
    """Return what ``budget=adaptive`` drew and how precise it became: the largest standard error of each kind."""
    drawn = [one.num_images for one in result.transforms.values() if one.num_images is not None]
    views = sum(one.num_views or 0 for one in result.transforms.values())
    reached = []
    for kind in dict.fromkeys(one.kind for one in result.transforms.values()):
        errors = {
            name: one.similarity.standard_error
            for name, one in result.transforms.items()
            if one.kind == kind and one.similarity.standard_error is not None
        }
        if errors:
            worst = max(errors, key=lambda name: errors[name] or 0)
            reached.append(f"{kind} {errors[worst]:.4f} ({worst})")
    images = f"{min(drawn)} to {max(drawn)}" if drawn and min(drawn) < max(drawn) else f"{max(drawn, default=0)}"
    target = result.config.get("target_se")
    wanted = "" if target is None else f", asked for: {target:g}"
    return f"drawn: {images} images a transform, {views:,} views; largest standard error: {', '.join(reached)}{wanted}"


def print_comparison(comparison: InvarianceComparison) -> None:
    """Print the differences, on how many images they are, and how many of them are none by chance."""
    blocks = blocks_of(comparison.transforms, comparison.views)
    entries = [*comparison.transforms.values(), *comparison.views.values()]
    ours, theirs = comparison.label, comparison.against.label
    named = theirs if theirs != ours else f"{theirs} ({comparison.against.out})"
    counts = sorted({entry.num_images for entry in entries})
    on = f" on {' to '.join(map(str, dict.fromkeys([counts[0], counts[-1]])))} images" if counts else ""
    what = " or groups" if comparison.views else ""
    print_blocks(f"{ours} minus {named}: paired differences{on}{what}", blocks, sign="+")
    print_health(comparison.health, "difference", sign="+")
    differences = [one for block in blocks for found in block.entries.values() for one in found.values()]
    differences += comparison.health.values()
    console.print(multiplicity(differences), style="dim", soft_wrap=True)
    _print_cautions(comparison.cautions)


def multiplicity(differences: Sequence[Estimate]) -> str:
    """Return how many differences have an interval that excludes 0, and how many would by chance alone."""
    count = sum(map(_excludes_zero, differences))
    chance = len(differences) / 20
    expected = f"about {chance:.0f}" if chance >= 1 else "less than one"
    return (
        f"{_DIFFERS} the 95 % interval excludes 0: {count} of {len(differences)}; were there no difference at all, "
        f"{expected} would"
    )


def print_blocks(title: str, blocks: Sequence[Block], sign: str = "") -> None:
    """Print a row for each transform or view set, with as many metrics side by side as the terminal has room for.

    Args:
        title: Goes above.
        blocks: What was measured, or differences.
        sign: ``+`` to show the signs of differences, and which of them are none by chance.
    """
    metrics = _unique(found for block in blocks for found in block.entries.values())
    console.print(title, style="italic", soft_wrap=True)
    while metrics:
        tables = {count: _table(blocks, metrics[:count], sign) for count in range(len(metrics), 0, -1)}
        count = next((count for count, table in tables.items() if _fits(table)), 1)
        console.print(tables[count], "")
        metrics = metrics[count:]


def _fits(table: Table) -> bool:
    unlimited = console.options.update(max_width=sys.maxsize)
    return Measurement.get(console, unlimited, table).maximum <= console.width


def _table(blocks: Sequence[Block], metrics: Sequence[str], sign: str) -> Table:
    table = _empty([readable(metric) for metric in metrics], "")
    decimals = {metric: _decimals(blocks, metric) for metric in metrics}
    for block in blocks:
        table.add_row(Text(block.title, "bold"))
        for name, found in block.entries.items():
            cells = (cell(found.get(metric), decimals[metric], sign) for metric in metrics)
            table.add_row(Text(f"  {name}"), *cells)
        if block.mean:
            cells = (cell(block.mean.get(metric), decimals[metric], sign) for metric in metrics)
            table.add_row(Text("  mean", "bold"), *cells)
    return table


def _empty(headings: Sequence[str], first: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(first, no_wrap=True)
    for heading in headings:
        # Long names are wrapped between words.
        table.add_column(textwrap.fill(heading, _HEADING), justify="right", no_wrap=True, min_width=_HEADING)
    return table


def _decimals(blocks: Sequence[Block], metric: str) -> int:
    found = [one for block in blocks for of_name in block.entries.values() if (one := of_name.get(metric)) is not None]
    return 2 if max(abs(end) for one in found for end in one.ci95) >= 10 else 3


def cell(measured: Estimate | None, decimals: int, sign: str = "") -> Text:
    """Return the cell of a mean and its interval; empty where there is none."""
    if measured is None:
        return Text("")
    # Without the sign of what is rounded to zero.
    mean, low, high = (
        f"{round(value, decimals) + 0.0:{sign}.{decimals}f}" for value in (measured.mean, *measured.ci95)
    )
    if not sign:
        return Text(f"{mean} [{low}, {high}]")
    differs = _excludes_zero(measured)
    return Text(f"{mean} [{low}, {high}]{_DIFFERS if differs else ' '}", "bold" if differs else "")


def _excludes_zero(difference: Estimate) -> bool:
    return difference.low > 0 or difference.high < 0


def _metrics(entry: Measured) -> list[str]:
    """Return the metrics of an entry; not the second opinions on the similarity."""
    return [metric for metric in entry.metrics if not metric.startswith("similarity_with")]


def _unique(found: Iterable[Mapping[str, Estimate]]) -> list[str]:
    return list(dict.fromkeys(metric for one in found for metric in one))


def _print_cautions(cautions: Iterable[str]) -> None:
    for caution in cautions:
        console.print(f"caution: {caution}", style="yellow", soft_wrap=True)


def _print_left_out(result: InvarianceResult) -> None:
    reference = result.reference
    entries: list[TransformResult | ViewResult] = [*result.transforms.values(), *result.views.values()]
    _print_cautions(result.cautions)
    if len({len(_metrics(entry)) for entry in entries}) > 1:
        console.print("blank: the metric says nothing of that change", style="dim")
    left_out = [*(reference.unreadable if reference else ()), *(name for one in entries for name in one.unreadable)]
    unreadable = sorted({*left_out})
    if unreadable:
        listed = ", ".join(unreadable[:_LISTED]) + (", ..." if len(unreadable) > _LISTED else "")
        console.print(f"left out, not readable: {len(unreadable)} images ({listed})", style="yellow", soft_wrap=True)
    short = [name for name, entry in result.transforms.items() if entry.target_reached is False]
    if short:
        console.print(
            f"target_se was not reached for {', '.join(short)}: more images are needed", style="yellow", soft_wrap=True
        )


def print_scores(results: Sequence[TransferResult]) -> None:
    """Print a row for each task: the score beside what chance scores, how it was probed, and on how many images."""
    first = results[0]
    protocol = f", protocol {first.protocol}" if first.protocol else ""
    console.print(f"{first.label}: transfer{protocol}; higher is better", style="italic", soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    names = [*(result.task for result in results), *(f"  {name}" for result in results for name in result.outputs)]
    table.add_column("task", overflow="fold", no_wrap=max(map(len, names)) <= _HEADING)
    table.add_column("metric", overflow="fold")
    table.add_column("score", no_wrap=True)
    table.add_column("chance", justify="right", no_wrap=True)
    table.add_column("probe", overflow="fold")
    table.add_column("train\n/test", justify="right", overflow="fold")
    for result in results:
        score = f"{result.score.mean:.3f} [{result.score.low:.3f}, {result.score.high:.3f}]"
        chance = "" if result.chance is None else f"{result.chance:.3f}"
        metric = METRICS.get(result.metric, readable(result.metric))
        counts = f"{result.num_train}/{result.num_test}"
        table.add_row(*map(Text, (result.task, metric, score, chance, chosen_by(result), counts)))
        outputs = [*result.outputs.items()]
        for name, value in outputs[:_MOST_OUTPUTS]:
            table.add_row(Text(f"  {name}", "dim"), "", Text(number(value, 3), "dim"))
        if len(outputs) > _MOST_OUTPUTS:
            table.add_row(Text(f"  and {len(outputs) - _MOST_OUTPUTS} more", "dim"))
    console.print(table, "")
    if any(result.penalty_is_at_an_edge for result in results):
        console.print(
            f"{_EDGE} the smallest or the largest penalty that was tried: a better one may lie beyond", style="yellow"
        )


def chosen_by(result: TransferResult) -> str:
    """Return a probe with what cross-validation chose for it: a penalty, a k, the widths of kernels."""
    details = result.details
    chosen = []
    if result.penalty is not None:
        chosen.append(f"penalty {result.penalty:.3g}{_EDGE if result.penalty_is_at_an_edge else ''}")
    if result.probe == "knn" and "k" in details:
        chosen.append(f"k {details['k']}")
    if "alpha" in details and "gamma" in details:
        chosen += [f"penalty {_span(details['alpha'])}", f"width {_span(details['gamma'])}"]
    return ", ".join([readable(result.probe), *chosen])


def _span(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def print_differences(comparisons: Sequence[TransferComparison]) -> None:
    """Print the paired differences of scores, and how many of them are none by chance."""
    for comparison in comparisons:
        found = comparison.difference
        console.print(
            f"{comparison.label} minus {comparison.against.label} on {comparison.task}: {comparison.metric} "
            f"{cell(found, 3, '+').plain.rstrip()}, paired on {comparison.num_test} test images",
            highlight=False,
            soft_wrap=True,
        )
    if comparisons:
        console.print(multiplicity([one.difference for one in comparisons]), style="dim", soft_wrap=True)
