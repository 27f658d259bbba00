"""``python -m faults --times 20``: each command under each fault; says how often, and what was wrong."""

import argparse
import sys

import torch

from faults.commands import COMMANDS, import_all
from faults.trials import TRIALS, Bench, attempt, disks_can_be_made


def main() -> int:
    """Try, print a line for each command and fault, and return 1 where something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="how often each command meets each fault")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and sizes")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=[*COMMANDS])
    parser.add_argument("--faults", nargs="+", choices=TRIALS, default=[*TRIALS])
    options = parser.parse_args()
    torch.set_num_threads(1)  # threads do not survive a fork
    import_all()
    failures = 0
    for command in options.commands:
        bench = Bench(command)
        for fault in options.faults:
            if fault == "small disk" and not disks_can_be_made():
                print(f"{command:9} {fault:10} left out, for want of the right to mount", flush=True)
                continue
            wrong = [attempt(bench, TRIALS[fault], f"{options.seed} {time}") for time in range(options.times)]
            failed = [(time, one) for time, one in enumerate(wrong) if one]
            failures += len(failed)
            print(f"{command:9} {fault:10} {options.times} tried, {len(failed)} wrong", flush=True)
            for time, one in failed:
                print(f"  {options.seed} {time}: {'; '.join(one)}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
