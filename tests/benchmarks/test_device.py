"""The command for a GPU, tried in its smallest form on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_INHERITED = {name: value for name, value in os.environ.items() if name != "SSL_INVARIANCES_DIR"}
_ENVIRONMENT = {**_INHERITED, "PYTHON": sys.executable, "WHEELS": "none: all is there", "OMP_NUM_THREADS": "1"}
_PLANTED = """
import sys
from benchmarks import device
from solo_invariance.families import Family

right = Family.apply
views = []

def wrong(self, *arguments):
    views.append(right(self, *arguments))
    return views[-1] + 0.01 * (len(views) == 2)

Family.apply = wrong
sys.exit(device.main(["--device", "cpu", "--smallest", "--only", "families", sys.argv[1]]))
"""
_SLOW = """
import sys, time
from pathlib import Path
import torch
from benchmarks.rows import Check
from benchmarks.running import Step, carry_out

def slow():
    yield Check("first", "right", 0.0, 1.0)
    time.sleep(60)

def broken():
    yield Check("second", "right", 0.0, 1.0)
    raise OSError("no such thing")

steps = [Step("broken", 1, broken, checks=True), Step("slow", 1, slow), Step("timed", 1, slow)]
sys.exit(carry_out(steps, Path(sys.argv[1]), torch.device("cpu"), 1.0))
"""


def _command(out: Path, *options: str) -> list[str]:
    return ["bash", str(ROOT / "benchmarks" / "device.sh"), "--smallest", "--device", "cpu", *options, str(out)]


def _python(script: str, out: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", script, str(out)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=_ENVIRONMENT, timeout=300)


def _rows(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["rows"]


def _not_reached(rows: list[dict[str, Any]]) -> list[str]:
    return [row["what"] for row in rows if row.get("why") == "not reached"]


def test_every_check_holds_and_every_row_is_kept(tmp_path: Path) -> None:
    done = subprocess.run(_command(tmp_path), capture_output=True, text=True, env=_ENVIRONMENT, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / "cpu.json").read_text())
    assert content["machine"]["device"] == "cpu"
    assert content["versions"]["torch"]
    rows = content["rows"]
    assert not _not_reached(rows)
    assert not [row for row in rows if row.get("wrong")]
    checks = [row for row in rows if row["kind"] == "check"]
    assert len(checks) > 30
    assert all(row["difference"] <= row["limit"] for row in checks)
    assert {"share", "timing", "throughput", "comparison", "precisioneffect"} <= {row["kind"] for row in rows}


def test_a_run_that_is_killed_leaves_what_was_measured(tmp_path: Path) -> None:
    with subprocess.Popen(_command(tmp_path), stdout=subprocess.PIPE, text=True, env=_ENVIRONMENT) as run:
        assert run.stdout is not None
        said = [line for line, _ in zip(run.stdout, range(3), strict=False)]
        run.kill()
    assert said[0].startswith("[1/"), said
    rows = _rows(tmp_path / "cpu.json")
    assert rows[0]["kind"] == "share"
    assert "families, numbers" in _not_reached(rows)


def test_a_wrong_number_makes_the_command_fail(tmp_path: Path) -> None:
    done = _python(_PLANTED, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "wrong or left open:    family default" in done.stdout
    wrong = [row["what"] for row in _rows(tmp_path / "cpu.json") if row["difference"] > row["limit"]]
    assert wrong == ["family default"]


def test_neither_a_failure_nor_the_time_takes_the_other_rows(tmp_path: Path) -> None:
    done = _python(_SLOW, tmp_path / "rows.json")
    assert done.returncode == 1, done.stderr
    rows = _rows(tmp_path / "rows.json")
    assert [row["what"] for row in rows] == ["second", "broken", "first", "slow", "timed"]
    assert rows[1]["why"].startswith("OSError: no such thing")
    assert _not_reached(rows) == ["slow", "timed"]
