"""The report's tables for the terminal, turned by a quarter: one column per backbone fits more often than one row.

Where not all of them fit side by side, they are in up to three tables; of more, there is a summary of each change and
task, and who leads.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from solo_invariance.commands.study_tables import print_study
from solo_invariance.report.caveats import caveats
from solo_invariance.report.collect import Results, Row
from solo_invariance.report.columns import Column, Quantity
from solo_invariance.report.differences import DifferenceCell, DifferenceTable, difference_tables
from solo_invariance.report.grids import (
    Cell,
    Grid,
    comparable_similarity,
    interval,
    invariance_grid,
    mean_ranks,
    number,
    transfer_grid,
)
from solo_invariance.report.groups import Group, Spread, folded, spread
from solo_invariance.report.headline import Label, headline
from solo_invariance.report.health import health_grid
from solo_invariance.report.layers import LayerCurve, layer_curves
from solo_invariance.report.leaders import NUM_LEADERS, leaders
from solo_invariance.report.marks import SYMBOLS, WORDS
from solo_invariance.report.notes import WHICH_METRIC, disagreements, findings
from solo_invariance.report.paired import comparable_distance
from solo_invariance.results import Estimate

_WIDEST_LABEL = 24
_MOST_TABLES = 3
_MOST_IN_DIFFERENCES = 6

_DISTANCES: dict[Quantity, str] = {
    "distance": "Distance: 0 is invariant",
    "relative_distance": "Distance over √(2 D), that of independent images: 0 is invariant",
}

Draw = Callable[[Grid, str], Table]
"""Makes a table of a grid, given what stands between a number and its interval."""


def print_tables(results: Results, console: Console) -> None:
    """Print the verdicts of studies, the headline, and the tables of invariance and transfer to a terminal."""
    for study in results.studies:
        print_study(study, console)
    if not results.rows:
        return
    for sentence in headline(results):
        console.print(Text.assemble(*((part, "bold" if isinstance(part, Label) else "") for part in sentence)))
    for caveat in caveats(results):
        console.print(Text(caveat, "yellow"))
    quantity, distance = comparable_similarity(results.rows), comparable_distance(results.rows)
    titles: dict[Quantity, str] = {"similarity": "Similarity: 1 is invariant", distance: _DISTANCES[distance]}
    if quantity != "similarity":
        titles = {quantity: "Width-matched similarity: 1 is invariant", **titles}
    grids = {title: _compared_rows(invariance_grid(results, of)) for of, title in titles.items()}
    scores = transfer_grid(results)
    ranks = mean_ranks(scores)
    drawn: list[tuple[Grid, Draw]] = [(grid, partial(_invariance, title)) for title, grid in grids.items()]
    drawn.append((_compared_rows(health_grid(results)), partial(_invariance, "Label-free health")))
    drawn.append((scores, partial(_transfer, ranks)))
    groups = folded(results.rows)
    if any(group.is_folded for group in groups):
        for title, grid in (next(iter(grids.items())), ("Transfer: higher is better", scores)):
            _print_groups(grid, groups, title, console)
    if any(len(grid.rows) > _MOST_TABLES * _side_by_side(grid, draw, console) for grid, draw in drawn):
        _print_summary(results, grids, scores, console)
    else:
        for grid, draw in drawn:
            _print_grid(grid, draw, console)
    for curve in layer_curves(results):
        console.print(layers_table(curve))
    _print_differences(results, console)
    marks = dict.fromkeys(mark for grid in (*grids.values(), scores) for mark in grid.marks)
    legend = [f"{SYMBOLS[mark]} {WORDS[mark]}" for mark in marks]
    console.print(Text("\n".join([*legend, "[low, high]: 95 % interval"]), "dim"))
    for note in [*findings(results), *([WHICH_METRIC] if disagreements(results) else [])]:
        console.print(Text(note, "dim"))


def _compared_rows(grid: Grid) -> Grid:
    """Leave out layers and their twins, which have a table of their own."""
    families = {row.family for row in grid.rows if row.role == "layer"}
    rows = (row for row in grid.rows if row.role != "layer" and (row.role == "backbone" or row.family not in families))
    return replace(grid, rows=tuple(rows))


def layers_table(curve: LayerCurve) -> Table:
    """A table of a backbone's layers in the order of their depth: the mean similarity to each kind of change."""
    table = Table(title=f"Layers of {curve.label}, from the shallowest", title_justify="left", title_style="bold")
    table.add_column("layer", overflow="fold")
    for kind in curve.similarity:
        table.add_column(Text(kind), overflow="fold")
        if kind in curve.untrained:
            table.add_column(Text("untrained"), overflow="fold")
    for place, layer in enumerate(curve.layers):
        cells = [Text(layer)]
        for kind, means in curve.similarity.items():
            cells.append(_estimate(means[place]))
            if kind in curve.untrained:
                cells.append(_estimate(curve.untrained[kind][place]))
        table.add_row(*cells)
    return table


def differences_table(table: DifferenceTable) -> Table:
    """A table with a row for each backbone and a column for each mean or task, of paired differences."""
    drawn = Table(title=table.title, title_justify="left", title_style="bold")
    drawn.add_column("backbone", overflow="fold")
    for column in table.columns:
        drawn.add_column(Text(f"mean, {column.group}" if column.is_mean else column.title), overflow="fold")
    for label, cells in table.rows.items():
        drawn.add_row(Text(label), *(_difference(cell, table.decimals) for cell in cells))
    return drawn


def _print_differences(results: Results, console: Console) -> None:
    for found in difference_tables(results):
        table = found.summary()
        if len(table.columns) <= _MOST_IN_DIFFERENCES and len(table.rows) <= NUM_LEADERS:
            console.print(differences_table(table))
        else:
            console.print(Text(f"{table.title}: on the page.", "dim"))


def _difference(cell: DifferenceCell | None, decimals: int) -> Text:
    if cell is None or cell.difference is None:
        return Text("\N{EN DASH}" if cell is None else cell.said, "dim")
    sign = "+" if cell.difference.mean >= 0 else ""
    value = f"{sign}{number(cell.difference.mean, decimals)} "
    return Text.assemble((value, "bold" if cell.is_sure else ""), (interval(cell.difference, decimals), "dim"))


def _estimate(estimate: Estimate | None) -> Text:
    if estimate is None:
        return Text("\N{EN DASH}", "dim")
    return Text.assemble(f"{number(estimate.mean, 2)} ", (interval(estimate, 2), "dim"))


def invariance_table(grid: Grid, title: str, between: str = " ") -> Table:
    """A table of similarity or distance with a section for each kind of transform and view set.

    ``between`` stands between a number and its interval.
    """
    table = _table(grid.rows, title, "change")
    for group, columns in _sections(grid):
        table.add_row(Text(group, "bold"))
        for column in columns:
            table.add_row(Text(f"  {column.title}"), *_cells(grid, column, between))
        table.add_section()
    return table


def groups_table(grid: Grid, groups: Sequence[Group], title: str) -> Table:
    """A table of backbones that are one thing with several seeds: their mean and standard deviation."""
    table = Table(title=f"{title}; mean ± SD over seeds", title_justify="left", title_style="bold")
    table.add_column("")
    for group in groups:
        table.add_column(Text(f"{group.label} ({len(group.rows)})"), overflow="fold", max_width=_WIDEST_LABEL)
    for name, columns in _sections(grid):
        table.add_row(Text(name, "bold"))
        for column in columns:
            found = [spread(grid, group.rows, column) for group in groups]
            table.add_row(Text(f"  {_titled(column)}"), *(_spread(one, grid.decimals) for one in found))
        table.add_section()
    return table


def transfer_table(grid: Grid, ranks: Mapping[str, float], between: str = " ") -> Table:
    """A table of scores, with the mean rank in the last row, where there are ranks."""
    table = _table(grid.rows, "Transfer: higher is better", "task")
    for column in grid.columns:
        table.add_row(_task(column), *_cells(grid, column, between))
    if ranks:
        table.add_section()
        table.add_row(Text("mean rank"), *(Text(_rank(row, ranks)) for row in grid.rows))
    return table


def _rank(row: Row, ranks: Mapping[str, float]) -> str:
    return number(ranks[row.label], 2) if row.label in ranks else "\N{EN DASH}"


def summary_table(grid: Grid, title: str) -> Table:
    """A table of very many backbones: of each change or task the best, how many are tied with it, and the others."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in ("", "best", "backbone", "tied", "median", "worst"):
        table.add_column(
            heading, overflow="fold", justify="right" if heading in ("tied", "median", "worst") else "left"
        )
    for group, columns in _sections(grid):
        table.add_row(Text(group, "bold"))
        for column in columns:
            table.add_row(*_summary(grid, column))
        table.add_section()
    return table


def leaders_table(rows: Sequence[Row], grid: Grid, scores: Grid) -> Table:
    """A table with a row for each backbone that leads somewhere: its means over the kinds of change, and its rank."""
    means = [column for column in grid.columns if column.is_mean]
    ranks = mean_ranks(scores)
    table = Table(title="Who leads", title_justify="left", title_style="bold")
    for heading in ("backbone", *(f"mean, {column.group}" for column in means), *(["mean rank"] if ranks else [])):
        table.add_column(Text(heading), overflow="fold")
    for row in rows:
        measured = [_cell(grid.cells.get(row.label, {}).get(column), grid.decimals, " ") for column in means]
        ranked = [Text(number(ranks[row.label], 2) if row.label in ranks else "\N{EN DASH}")] if ranks else []
        table.add_row(Text(row.label), *measured, *ranked)
    return table


def _print_summary(results: Results, grids: Mapping[str, Grid], scores: Grid, console: Console) -> None:
    for title, grid in {**grids, "Transfer: higher is better": scores}.items():
        if grid.columns and grid.rows:
            console.print(summary_table(grid, f"{title} ({len(grid.rows)} backbones)"))
    console.print(leaders_table(leaders(results), next(iter(grids.values())), scores))
    console.print(Text(f"The page has all numbers of the {len(results.rows)} backbones.", "dim"))


def _invariance(title: str, grid: Grid, between: str) -> Table:
    return invariance_table(grid, title, between)


def _transfer(ranks: Mapping[str, float], grid: Grid, between: str) -> Table:
    return transfer_table(grid, ranks, between)


def _print_grid(grid: Grid, draw: Draw, console: Console) -> None:
    """Print a table, with intervals on lines of their own and as several tables if it is too wide otherwise."""
    if not grid.columns or not grid.rows:
        return
    if _fits(draw(grid, " "), console):
        console.print(draw(grid, " "))
        return
    count = _side_by_side(grid, draw, console)
    for start in range(0, len(grid.rows), count):
        console.print(draw(_part(grid, start, count), "\n"))


def _print_groups(grid: Grid, groups: Sequence[Group], title: str, console: Console) -> None:
    """Print a table of groups, as several if it is too wide."""
    there = [group for group in groups if any(row.label in grid.cells for row in group.rows)]
    if not grid.columns or not there:
        return
    counts = range(1, len(there) + 1)
    fitting = takewhile(lambda count: _fits(groups_table(grid, there[:count], title), console), counts)
    count = max(fitting, default=1)
    for start in range(0, len(there), count):
        console.print(groups_table(grid, there[start : start + count], title))


def _side_by_side(grid: Grid, draw: Draw, console: Console) -> int:
    """Return how many backbones one table has room for, with intervals on lines of their own; one at least."""
    counts = range(1, min(len(grid.rows), console.width) + 1)
    fitting = takewhile(lambda count: _fits(draw(_part(grid, 0, count), "\n"), console), counts)
    return max(fitting, default=1)


def _part(grid: Grid, start: int, count: int) -> Grid:
    return replace(grid, rows=grid.rows[start : start + count])


def _fits(table: Table, console: Console) -> bool:
    unlimited = console.options.update(max_width=sys.maxsize)
    return Measurement.get(console, unlimited, table).maximum <= console.width


def _table(rows: Sequence[Row], title: str, first_column: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(first_column)
    for row in rows:
        table.add_column(Text(row.label), overflow="fold", max_width=_WIDEST_LABEL)
    return table


def _sections(grid: Grid) -> Iterator[tuple[str, Sequence[Column]]]:
    start = 0
    for group, width in grid.groups:
        yield group, grid.columns[start : start + width]
        start += width


def _task(column: Column) -> Text:
    return Text(_titled(column))


def _titled(column: Column) -> str:
    return f"{column.title} ({column.note})" if column.note else column.title


def _spread(one: Spread | None, decimals: int) -> Text:
    if one is None:
        return Text("\N{EN DASH}", "dim")
    spread_of_seeds = f" ± {number(one.deviation, decimals)}" if one.num_backbones > 1 else ""
    return Text.assemble(number(one.mean, decimals), (spread_of_seeds, "dim"))


def _cells(grid: Grid, column: Column, between: str) -> Sequence[Text]:
    return [_cell(grid.cells[row.label].get(column), grid.decimals, between) for row in grid.rows]


def _summary(grid: Grid, column: Column) -> Sequence[Text]:
    cells = {label: of_row[column] for label, of_row in grid.cells.items() if column in of_row}
    best = next((label for label, cell in cells.items() if cell.mark == "best"), next(iter(cells)))
    means = [cell.estimate.mean for cell in cells.values()]
    worst = max(means, key=lambda mean: abs(mean - cells[best].estimate.mean))
    tied = sum(cell.mark in ("tied", "overlap") for cell in cells.values())
    numbers = (number(value, grid.decimals) for value in (statistics.median(means), worst))
    name = _task(column) if column.note else Text(f"  {column.title}")
    return name, _cell(cells[best], grid.decimals, " "), Text(best), Text(str(tied)), *map(Text, numbers)


def _cell(cell: Cell | None, decimals: int, between: str) -> Text:
    if cell is None:
        return Text("\N{EN DASH}", "dim")
    value = f"{number(cell.estimate.mean, decimals)} {cell.symbol}{between}"
    return Text.assemble((value, "bold" if cell.mark == "best" else ""), (interval(cell.estimate, decimals), "dim"))
