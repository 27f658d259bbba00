"""What commands share on the way to the terminal: results go to standard output, plans, bars and estimates to error."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
)
from rich.table import Table
from rich.text import Text

from solo_invariance.command_process import BROKEN_PIPE
from solo_invariance.commands.outcome import output_mode
from solo_invariance.progress import Facts, about
from solo_invariance.progress import Progress as Reporter
from solo_invariance.results.targets import TargetsRecord

# Of steady work, before its time is estimated; and what takes less than the other needs no estimate.
_SECONDS_TO_LOOK = 3.0
_SECONDS_WORTH_SAYING = 30.0
_TITLE = 10
# A line of a bar: the longest name, and how wide a terminal has room for everything.
_LONGEST_NAME = 24
_WIDE = 100


class _Console(Console):
    """A console that says nothing in some of the ways to say results, whatever they are when it is asked."""

    quiet_in: Collection[str] = ()

    @property
    def quiet(self) -> bool:
        return output_mode() in self.quiet_in

    @quiet.setter
    def quiet(self, quiet: bool) -> None:
        """Set nothing: the environment says it."""

    def on_broken_pipe(self) -> None:
        raise SystemExit(BROKEN_PIPE)


# Names and paths are printed as they are: what looks like markup or an emoji's name in them is theirs.
console = _Console(markup=False, emoji=False)
console.quiet_in = ("quiet", "json")
log = _Console(markup=False, emoji=False, highlight=False, stderr=True)
log.quiet_in = ("quiet",)


def print_facts(facts: Facts) -> None:
    """Say what is ahead, before it begins: a title and a line for each fact, on standard error."""
    _print_lines(facts.facts(), log)


def print_summary(facts: Facts) -> None:
    """Say what has been done, in the same form, on standard output."""
    _print_lines(facts.facts(), console)


def _print_lines(lines: Mapping[str, str], where: Console) -> None:
    if not where.is_terminal:  # a log, whose lines are as long as they are
        for title, line in lines.items():
            where.print(f"{title:{_TITLE}} {line}", soft_wrap=True, highlight=False)
        return
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=_TITLE, no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for title, line in lines.items():
        table.add_row(Text(title), Text(line))
    where.print(table)


def print_remarks(remarks: Iterable[str]) -> None:
    """Say once what was decided about checkpoints that could have been decided otherwise."""
    for remark in dict.fromkeys(remarks):
        console.print(remark, style="yellow", soft_wrap=True, markup=False, highlight=False)


def print_targets(task: str, targets: TargetsRecord) -> None:
    """Say what a task's targets were, and what was odd about how they were read."""
    console.print(f"targets of {task}: {targets}", markup=False, highlight=False, soft_wrap=True)
    for remark in targets.remarks:
        console.print(f"targets of {task}: {remark}", markup=False, highlight=False, soft_wrap=True, style="yellow")


def shortened(text: str, longest: int) -> str:
    """Return a text with its middle left out where it is longer than so many characters.

    Example:
        >>> shortened("pretrain mocov2plus-latent_scenes", 20)
        'pretrain ...t_scenes'
    """
    if len(text) <= longest:
        return text
    half = (longest - 3) // 2
    return f"{text[: longest - 3 - half]}...{text[-half:]}"


class _Times(ProgressColumn):
    """How long it has taken, and about how long it will have taken in the end."""

    def render(self, task: Task) -> Text:
        done = _clock(task.finished_time if task.finished else task.elapsed)
        left = task.time_remaining
        whole = "" if left is None or task.elapsed is None else f" of about {_clock(task.elapsed + left)}"
        return Text(f"{done}{whole}", "cyan")


def _clock(seconds: float | None) -> str:
    minutes, rest = divmod(round(seconds or 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Estimate:
    """Says once how long work will take, as soon as that is known.

    Of each kind of work the first steps are not counted: they load and warm up.
    """

    def __init__(self) -> None:
        self._begun: dict[str, tuple[float, int, int]] = {}
        self._said: set[str] = set()

    def after(self, what: str, done: int, total: int) -> str | None:
        """Return what to say after a step, None for nothing.

        Args:
            what: The work.
            done: How much of it is done.
            total: How much there is.
        """
        now = time.monotonic()
        begun, first, last = self._begun.get(what, (now, done, done))
        if done <= last:  # it has just begun, perhaps once more: of another task
            begun, first = now, done
        self._begun[what] = begun, first, done
        if what in self._said or done == first or now - begun < _SECONDS_TO_LOOK:
            return None
        self._said.add(what)
        rate = (done - first) / (now - begun)
        left = (total - done) / rate
        if left < _SECONDS_WORTH_SAYING:
            return None
        each = f"{rate:,.0f} a second" if rate >= 2 else f"{1 / rate:,.1f} s each"
        return f"about {about(left)} for {total - done:,} more: {what}, {each}"


@contextmanager
def progress_bars(quiet: bool = False) -> Iterator[Reporter]:
    """Show a bar for each thing that is being done, on a terminal only, and once how long it will take."""
    is_wide = log.width >= _WIDE
    longest = log.width - _WIDE + _LONGEST_NAME if is_wide else _LONGEST_NAME
    columns = (
        TextColumn("{task.description}", markup=False),
        *([BarColumn(bar_width=16)] if is_wide else []),
        MofNCompleteColumn(),
        _Times(),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    estimate, is_quiet = Estimate(), quiet or log.quiet
    with Progress(*columns, console=log, transient=True, disable=is_quiet or not log.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            name, detail = str(what), getattr(what, "detail", "")
            if name not in tasks:
                tasks[name] = progress.add_task(shortened(name, longest), total=total, detail=detail)
            progress.update(tasks[name], completed=done, total=total, visible=done < total, detail=detail)
            if not is_quiet and (line := estimate.after(name, done, total)):
                _print_lines({"time": line}, log)

        yield report
