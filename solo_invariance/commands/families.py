"""``solo-invariance families``: every family that can be named."""

from typing import Any

from rich.table import Table

from solo_invariance.commands.console import console
from solo_invariance.config import FamiliesConfig as Config
from solo_invariance.errors import UserError
from solo_invariance.families import Family
from solo_invariance.hosts.plugins import discover

__all__ = ["Config", "run"]


def run(config: Any) -> None:
    """Print a table of the families, ours and other people's."""
    table = Table(title="Augmentation families", title_justify="left", show_lines=True)
    for column in ("family", "invariant to", "operations", "from"):
        table.add_column(column)
    for plugin in discover("families"):
        try:
            family = plugin.load()
        except UserError as error:
            table.add_row(plugin.name, f"[red]{error}", "", plugin.distribution)
            continue
        table.add_row(plugin.name, family.invariant_to, _operations(family), plugin.distribution)
    console.print(table)


def _operations(family: Family) -> str:
    return "\n".join(str(operation) for operation in family.operations)
