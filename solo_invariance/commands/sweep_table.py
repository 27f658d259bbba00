"""What the jobs of a sweep have made, in one table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from solo_invariance.commands.outcome import output_mode, print_json
from solo_invariance.commands.sweep import job_in_words
from solo_invariance.commands.terminal import console, shortened

_LONGEST = 28


def say_sweep(found: Mapping[int, Mapping[str, Any]], optimum: Path | None = None) -> None:
    """Say what jobs have made, as ``--quiet`` and ``--json`` want it: one table, their paths, or a JSON list.

    Args:
        found: What each told, by its number.
        optimum: Where a sweeper has written the best values, if one has.
    """
    mode, best = output_mode(), best_of(found)
    if mode == "json":
        print_json([_document(number, record, number in best) for number, record in found.items()])
    elif mode == "quiet":
        for record in found.values():
            if record.get("path"):
                print(record["path"])
    else:
        _print_table(found, best)
        _print_best(found, best, optimum)


def best_of(found: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """Return the numbers of the jobs than which none is better: one, or of several objectives all that no other beats.

    Args:
        found: What each told, by its number; with ``objective``, numbers by name, and ``directions``, one for each.

    Returns:
        None of them where there is no objective, or no direction.

    Example:
        >>> one, other = ({"objective": {"score": score}, "directions": ["maximize"]} for score in (0.5, 0.7))
        >>> best_of({0: one, 1: other})
        [1]
    """
    sought = {number: _sought(record) for number, record in found.items() if _sought(record)}
    best = [
        number
        for number, ours in sought.items()
        if not any(
            all(b >= a for a, b in zip(ours, theirs, strict=True)) and theirs != ours for theirs in sought.values()
        )
    ]
    return best[:1] if best and len(sought[best[0]]) == 1 else best


def _sought(record: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the numbers of a job that are the better the larger they are."""
    values, directions = record.get("objective") or {}, record.get("directions") or []
    if len(values) != len(directions):
        return ()
    return tuple(-value if to == "minimize" else value for value, to in zip(values.values(), directions, strict=True))


def _document(number: int, record: Mapping[str, Any], is_best: bool) -> dict[str, Any]:
    about = {"job": number, "swept": record["swept"]}
    if record.get("objective"):
        about |= {"objective": record["objective"], **({"best": is_best} if record.get("directions") else {})}
    return {**about, "error": record["error"]} if "error" in record else {**about, **record["document"]}


def _print_best(found: Mapping[int, Mapping[str, Any]], best: Sequence[int], optimum: Path | None) -> None:
    for number in best:
        record = found[number]
        reached = ", ".join(
            f"{name} {value:.4g} ({to})"
            for (name, value), to in zip(record["objective"].items(), record["directions"], strict=True)
        )
        place = f"; {record['path']}" if record.get("path") else ""
        console.print(f"best: {job_in_words(record['swept'])}: {reached}{place}", highlight=False, soft_wrap=True)
    if optimum is not None:
        console.print(f"the best values: {optimum}", soft_wrap=True)


def _print_table(found: Mapping[int, Mapping[str, Any]], best: Sequence[int]) -> None:
    keys = list(dict.fromkeys(key for record in found.values() for key in record["swept"]))
    headings = list(
        dict.fromkeys(heading for record in found.values() for row in record.get("rows", []) for heading in row)
    )
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for key in keys:
        table.add_column(key.rpartition(".")[2], overflow="fold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    objectives = list(dict.fromkeys(name for record in found.values() for name in record.get("objective") or {}))
    for name in objectives:
        table.add_column(f"objective {name}", overflow="fold", style="bold")
    told = {key: told_apart([str(record["swept"].get(key, "")) for record in found.values()]) for key in keys}
    for place, (number, record) in enumerate(found.items()):
        values = record.get("objective") or {}
        sought = [f"{values[name]:.4g}{'*' if number in best else ''}" if name in values else "" for name in objectives]
        swept = [Text(shortened(told[key][place], _LONGEST)) for key in keys]
        for row in record.get("rows") or [{}]:
            cells = [Text(row.get(heading, "")) for heading in headings]
            if "error" in record:
                cells = [Text("failed", "red"), *cells[1:]] if cells else []
            table.add_row(*swept, *cells, *sought)
    console.print(f"{len(found)} jobs", style="italic")
    console.print(table, "")


def told_apart(values: Sequence[str]) -> list[str]:
    """Return paths without the folders that they have in common, at the beginning and at the end.

    Example:
        >>> told_apart(["runs/seed=0/last.ckpt", "runs/seed=1/last.ckpt"]), told_apart(["16", "64"])
        (['seed=0', 'seed=1'], ['16', '64'])
    """
    paths = [value.split("/") for value in values]
    for end in (0, -1):
        while min(map(len, paths)) > 1 and len({path[end] for path in paths}) == 1:
            for path in paths:
                del path[end]
    return ["/".join(path) for path in paths]
