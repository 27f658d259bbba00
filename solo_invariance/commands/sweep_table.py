"""What the jobs of a sweep have made, in one table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from solo_invariance.commands.outcome import output_mode, print_json
from solo_invariance.commands.terminal import console, shortened

_LONGEST = 28


def say_sweep(found: Mapping[int, Mapping[str, Any]]) -> None:
    """Say what jobs have made, as ``--quiet`` and ``--json`` want it: one table, their paths, or a JSON list.

    Args:
        found: What each told, by its number.
    """
    mode = output_mode()
    if mode == "json":
        print_json([_document(number, record) for number, record in found.items()])
    elif mode == "quiet":
        for record in found.values():
            if record.get("path"):
                print(record["path"])
    else:
        _print_table(found)


def job_in_words(swept: Mapping[str, str]) -> str:
    """Return what tells a job from others."""
    return " ".join(f"{key}={value}" for key, value in swept.items()) or "the only one"


def _document(number: int, record: Mapping[str, Any]) -> dict[str, Any]:
    about = {"job": number, "swept": record["swept"]}
    return {**about, "error": record["error"]} if "error" in record else {**about, **record["document"]}


def _print_table(found: Mapping[int, Mapping[str, Any]]) -> None:
    keys = list(dict.fromkeys(key for record in found.values() for key in record["swept"]))
    headings = list(
        dict.fromkeys(heading for record in found.values() for row in record.get("rows", []) for heading in row)
    )
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for key in keys:
        table.add_column(key.rpartition(".")[2], overflow="fold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    told = {key: told_apart([str(record["swept"].get(key, "")) for record in found.values()]) for key in keys}
    for place, record in enumerate(found.values()):
        swept = [Text(shortened(told[key][place], _LONGEST)) for key in keys]
        for row in record.get("rows") or [{}]:
            cells = [Text(row.get(heading, "")) for heading in headings]
            if "error" in record:
                cells = [Text("failed", "red"), *cells[1:]] if cells else []
            table.add_row(*swept, *cells)
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
