"""Trials: a command is disturbed, then run again; its numbers are to be those of one that was left alone."""

import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.commands import COMMANDS, Ended, run, start
from faults.numbers import litter_in, numbers_in

Trial = Callable[["Bench", random.Random, Path], list[str]]
"""Disturbs a command in a folder; returns what was wrong with how it took it."""
# The second is of workers, whose shared memory is a file, too.
_NO_SPACE = ("cannot be writ", "a process that reads images was ended from outside")

_SAID = 500  # bytes of standard error, which is a file, too


class Bench:
    """A command, and what it gives undisturbed.

    Args:
        name: Of the command.
    """

    def __init__(self, name: str) -> None:
        self.arguments = COMMANDS[name]
        with _new_folder() as place:
            ended = run(self.arguments, place)
            if ended.code != 0:
                raise RuntimeError(f"{name} fails undisturbed: {ended.errors}")
            self.seconds = ended.seconds
            self.numbers = numbers_in(place / "out")
            self.largest = max(path.stat().st_size for path in place.rglob("*") if path.is_file())

    def moment(self, chance: random.Random) -> float:
        """Return a moment while the command works, in seconds from its start."""
        return chance.uniform(0, self.seconds)

    def recovers(self, place: Path) -> list[str]:
        """Run the command once more; return what is wrong with what is there then."""
        ended = run(self.arguments, place)
        if ended.code != 0:
            return [f"afterwards, exit code {ended.code}: {ended.errors[-1:]}"]
        wrong = _differences(self.numbers, numbers_in(place / "out"))
        left = litter_in(place / "out")
        return [*wrong, *([f"left behind: {left}"] if left else [])]


def killed(bench: Bench, chance: random.Random, place: Path) -> list[str]:
    """Kill it, at a moment of which it does not know."""
    run(bench.arguments, place, lambda one: one.signal_at(bench.moment(chance), signal.SIGKILL))
    return []


def killed_twice(bench: Bench, chance: random.Random, place: Path) -> list[str]:
    """Kill it, and kill it again when it goes on."""
    return killed(bench, chance, place) + killed(bench, chance, place)


def terminated(bench: Bench, chance: random.Random, place: Path) -> list[str]:
    """Ask it to end."""
    ended = run(bench.arguments, place, lambda one: one.signal_at(bench.moment(chance), signal.SIGTERM))
    if ended.code == 0 or (ended.code == -signal.SIGTERM and not ended.errors):  # was done, or had not begun
        return []
    wrong = ["processes are left"] if ended.orphans else []
    said = ended.errors == ["terminated; run the same command again to go on"]
    return wrong if ended.code == 143 and said else [*wrong, f"SIGTERM: exit code {ended.code}, {ended.errors[-3:]}"]


def out_of_disk(bench: Bench, chance: random.Random, place: Path) -> list[str]:
    """Let no file become larger than a size, of which some files are larger."""
    size = max(_SAID, int(bench.largest ** chance.uniform(0.3, 1)))
    return _refusal(start(bench.arguments, place, size).end(), *_NO_SPACE)


def on_a_small_disk(bench: Bench, chance: random.Random, place: Path) -> list[str]:
    """Give its results, or its cache, a disk that may be too small; what it has is then moved to a larger one."""
    folder, kept = place / chance.choice(("out", "cache")), place / "kept"
    with _disk(folder, int((2 * bench.largest) ** chance.uniform(0.7, 1))):
        wrong = _refusal(run(bench.arguments, place), *_NO_SPACE)
        shutil.copytree(folder, kept)
    folder.rmdir()
    kept.rename(folder)
    return wrong


def two_at_once(bench: Bench, chance: random.Random, place: Path) -> list[str]:
    """Start it twice."""
    first = start(bench.arguments, place)
    first.signal_at(chance.uniform(0, bench.seconds / 2), signal.SIGCONT)  # which does nothing
    second = start(bench.arguments, place)
    return [*_refusal(first.end(), "another run is at work"), *_refusal(second.end(), "another run is at work")]


TRIALS: dict[str, Trial] = {
    "kill": killed,
    "kill twice": killed_twice,
    "terminate": terminated,
    "disk": out_of_disk,
    "small disk": on_a_small_disk,
    "two": two_at_once,
}


def attempt(bench: Bench, trial: Trial, seed: str) -> list[str]:
    """Disturb a command in a new folder and let it recover; return what was wrong, nothing where all was well."""
    with _new_folder() as place:
        return [*trial(bench, random.Random(seed), place), *bench.recovers(place)]


def disks_can_be_made() -> bool:
    """Whether this is a user and a system that can mount one in memory."""
    with _new_folder() as place:
        try:
            with _disk(place / "disk", 4096):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


@contextmanager
def _disk(folder: Path, size: int) -> Iterator[None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def _new_folder() -> Iterator[Path]:
    # No TemporaryDirectory: a process that is forked would remove it as it ends.
    place = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _refusal(ended: Ended, *expected: str) -> list[str]:
    """Return what is wrong with a command that may have been refused, in one line."""
    fine = ended.code == 0 or (
        ended.code == 2 and len(ended.errors) == 1 and any(one in ended.errors[0] for one in expected)
    )
    return [] if fine else [f"exit code {ended.code}: {ended.errors[-3:]}"]


def _differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    names = sorted({*expected, *found})
    return [f"{name} is another than undisturbed" for name in names if expected.get(name) != found.get(name)]
