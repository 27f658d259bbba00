"""The tables of the measuring command."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from solo_invariance.commands.console import console

_LISTED = 5


def print_measured(result: Mapping[str, Any]) -> None:
    """Print the numbers of one result, and what was left out."""
    entries = {**result["transforms"], **result["views"]}
    metrics = list(dict.fromkeys(metric for entry in entries.values() for metric in _metrics(entry)))
    table = table_of(f"{result['label']}: invariance, protocol {result['protocol']}", metrics)
    for name, entry in entries.items():
        cells = [cell for metric in metrics for cell in estimate_cells(entry.get(metric))]
        table.add_row(entry["kind"], name, *cells)
    console.print(table)
    _print_left_out(result, entries)


def table_of(title: str, metrics: Sequence[str]) -> Table:
    """Return a table of metrics with their intervals, with as little between the columns as can be."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("kind", no_wrap=True)
    table.add_column("transform", no_wrap=True)
    for metric in metrics:
        table.add_column(metric.replace("_", " "), justify="right", min_width=6)
        table.add_column("95 %", justify="right", no_wrap=True)
    return table


def estimate_cells(measured: Mapping[str, Any] | None, sign: str = "") -> list[str]:
    """Return the cells of a mean and its interval; empty where there is none."""
    if measured is None:
        return ["", ""]
    low, high = measured["ci95"]
    return [f"{measured['mean']:{sign}.3f}", f"[{low:{sign}.3f}, {high:{sign}.3f}]"]


def _metrics(entry: Mapping[str, Any]) -> list[str]:
    """Return the metrics of an entry; not the second opinions on the similarity."""
    found = [key for key, value in entry.items() if isinstance(value, Mapping) and "ci95" in value]
    return [metric for metric in found if not metric.startswith("similarity_with")]


def _print_left_out(result: Mapping[str, Any], entries: Mapping[str, Any]) -> None:
    unreadable = {*result["reference"]["unreadable"], *(u for e in entries.values() for u in e.get("unreadable", []))}
    if unreadable:
        listed = ", ".join(sorted(unreadable)[:_LISTED]) + (", ..." if len(unreadable) > _LISTED else "")
        console.print(f"left out, not readable: {len(unreadable)} images ({listed})", style="yellow", soft_wrap=True)
    short = [name for name, entry in entries.items() if entry.get("target_reached") is False]
    if short:
        console.print(
            f"target_se was not reached for {', '.join(short)}: more images are needed", style="yellow", soft_wrap=True
        )
