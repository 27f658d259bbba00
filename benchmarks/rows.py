"""What a benchmark reports: rows of plain data, in a table for each kind."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_NUMBER = re.compile(r"((\[\w+\])?[\d.]+( \w+)?(\[/\])?)?")


@dataclass(frozen=True)
class Row(ABC):
    """One row; subclasses are frozen dataclasses of numbers and words."""

    title: ClassVar[str]
    """Of the table of the rows of this kind."""
    is_check: ClassVar[bool] = False
    """Whether it says that something is right, not how fast it is."""

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain data, with its kind."""
        return {"kind": type(self).__name__.lower(), **asdict(self)}

    def met(self) -> bool:
        """Return whether the row's target is met; a row that has none meets it."""
        return True

    @abstractmethod
    def cells(self) -> dict[str, str]:
        """Return what the table shows, by the column's name; the same columns for all rows of a kind."""


@dataclass(frozen=True)
class Check(Row):
    """Two ways to the same numbers, and how far apart they are.

    Args:
        what: Is checked.
        against: What it is to agree with.
        difference: Between the two; what it is a difference of is in the note.
        limit: The largest difference that is right.
        note: Units and sizes.
    """

    title: ClassVar[str] = "Checks"
    is_check: ClassVar[bool] = True
    what: str
    against: str
    difference: float
    limit: float
    note: str = ""

    def met(self) -> bool:
        """Return whether the difference is within the limit."""
        return self.difference <= self.limit

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "what": self.what,
            "against": self.against,
            "difference": judged(f"{self.difference:.1e}", self.met()),
            "limit": f"{self.limit:.1e}",
            "note": escape(self.note),
        }


@dataclass(frozen=True)
class Unmeasured(Row):
    """What was not measured, and why.

    Args:
        what: Would have been measured.
        why: ``not reached``, what is missing, or the error.
        wrong: Whether that leaves open if something is right: it failed, or it is a check that was not reached.
    """

    title: ClassVar[str] = "Not measured"
    is_check: ClassVar[bool] = True
    what: str
    why: str
    wrong: bool

    def met(self) -> bool:
        """Return whether nothing is left open."""
        return not self.wrong

    def cells(self) -> dict[str, str]:
        """Return the words."""
        return {"what": self.what, "why": judged(escape(self.why), self.met()) if self.wrong else escape(self.why)}


def judged(text: str, met: bool) -> str:
    """Return a cell in green where a target is met, in red where it is not."""
    return f"[{'green' if met else 'red'}]{text}[/]"


def print_row(row: Row) -> None:
    """Print one row on a line of its own, at once."""
    cells = (f"{column} {cell}" if index else cell for index, (column, cell) in enumerate(row.cells().items()) if cell)
    print("   ", Text.from_markup(", ".join(cells)).plain, flush=True)


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
