"""The report's tables for the terminal, turned by a quarter: one column per backbone fits more often than one row."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from solo_invariance.report.caveats import caveats
from solo_invariance.report.collect import Results
from solo_invariance.report.grids import (
    Cell,
    Column,
    Grid,
    comparable_similarity,
    interval,
    invariance_grid,
    mean_ranks,
    number,
    transfer_grid,
)
from solo_invariance.report.headline import Label, headline

MARKS = {"best": "●", "tied": "○", "": " "}
LEGEND = "● best   ○ interval overlaps the best's   [low, high]: 95 % interval"


def print_tables(results: Results, console: Console) -> None:
    """Print the headline and the tables of invariance and transfer to a terminal."""
    for sentence in headline(results):
        console.print(Text.assemble(*((part, "bold" if isinstance(part, Label) else "") for part in sentence)))
    for caveat in caveats(results):
        console.print(Text(caveat, "yellow"))
    quantity = comparable_similarity(results.rows)
    similarity, distance = invariance_grid(results, "similarity"), invariance_grid(results, "distance")
    if quantity != "similarity":
        matched = invariance_grid(results, quantity)
        _print_table(
            lambda between: invariance_table(matched, "Width-matched similarity: 1 is invariant", between), console
        )
    _print_table(lambda between: invariance_table(similarity, "Similarity: 1 is invariant", between), console)
    _print_table(lambda between: invariance_table(distance, "Distance: 0 is invariant", between), console)
    _print_table(lambda between: transfer_table(transfer_grid(results), between), console)
    console.print(Text(LEGEND, "dim"))


def invariance_table(grid: Grid, title: str, between: str = " ") -> Table:
    """A table of similarity or distance with a section for each kind of transform and view set.

    ``between`` stands between a number and its interval.
    """
    table = _table(grid, title, "change")
    start = 0
    for group, width in grid.groups:
        table.add_row(Text(group, "bold"))
        for column in grid.columns[start : start + width]:
            table.add_row(Text(f"  {column.title}"), *_cells(grid, column, between))
        table.add_section()
        start += width
    return table


def transfer_table(grid: Grid, between: str = " ") -> Table:
    """A table of scores, with the mean rank in the last row."""
    table = _table(grid, "Transfer: higher is better", "task")
    for column in grid.columns:
        table.add_row(Text(f"{column.title} ({column.note})"), *_cells(grid, column, between))
    ranks = mean_ranks(grid)
    if ranks:
        table.add_section()
        table.add_row(Text("mean rank"), *(Text(number(ranks[row.label], 2)) for row in grid.rows))
    return table


def _print_table(table_with: Callable[[str], Table], console: Console) -> None:
    """Print a table, with the intervals on lines of their own if it is too wide otherwise."""
    table = table_with(" ")
    unlimited = console.options.update(max_width=sys.maxsize)
    if Measurement.get(console, unlimited, table).maximum > console.width:
        table = table_with("\n")
    if table.row_count:
        console.print(table)


def _table(grid: Grid, title: str, first_column: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(first_column)
    for row in grid.rows:
        table.add_column(Text(row.label), overflow="fold")
    return table


def _cells(grid: Grid, column: Column, between: str) -> Sequence[Text]:
    return [_cell(grid.cells[row.label].get(column), grid.decimals, between) for row in grid.rows]


def _cell(cell: Cell | None, decimals: int, between: str) -> Text:
    if cell is None:
        return Text("\N{EN DASH}", "dim")
    value = f"{number(cell.estimate.mean, decimals)} {MARKS[cell.mark]}{between}"
    return Text.assemble((value, "bold" if cell.mark == "best" else ""), (interval(cell.estimate, decimals), "dim"))
