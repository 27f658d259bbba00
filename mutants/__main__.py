"""Plant faults one at a time in a copy of the tree, and see whether the tests that should notice do.

What was found is kept, so that a run that was interrupted, or is repeated after a test was added, only does what is
left. ``--jobs`` faults are tried at once, each in a copy of its own.
"""

import argparse
import json
import os
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from mutants.faults import Fault, StaleList, check, read_faults
from mutants.trials import ERROR, SURVIVED, Trial, copies_of, import_what_is_slow, outcomes

ROOT = Path(__file__).parents[1]
_NOT_CAUGHT = (SURVIVED, ERROR)


def try_out(faults: list[Fault], root: Path, out: Path, jobs: int = 2) -> dict[Fault, str]:
    """Return what became of each fault, and write it to a file as it is found.

    Raises:
        StaleList: A fault does not fit the tree.
        RuntimeError: Tests fail without a fault.
    """
    check(faults, root)
    known: dict[str, str] = json.loads(out.read_text(encoding="utf-8"))["known"] if out.is_file() else {}
    keys = {fault: _key(fault, root) for fault in faults}
    found = {fault: known[key] for fault, key in keys.items() if key in known}
    left = [fault for fault in faults if fault not in found]
    with tempfile.TemporaryDirectory() as folder:
        copies = copies_of(root, jobs, Path(folder))
        tests = sorted({test for fault in left for test in fault.tests})
        for trial, outcome in outcomes([Trial((test,)) for test in tests], copies):
            if outcome != SURVIVED:
                raise RuntimeError(f"{' '.join(trial.tests)}: fails without any fault; mend that first")
        tried = outcomes([Trial(fault.tests, fault) for fault in left], copies)
        for number, ((_, fault), outcome) in enumerate(tried, 1):
            assert fault is not None
            found[fault] = outcome
            print(f"{number}/{len(left)} {outcome:9} {fault.name}", flush=True)
            _write(out, found, keys)
    _write(out, found, keys)
    return {fault: found[fault] for fault in faults}


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
        "caught": sum(outcome not in _NOT_CAUGHT for outcome in found.values()),
        "survivors": [fault.name for fault, outcome in found.items() if outcome in _NOT_CAUGHT],
        "by_file": {file: {"caught": caught, "faults": of} for file, caught, of in by_file(found)},
        "known": {keys[fault]: outcome for fault, outcome in found.items()},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def by_file(found: dict[Fault, str]) -> list[tuple[str, int, int]]:
    """Return, for each file, how many faults were caught, of how many."""
    files = sorted({fault.file for fault in found})
    outcomes = {file: [outcome for fault, outcome in found.items() if fault.file == file] for file in files}
    return [(file, sum(o not in _NOT_CAUGHT for o in outcomes[file]), len(outcomes[file])) for file in files]


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
        os.environ["OMP_NUM_THREADS"] = "1"
        import_what_is_slow()
        found = try_out(faults, ROOT, arguments.out, arguments.jobs)
    except (StaleList, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    for file, caught, of in by_file(found):
        print(f"{caught:4} of {of:3}  {file}")
    survivors = [fault for fault, outcome in found.items() if outcome in _NOT_CAUGHT]
    print(f"{len(found) - len(survivors)} of {len(found)} faults caught")
    for fault in survivors:
        print(f"{found[fault]}: {fault.name}")
    return 0 if len(found) - len(survivors) >= 0.95 * len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
