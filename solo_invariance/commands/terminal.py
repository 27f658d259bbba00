"""What commands share on the way to the terminal."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from solo_invariance.command_process import BROKEN_PIPE
from solo_invariance.progress import Progress as Reporter
from solo_invariance.results.targets import TargetsRecord


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise SystemExit(BROKEN_PIPE)


# Names and paths are printed as they are: what looks like markup or an emoji's name in them is theirs.
console = _Console(markup=False, emoji=False)


def print_remarks(remarks: Iterable[str]) -> None:
    """Say once what was decided about checkpoints that could have been decided otherwise."""
    for remark in dict.fromkeys(remarks):
        console.print(remark, style="yellow", soft_wrap=True, markup=False, highlight=False)


def print_targets(task: str, targets: TargetsRecord) -> None:
    """Say what a task's targets were, and what was odd about how they were read."""
    console.print(f"targets of {task}: {targets}", markup=False, highlight=False, soft_wrap=True)
    for remark in targets.remarks:
        console.print(f"targets of {task}: {remark}", markup=False, highlight=False, soft_wrap=True, style="yellow")


@contextmanager
def progress_bars(quiet: bool = False) -> Iterator[Reporter]:
    """Show a bar for each thing that is being done; on a terminal only, and not where ``quiet``."""
    columns = (
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total, visible=done < total)

        yield report
