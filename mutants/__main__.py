"""Plant faults one at a time in a copy of the tree, and see whether the tests that should notice do.

What was found is kept, so that a run that was interrupted, or is repeated after a test was added, only does what is
left. ``--jobs`` faults are tried at once, each in a copy of its own.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from queue import Queue

from mutants.faults import Fault, StaleList, check, read_faults

ROOT = Path(__file__).parents[1]
_CAUGHT, _SURVIVED, _HUNG = "caught", "survived", "caught (too slow)"
_OF_PYTEST = {0: _SURVIVED, 1: _CAUGHT}
_SECONDS = 300


class Copies:
    """Copies of a tree, each for one test run at a time.

    Args:
        root: Of the tree, a git checkout; what git ignores is left out.
        count: How many.
        where: A folder to make them in.
    """

    def __init__(self, root: Path, count: int, where: Path) -> None:
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(listed, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
        self._free: Queue[Path] = Queue()
        for number in range(count):
            for file in files:
                if (root / file).is_file():
                    (where / str(number) / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(root / file, where / str(number) / file)
            self._free.put(where / str(number))

    @contextmanager
    def one(self) -> Iterator[Path]:
        """Lend a copy that nobody else has; it is to be given back as it was."""
        copy = self._free.get()
        try:
            yield copy
        finally:
            self._free.put(copy)

    def outcome(self, tests: Iterable[str], fault: Fault | None = None) -> str:
        """Run tests, with a fault or without, and return what they say of it.

        Raises:
            RuntimeError: The tests did not come to run; the end of what pytest printed says why.
        """
        with self.one() as copy:
            if fault is None:
                return _run(copy, tests)
            path = copy / fault.file
            right = path.read_text(encoding="utf-8")
            path.write_text(fault.planted(right), encoding="utf-8")
            try:
                return _run(copy, tests)
            finally:
                path.write_text(right, encoding="utf-8")


def _run(copy: Path, tests: Iterable[str]) -> str:
    # No byte code is kept: a changed file may have the size and, to the second, the age of the one before.
    path = os.pathsep.join(filter(None, (str(copy), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return _HUNG
    if done.returncode not in _OF_PYTEST:
        raise RuntimeError(f"{' '.join(command)}: {(done.stdout + done.stderr)[-2000:]}")
    return _OF_PYTEST[done.returncode]


def try_out(faults: list[Fault], root: Path, out: Path, jobs: int = 2) -> dict[Fault, str]:
    """Return what became of each fault, and write it to a file as it is found.

    Raises:
        StaleList: A fault does not fit the tree.
        RuntimeError: Tests fail without a fault, or do not come to run with one.
    """
    check(faults, root)
    known: dict[str, str] = json.loads(out.read_text(encoding="utf-8"))["known"] if out.is_file() else {}
    keys = {fault: _key(fault, root) for fault in faults}
    found = {fault: known[key] for fault, key in keys.items() if key in known}
    left = [fault for fault in faults if fault not in found]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        copies = Copies(root, jobs, Path(folder))
        selections = sorted({fault.tests for fault in left})
        for tests, outcome in zip(selections, pool.map(copies.outcome, selections), strict=True):
            if outcome != _SURVIVED:
                raise RuntimeError(f"{' '.join(tests)}: fails without any fault; mend that first")
        outcomes = pool.map(lambda fault: copies.outcome(fault.tests, fault), left)
        for number, (fault, outcome) in enumerate(zip(left, outcomes, strict=True), 1):
            found[fault] = outcome
            print(f"{number}/{len(left)} {outcome:9} {fault.name}", flush=True)
            _write(out, found, keys)
    _write(out, found, keys)
    return found


def _key(fault: Fault, root: Path) -> str:
    """Return a hash of all that decides what becomes of a fault: the package, the tests and what they share."""
    tests = [root / test.split("::")[0] for test in fault.tests]
    used = [*(root / "solo_invariance").rglob("*.py"), *(root / "tests").rglob("conftest.py")]
    used += [file for test in tests for file in (test.rglob("*.py") if test.is_dir() else [test])]
    digest = sha256(repr(fault).encode())
    for file in sorted(set(used)):
        digest.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def _write(out: Path, found: dict[Fault, str], keys: dict[Fault, str]) -> None:
    content = {
        "faults": len(found),
        "caught": sum(outcome != _SURVIVED for outcome in found.values()),
        "survivors": [fault.name for fault, outcome in found.items() if outcome == _SURVIVED],
        "by_file": {file: {"caught": caught, "faults": of} for file, caught, of in by_file(found)},
        "known": {keys[fault]: outcome for fault, outcome in found.items()},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def by_file(found: dict[Fault, str]) -> list[tuple[str, int, int]]:
    """Return, for each file, how many faults were caught, of how many."""
    files = sorted({fault.file for fault in found})
    outcomes = {file: [outcome for fault, outcome in found.items() if fault.file == file] for file in files}
    return [(file, sum(o != _SURVIVED for o in outcomes[file]), len(outcomes[file])) for file in files]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("--only", default="", help="faults whose list or file has this in its name")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--check", action="store_true", help="only see whether the list fits the source")
    parser.add_argument("--out", type=Path, default=ROOT / "mutants" / "latest.json")
    arguments = parser.parse_args()
    faults = read_faults(only=arguments.only)
    try:
        check(faults, ROOT)
        if arguments.check:
            return 0
        found = try_out(faults, ROOT, arguments.out, arguments.jobs)
    except (StaleList, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    for file, caught, of in by_file(found):
        print(f"{caught:4} of {of:3}  {file}")
    survivors = [fault for fault, outcome in found.items() if outcome == _SURVIVED]
    print(f"{len(found) - len(survivors)} of {len(found)} faults caught")
    for fault in survivors:
        print(f"survived: {fault.name}")
    return 0 if len(found) - len(survivors) >= 0.95 * len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
