"""Try odd, damaged and hostile inputs on the command line: is each refused in one line, or does it do well?

The same seed has the same cases. What was found is kept, so that a campaign that was interrupted, or is made longer,
only does what is left; where the package has changed, it begins anew.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

from fuzz.campaign import Campaign, Tried
from fuzz.running import Place, import_everything
from fuzz.world import build

_FAILED = 1
_BROKEN = 2


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=0, help="which")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--seconds", type=float, default=120, help="that a command may take")
    parser.add_argument("--real", type=int, default=50, metavar="R", help="one case in R is also run as the shell does")
    parser.add_argument("--only", default="", help="cases in whose kind and title this is found, a regular expression")
    parser.add_argument("--case", type=int, help="this one alone")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "latest")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    import_everything()
    numbers = range(arguments.cases) if arguments.case is None else [arguments.case]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        world = Path(folder) / "world"
        if not _build_apart(Place(world)):
            return _BROKEN
        campaign = Campaign(arguments.seed, world, arguments.out.resolve(), arguments.seconds, arguments.real)
        found = campaign.run(campaign.chosen(numbers, arguments.only), arguments.jobs, _say)
        summary = arguments.out / "summary.json"
        summary.write_text(json.dumps(campaign.summary(found), indent=2) + "\n", encoding="utf-8")
    _summarise(found, summary)
    return _FAILED if any(tried.faults for tried in found) else 0


def _build_apart(place: Place) -> bool:
    """Make the world in a process of its own, so that this one stays as it is; return whether that went well."""
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1] == 0
    try:
        place.make()
        os.environ.update(place.environment)
        os.chdir(place.work)
        build(place.work)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _say(tried: Tried, done: int, of: int) -> None:
    if tried.faults:
        print(f"{done}/{of} case {tried.number}: {tried.title}", *tried.faults, sep="\n    ", flush=True)
        print(f"    {tried.reproduction}", flush=True)
    elif done % 100 == 0:
        print(f"{done}/{of}", flush=True)


def _summarise(found: list[Tried], file: Path) -> None:
    counts = Counter((tried.kind, bool(tried.faults)) for tried in found)
    for kind in sorted({tried.kind for tried in found}):
        print(f"{counts[kind, False]:5} of {counts[kind, False] + counts[kind, True]:5} clean: {kind}")
    failing = [tried for tried in found if tried.faults]
    for alike, count in Counter(_kind_of(fault) for tried in failing for fault in tried.faults).most_common():
        print(f"{count:5} {alike}")
    print(f"{len(found)} tried, {len(found) - len(failing)} clean, {len(failing)} failing: {file}")


def _kind_of(fault: str) -> str:
    """Return what faults of a kind have in common: the words before what is said of the case."""
    return re.sub(r"\d+", "N", re.split(r": | \(", fault)[0])


if __name__ == "__main__":
    sys.exit(main())
