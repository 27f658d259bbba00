"""The tables of the measuring command."""

import sys
from collections.abc import Mapping, Sequence

from rich import box
from rich.measure import Measurement
from rich.table import Table

from solo_invariance.commands.terminal import console
from solo_invariance.results import Estimate, InvarianceComparison, InvarianceResult
from solo_invariance.results.estimate import Measured

_LISTED = 5


def print_measured(result: InvarianceResult) -> None:
    """Print the numbers of one result, and what was left out."""
    entries: dict[str, Measured] = {**result.transforms, **result.views}
    print_entries(f"{result.label}: invariance, protocol {result.protocol}", entries)
    _print_left_out(result, entries)


def print_comparison(comparison: InvarianceComparison) -> None:
    """Print the differences, and on how many images they are."""
    entries = {**comparison.transforms, **comparison.views}
    ours, theirs = comparison.label, comparison.against.label
    named = theirs if theirs != ours else f"{theirs} ({comparison.against.out})"
    counts = sorted({entry.num_images for entry in entries.values()})
    on = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    print_entries(f"{ours} minus {named}: paired differences on {on} images or groups", entries, sign="+")
    for caution in comparison.cautions:
        console.print(f"caution: {caution}", style="yellow", soft_wrap=True)


def print_entries(title: str, entries: Mapping[str, Measured], sign: str = "") -> None:
    """Print a row for each transform or view set, with as many metrics side by side as the terminal has room for.

    Args:
        title: Goes above.
        entries: What was measured, or a difference, by name.
        sign: ``+`` to show the signs of differences.
    """
    metrics = list(dict.fromkeys(metric for entry in entries.values() for metric in _metrics(entry)))
    console.print(title, style="italic", soft_wrap=True)
    while metrics:
        tables = (_table(entries, metrics[:count], sign) for count in range(len(metrics), 0, -1))
        table = next((table for table in tables if _fits(table)), _table(entries, metrics[:1], sign))
        console.print(table, "")
        metrics = metrics[(len(table.columns) - 2) // 2 :]


def _fits(table: Table) -> bool:
    unlimited = console.options.update(max_width=sys.maxsize)
    return Measurement.get(console, unlimited, table).maximum <= console.width


def _table(entries: Mapping[str, Measured], metrics: Sequence[str], sign: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("kind", no_wrap=True)
    table.add_column("transform", no_wrap=True)
    for metric in metrics:
        # Long names are wrapped between words.
        table.add_column("\n".join(metric.split("_")), justify="right", no_wrap=True)
        table.add_column("95 %", justify="right", no_wrap=True)
    for name, entry in entries.items():
        table.add_row(entry.kind, name, *(cell for m in metrics for cell in _cells(entry.metrics.get(m), sign)))
    return table


def _cells(measured: Estimate | None, sign: str) -> list[str]:
    """Return the cells of a mean and its interval; empty where there is none."""
    if measured is None:
        return ["", ""]
    decimals = 2 if max(map(abs, measured.ci95)) >= 10 else 3
    mean, low, high = (f"{number:{sign}.{decimals}f}" for number in (measured.mean, *measured.ci95))
    return [mean, f"[{low}, {high}]"]


def _metrics(entry: Measured) -> list[str]:
    """Return the metrics of an entry; not the second opinions on the similarity."""
    return [metric for metric in entry.metrics if not metric.startswith("similarity_with")]


def _print_left_out(result: InvarianceResult, entries: Mapping[str, Measured]) -> None:
    reference = result.reference
    for caution in result.cautions:
        console.print(f"caution: {caution}", style="yellow", soft_wrap=True)
    if any(len(_metrics(entry)) < len(_metrics(other)) for entry in entries.values() for other in entries.values()):
        console.print("blank: the metric says nothing of that change", style="dim")
    left_out = [one.unreadable for one in result.transforms.values()] + [
        one.unreadable for one in result.views.values()
    ]
    unreadable = {*(reference.unreadable if reference else ()), *(name for names in left_out for name in names)}
    if unreadable:
        listed = ", ".join(sorted(unreadable)[:_LISTED]) + (", ..." if len(unreadable) > _LISTED else "")
        console.print(f"left out, not readable: {len(unreadable)} images ({listed})", style="yellow", soft_wrap=True)
    short = [name for name, entry in result.transforms.items() if entry.target_reached is False]
    if short:
        console.print(
            f"target_se was not reached for {', '.join(short)}: more images are needed", style="yellow", soft_wrap=True
        )
