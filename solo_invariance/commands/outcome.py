"""What a command has made, for people, for scripts and for the sweep that it is a job of. Imports nothing heavy."""

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from solo_invariance.errors import UserError

Mode = Literal["", "quiet", "json"]
"""Tables, nothing but where results are, or one JSON document."""

# In the environment, since launchers and devices start further processes, which are to do the same.
_MODE = "SOLO_INVARIANCE_OUTPUT"
_RECORD = "SOLO_INVARIANCE_RECORD"
_FLAGS: Mapping[str, Mode] = {"--quiet": "quiet", "-q": "quiet", "--json": "json"}


class Unmet(Exception):
    """What was made, which is delivered, is not what was expected of it: exit code 1."""


@dataclass(frozen=True)
class Outcome:
    """What a command has made.

    Args:
        path: Where it is; None for what was only printed.
        document: All of it, as plain data.
        rows: Of the table of a sweep: texts by heading.
        numbers: By the names that ``objective`` chooses from, as far as they are finite.
    """

    path: str | None
    document: Mapping[str, Any]
    rows: Sequence[Mapping[str, str]] = field(default_factory=list)
    numbers: Mapping[str, float] = field(default_factory=dict)


def output_mode() -> Mode:
    """Return how this process is to say what it has made."""
    found = os.environ.get(_MODE, "")
    return found if found in ("quiet", "json") else ""  # type: ignore[return-value]


@contextmanager
def output_of(arguments: list[str]) -> Iterator[list[str]]:
    """Take ``--quiet`` and ``--json`` out of arguments, and heed them for a while; give the others.

    Raises:
        UserError: Both are there.
    """
    modes = {_FLAGS[argument] for argument in arguments if argument in _FLAGS}
    if len(modes) > 1:
        raise UserError("--quiet and --json: one of them, --json is quiet but for its document")
    with _for_a_while(_MODE, modes.pop() if modes else os.environ.get(_MODE)):
        yield [argument for argument in arguments if argument not in _FLAGS]


@contextmanager
def recorded_to(path: Path) -> Iterator[None]:
    """For a while, write what is delivered to a file in place of saying it: whoever runs the sweep does."""
    with _for_a_while(_RECORD, str(path)):
        yield


@contextmanager
def aside(one_of_several: bool) -> Iterator[None]:
    """For a while, print nothing of a job that runs beside others: whoever runs the sweep prints one table of all."""
    with _for_a_while(_MODE, "quiet" if one_of_several else os.environ.get(_MODE)):
        yield


def deliver(outcome: Outcome) -> None:
    """Say what a command has made, once all of it is written, as ``--quiet``, ``--json`` or a sweep want it."""
    record = os.environ.get(_RECORD)
    if record is not None:
        # What a run has logged may be of any size, and JSON has no infinity.
        numbers = {name: value for name, value in outcome.numbers.items() if math.isfinite(value)}
        write_record(Path(record), asdict(replace(outcome, numbers=numbers)))
    elif output_mode() == "json":
        print_json(outcome.document)
    elif output_mode() == "quiet" and outcome.path is not None:
        print(outcome.path)


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write a record, whole or not at all."""
    from solo_invariance.results.files import write_json

    write_json(path, content)


def print_json(document: Any) -> None:
    """Print one JSON document to standard output."""
    json.dump(document, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


@contextmanager
def _for_a_while(name: str, value: str | None) -> Iterator[None]:
    before = os.environ.get(name)
    try:
        _set(name, value)
        yield
    finally:
        _set(name, before)


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
