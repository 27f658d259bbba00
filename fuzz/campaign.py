"""Which cases there are, in which order, and what became of each."""

import hashlib
import json
import os
import re
import shlex
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from fuzz.case import Case
from fuzz.files import file_cases
from fuzz.keys import key_cases
from fuzz.names import name_cases
from fuzz.pictures import picture_cases
from fuzz.running import PACKAGE, Outcome, Place, remove, run_anew, run_forked
from fuzz.verdict import faults, look

_MAKERS = {"keys": key_cases, "files": file_cases, "pictures": picture_cases, "names": name_cases}
# Of ten cases in turn.
_TURNS = ("keys", "files", "keys", "pictures", "files", "keys", "names", "files", "keys", "keys")


@dataclass(frozen=True, order=True)
class Tried:
    """What became of a case."""

    number: int
    kind: str
    title: str
    arguments: tuple[str, ...]
    code: int
    seconds: float
    faults: tuple[str, ...]
    reproduction: str = ""


def case_of(seed: int, number: int) -> Case:
    """Return a campaign's case: the same for the same seed and number.

    Each kind has a deck of cases, which is shuffled and dealt, and shuffled anew when it is used up: every key, and
    every file, has its turn before one has its second.
    """
    kind = _TURNS[number % len(_TURNS)]
    before = number // len(_TURNS) * _TURNS.count(kind) + _TURNS[: number % len(_TURNS)].count(kind)
    round_, place = divmod(before, len(_deck(kind)))
    return _shuffled(seed, kind, round_)[place]


@cache
def _deck(kind: str) -> list[Case]:
    return _MAKERS[kind]()


@cache
def _shuffled(seed: int, kind: str, round_: int) -> list[Case]:
    cases = Random(f"{seed}/{kind}/{round_}").sample(_deck(kind), len(_deck(kind)))
    turns: Counter[str] = Counter()
    places = []
    for case in cases:
        about = re.split("=|: ", case.title)[0]
        places.append(turns[about])
        turns[about] += 1
    return [cases[index] for index in sorted(range(len(cases)), key=places.__getitem__)]


class Campaign:
    """Tries cases, keeps what became of them, and makes a reproduction of each that fails.

    Args:
        seed: Which cases.
        world: The good world, made by ``world.build`` in the working folder of its ``Place``.
        out: Where outcomes and reproductions go.
        seconds: That a command may take.
        real: One case in so many is also run in a new interpreter, which must do the same.
    """

    def __init__(self, seed: int, world: Path, out: Path, seconds: float = 60, real: int = 50) -> None:
        self.seed = seed
        self.world = world
        self.out = out
        self.seconds = seconds
        self.real = real
        self._log = out / "tried.jsonl"
        self._key = _key_of(seed, seconds, real)

    def chosen(self, numbers: Iterable[int], only: str = "") -> list[int]:
        """Return the numbers of the cases in whose kind and title a regular expression is found."""
        pattern = re.compile(only)
        return [number for number in numbers if pattern.search(_described(case_of(self.seed, number)))]

    def run(self, numbers: Sequence[int], jobs: int, say: Callable[[Tried, int, int], None]) -> list[Tried]:
        """Try those that were not tried before, several at once, and return what became of all."""
        known = self._known()
        found = [known[number] for number in numbers if number in known]
        for count, tried in enumerate(found, 1):
            say(tried, count, len(numbers))
        left = [number for number in numbers if number not in known]
        for tried in self._outcomes(left, jobs):
            if tried.faults:
                tried = replace(tried, reproduction=self._reproduction(tried))
            self._keep(tried)
            found.append(tried)
            say(tried, len(found), len(numbers))
        return sorted(found)

    def try_case(self, number: int) -> Tried:
        """Run a case and judge what it did."""
        case = case_of(self.seed, number)
        outcome, found = self._judged(number, run_forked)
        if self.real and number % self.real == self.real - 1:
            again, others = self._judged(number, run_anew)
            found += [f"as the shell runs it: {fault}" for fault in others if fault not in found]
            if again.code != outcome.code:
                found.append(f"as the shell runs it: ends with {again.code}, not {outcome.code}: {again.err[-200:]}")
        return Tried(
            number, case.kind, case.title, case.arguments, outcome.code, round(outcome.seconds, 2), tuple(found)
        )

    def _judged(self, number: int, run: Callable[[Sequence[str], Place, float], Outcome]) -> tuple[Outcome, list[str]]:
        place = Place(self.world.parent / f"{number}-{run.__name__}")
        try:
            case = self._prepare(number, place)
            before = look(place)
            outcome = run(case.arguments, place, self.seconds)
            return outcome, faults(case, outcome, place, before)
        finally:
            remove(place.root)

    def _prepare(self, number: int, place: Place) -> Case:
        """Make a case's folders as they are before its command runs."""
        case = case_of(self.seed, number)
        place.make(self.world)
        case.prepare(place.work, Random(f"{self.seed}/{number}"))
        return case

    def _outcomes(self, numbers: Sequence[int], jobs: int) -> Iterator[Tried]:
        running: dict[int, int] = {}
        for number in numbers:
            if len(running) >= jobs:
                yield self._next_to_end(running)
            running[self._start(number)] = number
        while running:
            yield self._next_to_end(running)

    def _start(self, number: int) -> int:
        process = os.fork()
        if process:
            return process
        try:
            tried = self.try_case(number)
            self._file_of(number).write_text(json.dumps(asdict(tried)))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(1)

    def _next_to_end(self, running: dict[int, int]) -> Tried:
        process, status = os.wait()
        number = running.pop(process)
        if status:
            raise RuntimeError(f"case {number} of seed {self.seed} cannot be tried: {case_of(self.seed, number).title}")
        return _tried(self._file_of(number).read_text())

    def _file_of(self, number: int) -> Path:
        return self.world.parent / f"{number}.json"

    def _reproduction(self, tried: Tried) -> str:
        """Make the files of a failing case, with a script that runs the command; return what to type."""
        place = Place(self.out / "failing" / f"{self.seed}-{tried.number}")
        remove(place.root)
        self._prepare(tried.number, place)
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in place.environment.items())
        said = "".join(f"# {ascii(line)[1:-1]}\n" for line in (tried.title, *tried.faults))
        command = f"{variables} exec ${{CLI:-solo-invariance}} {shlex.join(tried.arguments)}"
        script = place.root / "run.sh"
        script.write_bytes(os.fsencode(f"{said}cd {shlex.quote(str(place.work))} || exit\n{command}\n"))
        return f"bash {shlex.quote(str(script))}"

    def _known(self) -> dict[int, Tried]:
        """Return what was tried before, of the same package; forget what was tried of another."""
        if self._log.is_file():
            first, *lines = self._log.read_text(encoding="utf-8").splitlines()
            if json.loads(first) == self._key:
                return {tried.number: tried for tried in map(_tried, lines)}
        remove(self.out)
        self.out.mkdir(parents=True)
        self._log.write_text(f"{json.dumps(self._key)}\n", encoding="utf-8")
        return {}

    def _keep(self, tried: Tried) -> None:
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(asdict(tried))}\n")

    def summary(self, found: Sequence[Tried]) -> dict[str, Any]:
        """Return how many were tried, how many of them are clean, and each failing one with its reproduction."""
        failing = [tried for tried in found if tried.faults]
        return {
            "seed": self.seed,
            "tried": len(found),
            "clean": len(found) - len(failing),
            "failing": [asdict(tried) for tried in failing],
        }


def _described(case: Case) -> str:
    return f"{case.kind} {case.title}"


def _key_of(*settings: float) -> str:
    """Return a hash of all that decides what becomes of a case."""
    digest = hashlib.sha256(repr(settings).encode())
    for root in (PACKAGE, Path(__file__).parent):
        for file in sorted(root.rglob("*.*")):
            if file.suffix in (".py", ".yaml", ".j2"):
                digest.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def _tried(line: str) -> Tried:
    content = json.loads(line)
    return Tried(**{**content, "arguments": tuple(content["arguments"]), "faults": tuple(content["faults"])})
