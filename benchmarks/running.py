"""Running benchmarks: each row is printed and kept as soon as it is measured, and no failure stops the rest."""

import json
import os
import platform
import re
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.rows import Row, Unmeasured, print_row, print_rows
from solo_invariance.results.files import versions, write_json

_PRIOR = 10.0  # seconds that count as having gone to plan


@dataclass(frozen=True)
class Step:
    """What is measured in one go.

    Args:
        what: To be said before it begins.
        seconds: What it took where it was last looked at, for a guess of how long it will take.
        rows: Measures them, one by one.
        checks: Whether it says that something is right.
    """

    what: str
    seconds: float
    rows: Callable[[], Iterable[Row]]
    checks: bool = False


class Report:
    """The rows so far, in a file that is whole at any time: what is still to come is in it as not reached.

    Args:
        path: Of the file, JSON.
        device: That is measured on.
        steps: That are to come.
    """

    def __init__(self, path: Path, device: torch.device, steps: Sequence[Step]) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._head = {"machine": machine(device), "versions": versions()}
        self.write(steps)

    def add(self, row: Row, to_come: Sequence[Step]) -> None:
        """Print a row and write it to the file."""
        self.rows.append(row)
        self.write(to_come)
        print_row(row)

    def write(self, to_come: Sequence[Step]) -> None:
        """Write the rows, and what is to come."""
        rows = [*self.rows, *(Unmeasured(step.what, "not reached", step.checks) for step in to_come)]
        content = {**self._head, "rows": [row.as_dict() for row in rows]}
        write_json(self.path, json.loads(json.dumps(content)))


class OutOfTime(BaseException):
    """There is no time left; no ``Exception``, which others might catch."""


def carry_out(steps: Sequence[Step], path: Path, device: torch.device, seconds: float | None = None) -> int:
    """Measure step by step, for so many seconds at most.

    Returns:
        The status to exit with: 0 where everything that was to be checked was, and is right; 1 otherwise. A target of
        speed that is missed is said, and no failure.
    """
    report, planned, taken, index = Report(path, device, steps), _PRIOR, _PRIOR, 0
    try:
        with _at_most(seconds):
            for index, step in enumerate(steps):
                rest = taken / planned * sum(other.seconds for other in steps[index:])
                print(f"[{index + 1}/{len(steps)}, about {_duration(rest)} left] {step.what}", flush=True)
                started, before = time.monotonic(), len(report.rows)
                for row in _measured(step):
                    report.add(row, steps[index:])
                if not all(isinstance(row, Unmeasured) for row in report.rows[before:]):
                    planned, taken = planned + step.seconds, taken + time.monotonic() - started
                report.write(steps[index + 1 :])
    except OutOfTime:
        for step in steps[index:]:
            report.add(Unmeasured(step.what, "not reached", step.checks), ())
    return _conclude(report)


def _measured(step: Step) -> Iterator[Row]:
    try:
        for row in step.rows():
            try:
                json.dumps(row.as_dict(), allow_nan=False)
                yield row
            except ValueError:
                yield Unmeasured(step.what, f"not finite: {row.as_dict()}", True)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        lines = str(error).strip().splitlines() or [""]
        why = f"{type(error).__name__}: {lines[0]} ({Path(place.filename).name}, line {place.lineno})"
        yield Unmeasured(step.what, why, True)


@contextmanager
def _at_most(seconds: float | None) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise OutOfTime

    if seconds is None:
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _conclude(report: Report) -> int:
    print_rows(report.rows)
    checks = [row for row in report.rows if row.is_check]
    slow = [row for row in report.rows if not row.is_check and not row.met()]
    wrong = [row for row in checks if not row.met()]
    for title, rows in (("missed a target", slow), ("wrong or left open", wrong)):
        for row in rows:
            print(f"{title}:", end="")
            print_row(row)
    print(f"{len(report.rows)} rows, {len(slow)} missed a target; of {len(checks)} checks {len(wrong)} did not hold")
    print(f"written to {report.path}", flush=True)
    return 1 if wrong else 0


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the numbers were measured on."""
    on_gpu = device.type == "cuda"
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": name_of(device),
        "driver": _driver() if on_gpu else None,
        "cuda": torch.version.cuda if on_gpu else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def name_of(device: torch.device) -> str:
    """Return the GPU's name, or the device's type."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def file_name(device: torch.device) -> str:
    """Return the name of the file of a device's results."""
    return re.sub(r"[^a-z0-9]+", "-", name_of(device).lower()).strip("-") + ".json"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.split("\n")[0]
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown ({error})"
