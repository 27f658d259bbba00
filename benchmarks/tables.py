"""Reading large tables of targets: time and memory by their number of rows."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.rows import Row
from benchmarks.running import Step
from solo_invariance.transfer.tasks import TaskSettings
from solo_invariance.transfer.tasks.table import table

_ROWS = (1_000, 10_000, 100_000)


@dataclass(frozen=True)
class TableTime(Row):
    """The reading of a table, in a process of its own.

    Args:
        rows: Of the table, each with a row number, a file, a class and a number.
        kind_seconds: Of one processor, to find out what the targets are.
        load_seconds: Likewise, to read them, find their files and split them.
        megabytes: That the process grew by, at most.
    """

    title: ClassVar[str] = "Tables of targets"
    rows: int
    kind_seconds: float
    load_seconds: float
    megabytes: float

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "rows": str(self.rows),
            "kind": f"{self.kind_seconds:.2f} s",
            "load": f"{self.load_seconds:.2f} s",
            "memory": f"{self.megabytes:.0f} MB",
        }


def steps(quick: bool) -> list[Step]:
    return [Step("tables of targets", 30, lambda: _tables(_ROWS[:2] if quick else _ROWS))]


def _tables(sizes: tuple[int, ...]) -> Iterator[Row]:
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), rows)
            found = subprocess.run(
                [sys.executable, "-m", "benchmarks.tables", folder], capture_output=True, check=True, text=True
            )
        yield TableTime(rows, *map(float, found.stdout.split()))


def _write(folder: Path, rows: int) -> None:
    (folder / "images").mkdir()
    lines = [",image,label,size"]
    for row in range(rows):
        (folder / "images" / f"{row}.png").touch()
        lines.append(f"{row},{row}.png,{row % 10},{row / 7}")
    (folder / "targets.csv").write_text("\n".join(lines))


def _read(folder: Path) -> None:
    """Print the processor's seconds of both steps, and by how many megabytes the process grew."""
    options = {"targets": str(folder / "targets.csv"), "columns": ["label"]}
    settings = TaskSettings(path=str(folder / "images"), options=options)
    before, started = _peak(), time.process_time()
    table.resolve(settings)
    resolved = time.process_time()
    table.load(settings)
    print(resolved - started, time.process_time() - resolved, _peak() - before)


def _peak() -> float:
    """Return the most megabytes that the process has had (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    _read(Path(sys.argv[1]))
