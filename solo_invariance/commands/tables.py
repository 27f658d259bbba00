"""The tables of the measuring command."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.measure import Measurement
from rich.table import Table

from solo_invariance.commands.terminal import console

_LISTED = 5


def print_measured(result: Mapping[str, Any]) -> None:
    """Print the numbers of one result, and what was left out."""
    entries = {**result["transforms"], **result["views"]}
    print_entries(f"{result['label']}: invariance, protocol {result['protocol']}", entries)
    _print_left_out(result, entries)


def print_comparison(comparison: Mapping[str, Any]) -> None:
    """Print the differences, and on how many images they are."""
    entries = {**comparison["transforms"], **comparison["views"]}
    ours, theirs = comparison["label"], comparison["against"]["label"]
    named = theirs if theirs != ours else f"{theirs} ({comparison['against']['out']})"
    counts = sorted({entry["num_images"] for entry in entries.values()})
    on = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    print_entries(f"{ours} minus {named}: paired differences on {on} images or groups", entries, sign="+")


def print_entries(title: str, entries: Mapping[str, Mapping[str, Any]], sign: str = "") -> None:
    """Print a row for each transform or view set, with as many metrics side by side as the terminal has room for.

    Args:
        title: Goes above.
        entries: By name: ``kind``, and an estimate for each metric.
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


def _table(entries: Mapping[str, Mapping[str, Any]], metrics: Sequence[str], sign: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("kind", no_wrap=True)
    table.add_column("transform", no_wrap=True)
    for metric in metrics:
        # Long names are wrapped between words.
        table.add_column("\n".join(metric.split("_")), justify="right", no_wrap=True)
        table.add_column("95 %", justify="right", no_wrap=True)
    for name, entry in entries.items():
        table.add_row(entry["kind"], name, *(cell for m in metrics for cell in _cells(entry.get(m), sign)))
    return table


def _cells(measured: Mapping[str, Any] | None, sign: str) -> list[str]:
    """Return the cells of a mean and its interval; empty where there is none."""
    if measured is None:
        return ["", ""]
    decimals = 2 if max(map(abs, measured["ci95"])) >= 10 else 3
    mean, low, high = (f"{number:{sign}.{decimals}f}" for number in (measured["mean"], *measured["ci95"]))
    return [mean, f"[{low}, {high}]"]


def _metrics(entry: Mapping[str, Any]) -> list[str]:
    """Return the metrics of an entry; not the second opinions on the similarity."""
    found = [key for key, value in entry.items() if isinstance(value, Mapping) and "ci95" in value]
    return [metric for metric in found if not metric.startswith("similarity_with")]


def _print_left_out(result: Mapping[str, Any], entries: Mapping[str, Any]) -> None:
    reference = result["reference"]
    if reference["shrinkage"]:
        console.print(
            f"reference: {reference['num_images']} images are few for {result['backbone']['num_features']} features: "
            f"their covariance is shrunk by {reference['shrinkage']:.2f}, on which the numbers depend (reference.path)",
            style="yellow",
            soft_wrap=True,
        )
    if any(len(_metrics(entry)) < len(_metrics(other)) for entry in entries.values() for other in entries.values()):
        console.print("blank: the metric says nothing of that change", style="dim")
    unreadable = {*result["reference"]["unreadable"], *(u for e in entries.values() for u in e.get("unreadable", []))}
    if unreadable:
        listed = ", ".join(sorted(unreadable)[:_LISTED]) + (", ..." if len(unreadable) > _LISTED else "")
        console.print(f"left out, not readable: {len(unreadable)} images ({listed})", style="yellow", soft_wrap=True)
    short = [name for name, entry in entries.items() if entry.get("target_reached") is False]
    if short:
        console.print(
            f"target_se was not reached for {', '.join(short)}: more images are needed", style="yellow", soft_wrap=True
        )
