"""Run the benchmarks; print tables and write JSON with the machine named."""

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from benchmarks import canvas, families, features, fusing, measuring, official, probing, startup
from benchmarks.rows import Row, print_rows
from solo_invariance.results.files import versions, write_json

_GROUPS: dict[str, Callable[[torch.device, bool], Iterable[Row]]] = {
    "families": families.run,
    "canvas": lambda device, quick: canvas.run(quick),
    "measuring": measuring.run,
    "features": features.run,
    "fusing": fusing.run,
    "official": official.run,
    "probing": lambda device, quick: probing.run(quick),
    "startup": lambda device, quick: startup.run(),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=list(_GROUPS), help="one group")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer problems")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/latest.json"))
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name, group in _GROUPS.items():
        if arguments.only in (None, name):
            rows += (new := list(group(torch.device(arguments.device), arguments.quick)))
            print_rows(new)
    machine = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu",
        "system": f"{platform.system()} {platform.machine()}",
    }
    content = {"machine": machine, "versions": versions(), "rows": [row.as_dict() for row in rows]}
    write_json(arguments.out, json.loads(json.dumps(content)))
    print(f"written to {arguments.out}")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


if __name__ == "__main__":
    main()
