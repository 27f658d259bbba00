"""The tables of a report as plain tables, and those as comma-separated values and as LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from solo_invariance.report.association import Associations, Correlation, associations
from solo_invariance.report.collect import Results
from solo_invariance.report.complementarity import Matrix, complementarity_matrix
from solo_invariance.report.differences import DifferenceTable, difference_tables
from solo_invariance.report.grids import Column, Grid, interval, transfer_grid
from solo_invariance.report.groups import Group, groups_of, spread
from solo_invariance.report.health import health_grid
from solo_invariance.report.leaders import MOST_IN_FULL, leaders
from solo_invariance.report.metrics import panels
from solo_invariance.results import Estimate


class Number(NamedTuple):
    """A cell: a number, what is written beside it by its name, and whether it is set in bold."""

    value: float
    beside: tuple[tuple[str, float], ...] = ()
    is_best: bool = False


class Heading(NamedTuple):
    """A column's title, and that of the group that it is in."""

    group: str
    title: str


class Table(NamedTuple):
    """Numbers with headings on two sides; ``corner`` says what the rows are, ``unit`` what stands beside a number."""

    name: str
    title: str
    corner: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[str, tuple[Number | None, ...]], ...]
    decimals: int
    unit: str = "95 % interval"


def all_tables(results: Results) -> Iterator[Table]:
    """Yield every table of the page; where backbones differ by their seeds alone, tables of their groups, too."""
    groups = groups_of(results.rows)
    groups = groups if any(group.is_folded for group in groups) else []
    for panel in panels(results):
        if panel.grid.columns:
            yield from _of_grid(panel.name, panel.title, panel.grid, groups)
    health = health_grid(results)
    if health.columns:
        yield from _of_grid("health", "Label-free health", health, groups)
    scores = transfer_grid(results)
    if scores.columns:
        yield from _of_grid("transfer", "Transfer scores", scores, groups)
    for differences in difference_tables(results):
        yield _of_differences(differences)
    few = results.rows if len(results.rows) <= MOST_IN_FULL else leaders(results)
    if matrix := complementarity_matrix(Results(tuple(few))):
        yield _of_matrix(matrix)
    if found := associations(results):
        yield _of_associations(found)


def as_csv(table: Table) -> str:
    """Return a table as comma-separated values: of each column the number, then what is beside it, in their own."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"{heading.group}: {heading.title}" if heading.group else heading.title for heading in table.headings]
    beside = _beside(table)
    writer.writerow([table.corner, *(f"{name} {of}".strip() for name in names for of in ("", *beside))])
    for label, numbers in table.rows:
        writer.writerow([label, *(text for one in numbers for text in _texts(one, len(beside)))])
    return text.getvalue()


def as_latex(table: Table) -> str:
    r"""Return a table as a ``tabular`` for ``\input``, which needs the package ``booktabs``; the longer side goes down.

    What stands beside a number is set small after it, the best of a column in bold.
    """
    lines = _down(table) if len(table.rows) >= len(table.headings) else _across(table)
    return "\n".join([f"% {_comment(table.title)}; {table.unit} beside each number. Needs booktabs.", *lines, ""])


def escaped(text: str) -> str:
    """Return text as LaTeX sets it, wherever it stands: after the end of a row, ``[`` and ``*`` mean something."""
    return "".join(_LATEX.get(character, character) for character in re.sub(r"\s+", " ", _CONTROL.sub(" ", text)))


_MINUS = "\N{MINUS SIGN}"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "[": "{[}",
    "*": "{*}",
    _MINUS: "$-$",
    "\N{SUPERSCRIPT TWO}": "$^2$",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
}


def _of_grid(name: str, title: str, grid: Grid, groups: Sequence[Group]) -> Iterator[Table]:
    headings = tuple(map(_heading, grid.columns))
    rows = tuple((row.label, tuple(_number(grid, row.label, column) for column in grid.columns)) for row in grid.rows)
    yield Table(name, title, "backbone", headings, rows, grid.decimals + 1)
    if groups:
        found = tuple((group.label, tuple(_of_group(grid, group, one) for one in grid.columns)) for group in groups)
        unit = "standard deviation over backbones"
        yield Table(f"{name} by group", f"{title} by group", "group", headings, found, grid.decimals + 1, unit)


def _heading(column: Column) -> Heading:
    return Heading(column.group, f"{column.title} ({column.note})" if column.note else column.title)


def _number(grid: Grid, label: str, column: Column) -> Number | None:
    cell = grid.cells[label].get(column)
    return Number(cell.estimate.mean, _ends(cell.estimate), cell.mark == "best") if cell else None


def _ends(estimate: Estimate) -> tuple[tuple[str, float], ...]:
    return ("low", estimate.low), ("high", estimate.high)


def _of_group(grid: Grid, group: Group, column: Column) -> Number | None:
    over = spread(grid, group.rows, column)
    return over and Number(over.mean, (("sd", over.deviation),))


def _of_differences(found: DifferenceTable) -> Table:
    rows = tuple(
        (
            label,
            tuple(
                Number(cell.difference.mean, _ends(cell.difference), cell.is_sure) if cell and cell.difference else None
                for cell in cells
            ),
        )
        for label, cells in found.rows.items()
    )
    headings = tuple(map(_heading, found.columns))
    title = f"{found.title}; bold where the interval has no 0 in it"
    return Table(f"difference of {found.title.split(' minus ')[0]}", title, "backbone", headings, rows, found.decimals)


def _of_matrix(matrix: Matrix) -> Table:
    rows = tuple((label, tuple(one and Number(one.value) for one in entries)) for label, entries in matrix.rows)
    headings = tuple(Heading("seen by", label) for label in matrix.labels)
    return Table(
        "complementarity", "What is ignored by rows and seen by columns", "ignored by", headings, rows, 3, "nothing"
    )


def _of_associations(found: Associations) -> Table:
    every = [one for of_task in found.entries.values() for one in of_task.values() if one]
    have_intervals = all(one.interval for one in every)

    def beside(one: Correlation) -> tuple[tuple[str, float], ...]:
        ends = zip(("low", "high"), one.interval or (), strict=False)
        return (*(ends if have_intervals else ()), ("p", one.p), ("n", one.num_pairs))

    rows = tuple(
        (
            f"{task.title} ({task.note})",
            tuple(
                one and Number(one.rho, beside(one), one.is_sure) for one in map(found.entries[task].get, found.changes)
            ),
        )
        for task in found.tasks
    )
    headings = tuple(map(_heading, found.changes))
    title = "Rank correlation of invariances and scores; bold at 5 % after Holm's correction"
    unit = f"{'95 % interval, ' if have_intervals else ''}p and number of backbones"
    return Table("invariance and transfer", title, "task", headings, rows, 2, unit)


def _beside(table: Table) -> tuple[str, ...]:
    """The names of what stands beside a table's numbers."""
    first = next((one for _, numbers in table.rows for one in numbers if one), None)
    return tuple(name for name, _ in first.beside) if first else ()


def _texts(number: Number | None, count: int) -> list[str]:
    if number is None:
        return [""] * (1 + count)
    return [f"{value:.6g}" for value in (number.value, *(value for _, value in number.beside))]


def _down(table: Table) -> list[str]:
    """Rows go down, with the groups of columns over them."""
    groups = [(name, len(list(of_group))) for name, of_group in groupby(table.headings, lambda one: one.group)]
    over = "".join(rf" & \multicolumn{{{count}}}{{c}}{{{escaped(name)}}}" for name, count in groups)
    ends = [sum(count for _, count in groups[:index]) + 2 for index in range(len(groups) + 1)]
    rules = "".join(rf"\cmidrule(lr){{{first}-{after - 1}}}" for first, after in pairwise(ends))
    titles = "".join(f" & {escaped(heading.title)}" for heading in table.headings)
    return [
        rf"\begin{{tabular}}{{l{'r' * len(table.headings)}}}",
        r"\toprule",
        *([rf"{over} \\", rules] if any(name for name, _ in groups) else []),
        rf"{escaped(table.corner)}{titles} \\",
        r"\midrule",
        *(
            rf"{escaped(label)}{''.join(f' & {_set(one, table.decimals)}' for one in numbers)} \\"
            for label, numbers in table.rows
        ),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _across(table: Table) -> list[str]:
    """Columns go down, each group after a rule, and rows across."""
    count = len(table.rows)
    lines = [
        rf"\begin{{tabular}}{{l{'r' * count}}}",
        r"\toprule",
        "".join(f" & {escaped(label)}" for label, _ in table.rows) + r" \\",
    ]
    group = None
    for index, heading in enumerate(table.headings):
        if heading.group != group:
            group = heading.group
            lines += [r"\midrule", *([rf"\multicolumn{{{count + 1}}}{{l}}{{{escaped(group)}}} \\"] if group else [])]
        cells = "".join(f" & {_set(numbers[index], table.decimals)}" for _, numbers in table.rows)
        lines.append(rf"\quad {escaped(heading.title)}{cells} \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _set(number: Number | None, decimals: int) -> str:
    if number is None:
        return "--"
    value = _decimal(number.value, decimals)
    value = rf"\textbf{{{value}}}" if number.is_best else value
    beside = dict(number.beside)
    if {*beside} == {"low", "high"}:
        ends = interval(Estimate(mean=number.value, ci95=(beside["low"], beside["high"])), decimals)
        return rf"{value} {{\scriptsize {ends.replace(_MINUS, '$-$')}}}"
    if "sd" in beside:
        return rf"{value} {{\scriptsize $\pm$ {_decimal(beside['sd'], decimals)}}}"
    if "p" in beside:
        return rf"{value} {{\scriptsize ({_decimal(beside['p'], 3)}; {beside['n']:g})}}"
    return value


def _decimal(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.replace("-", "" if float(text) == 0 else "$-$")


def _comment(text: str) -> str:
    return _CONTROL.sub(" ", text)
