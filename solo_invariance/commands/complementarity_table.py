"""Which of the measured backbones to fuse, in the terminal."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from solo_invariance.commands.terminal import console
from solo_invariance.errors import UserError
from solo_invariance.fuse.complementarity import Complementarity
from solo_invariance.report import collect_results
from solo_invariance.report.fusion_pairs import FusionPairs, Sight, fusion_pairs


def print_complementarity(runs: Sequence[Path]) -> FusionPairs:
    """Print and return the pairs of backbones that complement each other most, and who sees what where that fits.

    Args:
        runs: Directories with results of ``measure``.

    Raises:
        UserError: There are fewer than two backbones, no transform that all were measured on, or no two of the same
            images.
    """
    results = collect_results(runs)
    if not any(row.transforms and not row.is_fused for row in results.rows):
        raise UserError(f"measured: no results of `measure`, of single backbones, in {', '.join(map(str, runs))}")
    try:
        found = fusion_pairs(results)
    except ValueError as error:
        raise UserError(f"measured: {error}") from error
    matrix = _matrix(found.matrix)
    if _fits(matrix):
        console.print(f"what each column sees and the row ignores ({len(found.transforms)} transforms)")
        console.print(matrix)
    _print_pairs(found)
    return found


def _print_pairs(found: FusionPairs) -> None:
    shown = f"the first {len(found.pairs)} of {found.num_pairs}" if len(found.pairs) < found.num_pairs else "all"
    console.print(
        f"pairs to fuse, by what the lesser of the two sees and the other ignores, over {len(found.transforms)} "
        f"transforms ({shown}):",
        highlight=False,
    )
    for place, pair in enumerate(found.pairs, 1):
        console.print(Text.assemble(f"{place:>2}. ", (pair.first.by, "bold"), " + ", (pair.second.by, "bold")))
        for sight in (pair.first, pair.second):
            console.print(Text.assemble(f"    {sight.by} sees ", *_seen(sight)))
    for caution in found.cautions:
        console.print(Text(f"caution: {caution}", "yellow"), soft_wrap=True)
    if found.left_out:
        console.print(
            Text(f"measured on other images, or by another protocol or k: {', '.join(found.left_out)}", "yellow")
        )


def _seen(sight: Sight) -> list[str | tuple[str, str]]:
    value = sight.value
    strongest = [f", most by {sight.strongest}"] if sight.strongest else []
    if sight.num_sure is None:
        return [f"{value.mean:.3f}", *strongest, (" (not paired)", "dim")]
    said = f", sure of {sight.num_sure} transform{'' if sight.num_sure == 1 else 's'}"
    return [f"{value.mean:.3f} ", (f"[{value.low:.3f}, {value.high:.3f}]", "dim"), *strongest, said]


def _matrix(found: Complementarity) -> Table:
    table = Table()
    table.add_column("ignored by")
    for label in found.labels:
        table.add_column(label, justify="right")
    for label, values, strongest in zip(found.labels, found.matrix, found.strongest, strict=True):
        table.add_row(label, *(_cell(value, name) for value, name in zip(values, strongest, strict=True)))
    return table


def _cell(value: float, strongest: str | None) -> str:
    return "" if strongest is None else f"{value:.2f} ({strongest})"


def _fits(table: Table) -> bool:
    unlimited = console.options.update(max_width=sys.maxsize)
    return Measurement.get(console, unlimited, table).maximum <= console.width
