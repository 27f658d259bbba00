import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from solo_invariance.errors import UserError
from solo_invariance.hosts import fabric as module
from solo_invariance.hosts.fabric import run_in_processes
from solo_invariance.processes import Processes

# What other processes are to do lies in a module that they find.
_WORK = """
import atexit
import json
import os
from pathlib import Path

import signal

import torch

from solo_invariance.errors import UserError
from solo_invariance.measure.statistics.feature_statistics import FeatureStatistics


def share_and_gather_until_one_fails(processes, device, content):
    numbers = torch.arange(70, dtype=torch.float64).reshape(7, 10).sin()
    statistics = FeatureStatistics(10)
    for row in processes.share(range(7)):
        statistics.update(numbers[[row]])
    moments = statistics.compute()
    (Path(content["out"]) / f"before-{processes.rank}").touch()
    processes.wait()
    found = {
        "rank": processes.rank,
        "count": processes.count,
        "device": device.type,
        "share": list(processes.share(range(7))),
        "gathered": processes.gather([f"rank {processes.rank}"] * (1 + processes.rank)),
        "seen": sorted(path.name for path in Path(content["out"]).glob("before-*")),
        "mean": moments.mean.tolist(),
        "covariance": moments.covariance.tolist(),
    }
    (Path(content["out"]) / f"{processes.rank}.json").write_text(json.dumps(found))
    atexit.register((Path(content["out"]) / f"ended-{processes.rank}").touch)
    if processes.rank == 1:
        raise UserError("broken.png: not a readable image (of one line)")
    processes.wait()


def end_one_from_outside(processes, device, content):
    if processes.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    processes.wait()
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "work_of_processes.py").write_text(_WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    import work_of_processes

    return work_of_processes


def test_one_process_shares_with_nobody() -> None:
    alone = Processes()
    alone.wait()
    assert (alone.rank, alone.count) == (0, 1)
    assert list(alone.share(range(5))) == [0, 1, 2, 3, 4]
    assert alone.gather(["a", "b"]) == ["a", "b"]


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_a_process_that_is_ended_from_outside_is_one_line(work) -> None:
    with pytest.raises(UserError, match=r"^devices=2: a process was ended from outside, as the system does"):
        run_in_processes(work.end_one_from_outside, None, torch.device("cpu"), devices=2)


@pytest.mark.parametrize(
    "error",
    [
        torch.multiprocessing.ProcessExitedException("SIGKILL", 1, 42, -9, "SIGKILL"),
        # What the others say of it, where that is heard first.
        torch.multiprocessing.ProcessRaisedException("RuntimeError: [pair.cc:534] Connection closed by peer", 0, 42),
    ],
)
def test_whoever_notices_first(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def launch(*args: object) -> None:
        raise error

    monkeypatch.setattr(module, "Fabric", lambda **options: SimpleNamespace(launch=launch))
    with pytest.raises(UserError, match=r"^devices=1: a process was ended from outside, as the system does"):
        run_in_processes(print, None, torch.device("cpu"), devices=1)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_processes_share_wait_and_gather_until_one_fails(work, tmp_path: Path, capfd) -> None:
    with pytest.raises(UserError, match=r"^broken\.png: not a readable image \(of one line\)$"):
        run_in_processes(work.share_and_gather_until_one_fails, {"out": str(tmp_path)}, torch.device("cpu"), devices=2)
    assert capfd.readouterr() == ("", "")  # the error is all that is said, and it is for the caller to say
    assert not [*tmp_path.glob("ended-*")]  # nothing is tidied up around threads that wait for other processes
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert (first["rank"], second["rank"]) == (0, 1)
    assert (first["share"], second["share"]) == ([0, 2, 4, 6], [1, 3, 5])
    numbers = torch.arange(70, dtype=torch.float64).reshape(7, 10).sin()
    for found in (first, second):
        assert (found["count"], found["device"]) == (2, "cpu")
        assert found["gathered"] == ["rank 0", "rank 1", "rank 1"]
        assert found["seen"] == ["before-0", "before-1"]
        torch.testing.assert_close(torch.tensor(found["mean"], dtype=torch.float64), numbers.mean(dim=0))
        torch.testing.assert_close(torch.tensor(found["covariance"], dtype=torch.float64), torch.cov(numbers.T))


def _launching(error: Exception) -> type:
    class Launched:
        def __init__(self, **settings: object) -> None:
            pass

        def launch(self, *arguments: object) -> None:
            raise error

    return Launched


def _raised(lines: str) -> Exception:
    return torch.multiprocessing.ProcessRaisedException(lines, 1, 4711)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            _raised("\n\n-- Process 1 terminated:\nTraceback\nsolo_invariance.errors.UserError: a.png: broken\n"),
            "a.png: broken",
        ),
        (
            _raised("Traceback\nsolo_invariance.errors.UserError: k: expected 3, got UserError: 4"),
            "k: expected 3, got UserError: 4",
        ),
        (RuntimeError("no such devices\nand more"), "devices=2: no such devices"),
        (ValueError("too many"), "devices=2: too many"),
    ],
)
def test_what_people_can_mend_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(module, "Fabric", _launching(error))
    with pytest.raises(UserError) as found:
        run_in_processes(print, None, torch.device("cpu"), devices=2)
    assert str(found.value) == expected


@pytest.mark.parametrize("last", ["ZeroDivisionError: division by zero", "other.package.UserError: of another"])
def test_what_only_we_can_mend_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(module, "Fabric", _launching(_raised(f"Traceback\n  in work\n{last}")))
    with pytest.raises(torch.multiprocessing.ProcessRaisedException, match="in work"):
        run_in_processes(print, None, torch.device("cpu"), devices=2)


@pytest.mark.parametrize(("device", "there"), [("cpu", 3), ("cuda", 0), ("cuda", 1)])
def test_devices_that_are_not_there_are_one_line(monkeypatch: pytest.MonkeyPatch, device: str, there: int) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(UserError, match=rf"^devices=4: this machine has {there} \({device}\)$"):
        run_in_processes(print, None, torch.device(device), devices=4)
