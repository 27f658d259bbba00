"""Run the benchmarks; print a table and write JSON with the machine named."""

import argparse
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import families, measuring, probing, startup
from benchmarks.timing import Comparison
from solo_invariance.results import versions, write_json


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=["families", "measuring", "probing", "startup"], help="one group")
    parser.add_argument("--quick", action="store_true", help="smaller probing problems")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/latest.json"))
    arguments = parser.parse_args()
    rows = list(_rows(arguments))
    _print(rows)
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


def _rows(arguments: argparse.Namespace) -> Iterator[Comparison]:
    device = torch.device(arguments.device)
    groups = {
        "families": lambda: families.run(device),
        "measuring": lambda: measuring.run(device),
        "probing": lambda: probing.run(arguments.quick),
        "startup": startup.run,
    }
    for name, group in groups.items():
        if arguments.only in (None, name):
            yield from group()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _print(rows: list[Comparison]) -> None:
    table = Table(title="Benchmarks: how many times faster than the peer", title_justify="left")
    for column in ("what", "against", "ours", "peer", "ratio", "spread", "target", "note"):
        table.add_column(column, justify="right" if column in ("ours", "peer", "ratio", "target") else "left")
    for row in rows:
        met = row.target is None or row.ratio >= row.target
        table.add_row(
            row.what,
            row.against,
            f"{row.seconds * 1000:.1f} ms",
            f"{row.peer_seconds * 1000:.1f} ms",
            f"[{'green' if met else 'red'}]{row.ratio:.2f}[/]",
            f"{row.spread[0]:.2f} to {row.spread[1]:.2f}",
            "" if row.target is None else f"{row.target:.2f}",
            row.note,
        )
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
