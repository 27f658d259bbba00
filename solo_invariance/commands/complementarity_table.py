"""Which of the measured backbones see what others ignore, in the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from solo_invariance.commands.terminal import console
from solo_invariance.errors import UserError
from solo_invariance.fuse.complementarity import Complementarity, complementarity


def print_complementarity(runs: Sequence[Path]) -> Complementarity:
    """Print and return how much each measured backbone sees of what each other one ignores.

    Args:
        runs: Directories with results of ``measure``.

    Raises:
        UserError: There are fewer than two backbones, or no transform that all were measured on.
    """
    from solo_invariance.report import collect_results

    # A fused backbone sees what its members see: it would say nothing about whom to fuse.
    rows = [row for row in collect_results(runs).rows if row.transforms and not row.is_fused]
    similarities = {row.label: {name: one.similarity.mean for name, one in row.transforms.items()} for row in rows}
    if not rows:
        raise UserError(f"measured: no results of `measure`, of single backbones, in {', '.join(map(str, runs))}")
    try:
        found = complementarity(similarities)
    except ValueError as error:
        raise UserError(f"measured: {error}") from error
    console.print(f"what each column sees and the row ignores ({len(found.transforms)} transforms)")
    table = Table()
    table.add_column("ignored by")
    for label in found.labels:
        table.add_column(label, justify="right")
    for label, values, strongest in zip(found.labels, found.matrix, found.strongest, strict=True):
        cells = [_cell(value, name) for value, name in zip(values, strongest, strict=True)]
        table.add_row(label, *cells)
    console.print(table)
    return found


def _cell(value: float, strongest: str | None) -> str:
    return "" if strongest is None else f"{value:.2f} ({strongest})"
