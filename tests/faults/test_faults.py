"""A few of the faults that ``python -m faults`` plants at length: in a process of its own, from which others fork."""

import os
import subprocess
import sys
from pathlib import Path

from faults.commands import Ended
from faults.numbers import litter_in, numbers_in
from faults.trials import _differences, _refusal

_ROOT = Path(__file__).parents[2]


def test_a_disturbed_command_recovers() -> None:
    commands, faults = ("measure", "pretrain"), ("kill", "terminate", "disk")
    done = subprocess.run(
        [sys.executable, "-m", "faults", "--times", "1", "--seed", "1", "--commands", *commands, "--faults", *faults],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[-2:] for line in done.stdout.splitlines()] == [["0", "wrong"]] * 6


def test_what_is_wrong_is_seen(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "invariance.json").write_text('{"similarity": 0.5, "timings": {"total_seconds": 1}}')
    before = numbers_in(tmp_path)
    (tmp_path / "invariance.json").write_text('{"similarity": 0.5, "timings": {"total_seconds": 2}}')
    assert not _differences(before, numbers_in(tmp_path))
    (tmp_path / "invariance.json").write_text('{"similarity": 0.6}')
    assert _differences(before, numbers_in(tmp_path)) == ["invariance.json is another than undisturbed"]
    (tmp_path / "parts" / ".hue.json.1234abcd.part").touch()
    assert len(litter_in(tmp_path)) == 1


def test_a_refusal_is_one_line_and_exit_code_2() -> None:
    for code, errors, is_fine in ((0, [], True), (2, ["error: x"], True), (2, ["error: y"], False), (1, ["x"], False)):
        assert bool(_refusal(Ended(code, errors, 1.0, False), "x")) is not is_fine
    assert _refusal(Ended(2, ["x", "x"], 1.0, False), "x")
