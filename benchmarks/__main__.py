"""Run the benchmarks: rows are printed as they are measured and written to JSON with the machine named."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import (
    canvas,
    families,
    features,
    fusing,
    listing,
    measuring,
    official,
    probing,
    reference,
    reference_error,
    reporting,
    solvers,
    startup,
    tables,
)
from benchmarks.running import Step, carry_out

_GROUPS: dict[str, Callable[[torch.device, bool], list[Step]]] = {
    "families": families.steps,
    "measuring": measuring.steps,
    "official": official.steps,
    "probing": lambda device, quick: probing.steps(quick),
    "fusing": fusing.steps,
    "features": features.steps,
    "listing": lambda device, quick: listing.steps(quick),
    "canvas": lambda device, quick: canvas.steps(quick),
    "reference": lambda device, quick: reference.steps(quick),
    "reference_error": lambda device, quick: reference_error.steps(quick),
    "reporting": lambda device, quick: reporting.steps(quick),
    "solvers": lambda device, quick: solvers.steps(),
    "tables": lambda device, quick: tables.steps(quick),
    "startup": lambda device, quick: startup.steps(),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=list(_GROUPS), help="one group")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer problems")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/latest.json"))
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    steps = [
        replace(step, what=f"{name}: {step.what}")
        for name, group in _GROUPS.items()
        if arguments.only in (None, name)
        for step in group(device, arguments.quick)
    ]
    sys.exit(carry_out(steps, arguments.out, device))


if __name__ == "__main__":
    main()
