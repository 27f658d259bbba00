"""What a benchmark reports: rows of plain data, in a table for each kind."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from rich.console import Console
from rich.table import Table

_NUMBER = re.compile(r"((\[\w+\])?[\d.]+( \w+)?(\[/\])?)?")


@dataclass(frozen=True)
class Row(ABC):
    """One row; subclasses are frozen dataclasses of numbers and words."""

    title: ClassVar[str]
    """Of the table of the rows of this kind."""

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain data, with its kind."""
        return {"kind": type(self).__name__.lower(), **asdict(self)}

    @abstractmethod
    def cells(self) -> dict[str, str]:
        """Return what the table shows, by the column's name; the same columns for all rows of a kind."""


def judged(text: str, met: bool) -> str:
    """Return a cell in green where a target is met, in red where it is not."""
    return f"[{'green' if met else 'red'}]{text}[/]"


def print_rows(rows: Iterable[Row]) -> None:
    """Print one table for each kind of row."""
    kinds: dict[type[Row], list[dict[str, str]]] = {}
    for row in rows:
        kinds.setdefault(type(row), []).append(row.cells())
    for kind, cells in kinds.items():
        table = Table(title=kind.title, title_justify="left")
        for column in cells[0]:
            numbers = all(_NUMBER.fullmatch(row[column]) for row in cells)
            table.add_column(column, justify="right" if numbers else "left")
        for row_cells in cells:
            table.add_row(*row_cells.values())
        Console(width=190).print(table)
