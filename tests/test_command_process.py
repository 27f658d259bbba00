"""How a command leaves: at once, quietly where nobody reads, and as by Ctrl-C where it is asked to end."""

import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from solo_invariance.cli import _hydra, _Job, main
from solo_invariance.command_process import Terminated, _end_children
from solo_invariance.errors import UserError

# A command in place of a real one, which takes seconds to import what it needs.
_RUN = """
import os, signal, sys, threading
from solo_invariance.command_process import run_as_process
def work(arguments):
    exec(sys.argv[1])
    return 0
run_as_process(work)
"""


def _process(code: str, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-c", _RUN, code], timeout=60, check=False, **{"env": environment, **options}
    )


def test_a_command_does_not_wait_for_what_it_left_running() -> None:
    code = "t = threading.Thread(target=signal.pause); t.start(); print('said'); sys.exit(2)"
    done = _process(code, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, b"said\n", b"")


def test_a_command_ends_the_processes_that_it_started(tmp_path: Path) -> None:
    code = (
        "import multiprocessing, time; p = multiprocessing.get_context('fork').Process(target=time.sleep, args=(99,))\n"
        f"p.start(); open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))"
    )
    assert _process(code).returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_processes_that_do_not_end_when_asked_are_ended() -> None:
    code = (
        "import multiprocessing, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "work = lambda: (time.sleep(5), os.write(1, b'alive'))\n"
        "multiprocessing.get_context('fork').Process(target=work).start()"
    )
    assert _process(code, capture_output=True).stdout == b""  # which is at its end when the last process is


def test_processes_are_asked_to_end_before_they_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Process:
        def __init__(self, obeys: bool) -> None:
            self.alive, self.obeys = True, obeys

        def terminate(self) -> None:
            said.append("terminate")
            self.alive = not self.obeys

        def join(self, seconds: float) -> None:
            said.append("join")

        def is_alive(self) -> bool:
            return self.alive

        def kill(self) -> None:
            said.append("kill")

    monkeypatch.setattr("multiprocessing.active_children", lambda: [Process(True), Process(False)])
    _end_children()
    assert said == ["terminate", "terminate", "join", "join", "kill"]


def test_a_signal_while_it_leaves_changes_nothing() -> None:
    code = (
        "import atexit; atexit.register(lambda: (os.kill(os.getpid(), signal.SIGTERM), print('bye', flush=True)))\n"
        "sys.exit(3)"
    )
    done = _process(code, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"bye\n", b"")


@pytest.mark.parametrize(("left", "code"), [("None", 0), ("''", 1), ("0", 0), ("7", 7), ("'a word'", 1)])
def test_exit_codes_are_those_of_the_interpreter(left: str, code: int) -> None:
    plain = subprocess.run([sys.executable, "-c", f"import sys; sys.exit({left})"], capture_output=True, timeout=60)
    done = _process(f"sys.exit({left})", capture_output=True)
    assert done.returncode == plain.returncode == code
    assert done.stderr == plain.stderr


def test_a_fault_of_ours_is_shown_whole() -> None:
    done = _process("{}['key']", capture_output=True)
    assert done.returncode == 1
    assert done.stderr.startswith(b"Traceback (most recent call last):\n")
    assert done.stderr.endswith(b"KeyError: 'key'\n")


def test_the_interpreter_is_not_taken_apart(tmp_path: Path) -> None:
    """Which takes half a second of computing, and on a machine at work ten, after the last word."""
    code = f"sys.last = type('L', (), {{'__del__': lambda one: open({str(tmp_path / 'gone')!r}, 'w').close()}})()"
    assert _process(code).returncode == 0
    assert not (tmp_path / "gone").exists()


def test_nobody_reads_any_more() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = _process("print('x' * 100_000)", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(("code", "expected"), [("print('x'); sys.exit(2)", 2), ("raise BrokenPipeError", 141)])
def test_nobody_reads_what_is_said_last(code: str, expected: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = _process(code, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (expected, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = _process("print('x')", stdout=full, stderr=subprocess.PIPE)
        assert _process("print('x'); sys.exit(130)", stdout=full, stderr=subprocess.DEVNULL).returncode == 130
    assert done.returncode == 2
    assert done.stderr == b"solo-invariance: error: standard output cannot be written (No space left on device)\n"


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_streams_are_nobody_elses(tmp_path: Path, closed: int) -> None:
    file = tmp_path / "file"
    code = f"f = open({str(file)!r}, 'w'); print('out'); print('err', file=sys.stderr); os.write(1, b''); f.close()"
    shell = f'"$0" -c "$1" "$2" {closed}>&-'
    done = subprocess.run(["bash", "-c", shell, sys.executable, _RUN, code], capture_output=True, timeout=60)
    assert done.returncode == 0
    assert file.read_text() == ""
    assert (done.stdout, done.stderr) == (b"" if closed == 1 else b"out\n", b"" if closed == 2 else b"err\n")


def test_what_a_terminal_cannot_show_is_written_out() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LANG": "C"}
    code = r"print('\u25cf \u25cb \u2026 caf\xe9 \udce9 \u25cf\u25cb\xe9\u65e5\u2264')"
    done = _process(code, capture_output=True, env=environment)
    assert (done.returncode, done.stdout) == (0, b"* o ... caf\\xe9 \\udce9 *o\\xe9\\u65e5<=\n")


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGHUP])
def test_being_asked_to_end_is_ctrl_c(asked: signal.Signals) -> None:
    code = (
        "try:\n print('ready', flush=True)\n signal.pause()\n"
        "except KeyboardInterrupt as error: sys.exit(128 + error.signum)"
    )
    here = f"import signal; signal.signal({int(asked)}, signal.SIG_DFL)\n{_RUN}"  # the tests may run under nohup
    with subprocess.Popen([sys.executable, "-c", here, code], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            process.send_signal(asked)
            assert process.wait(60) == 128 + asked
        finally:
            process.kill()


def test_what_nohup_ignores_stays_ignored() -> None:
    code = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); " + _RUN
    work = "os.kill(os.getpid(), signal.SIGHUP); print('on')"
    done = subprocess.run([sys.executable, "-c", code, work], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"on\n")


def test_a_worker_that_is_asked_to_end_says_nothing() -> None:
    code = (
        "worker = os.fork()\n"
        "if not worker: os.kill(os.getpid(), signal.SIGTERM); signal.pause()\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))"
    )
    done = _process(code, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0\n", b"")


def test_a_terminated_command_says_how_to_go_on(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from solo_invariance.commands import doctor

    raised: list[BaseException] = [Terminated(signal.SIGTERM), KeyboardInterrupt()]

    def ended(config: Any) -> None:
        raise raised.pop(0)

    monkeypatch.setattr(doctor, "run", ended)
    assert cli("doctor") == (143, "", "terminated; run the same command again to go on\n")
    assert cli("doctor") == (130, "", "interrupted; run the same command again to go on\n")


def test_a_job_is_refused_by_an_ordinary_exception_wherever_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    job = _Job("measure", _refused)
    elsewhere = pickle.loads(pickle.dumps(job))
    for one in (job, elsewhere):
        with pytest.raises(UserError, match="no such folder") as error:
            one(None)
        assert one.refused == [error.value]
        assert str(pickle.loads(pickle.dumps(error.value))) == "no such folder"
        assert capsys.readouterr().err == "solo-invariance: error: no such folder\n"
    assert pickle.loads(pickle.dumps(job)).refused == []  # what was said there is said here, too


def _refused(config: Any) -> None:
    raise UserError("no such folder")


def test_what_was_refused_is_in_the_exit_code_though_a_sweep_says_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def silent(job: Any) -> None:
        with suppress(UserError):
            job(None)

    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr("hydra.main", lambda **options: lambda job: lambda: silent(job))
    assert _hydra("measure", _refused, []) == 2
    assert _hydra("measure", lambda config: None, []) == 0
    assert capsys.readouterr().err == "solo-invariance: error: no such folder\n"


def test_jobs_of_a_sweep_go_on_after_one_that_is_refused(cli: Any, tmp_path: Path) -> None:
    sheets = [tmp_path / "a.png", tmp_path / "a.txt", tmp_path / "b.png"]
    code, _, err = cli(
        *("families", "-m", f"hydra.sweep.dir={tmp_path}/sweep", "show=[default]", "data.path=null", "num_images=1"),
        *("crop_size=32", "draws=1", f"out={','.join(map(str, sheets))}"),
    )
    assert code == 2
    assert err.splitlines() == [f"solo-invariance: error: out={sheets[1]}: expected a picture, .png, .jpg or .webp"]
    assert [sheet.exists() for sheet in sheets] == [True, False, True]


@pytest.mark.parametrize("flag", ["--experimental-rerun=x.pickle", "--exp=x.pickle"])
def test_nothing_is_unpickled(cli: Any, flag: str) -> None:
    code, _, err = cli("families", flag)
    assert code == 2
    assert err.startswith("solo-invariance: error: --experimental-rerun is refused")


def test_an_unknown_flag_is_one_line(cli: Any) -> None:
    code, _, err = cli("families", "--verbos")
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.startswith("solo-invariance: error: --verbos: there is no such flag")


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (OSError(28, "No space left on device", "out/x"), "out/x: No space left on device"),
        (MemoryError(), "not enough memory"),
        (MemoryError("9 GB for x"), "not enough memory (9 GB for x)"),
        (RecursionError("maximum"), "something is nested too deeply"),
    ],
)
def test_what_the_machine_refuses_is_one_line(
    cli: Any, monkeypatch: pytest.MonkeyPatch, raised: Exception, line: str
) -> None:
    from solo_invariance.commands import doctor

    def refused(config: Any) -> None:
        raise raised

    monkeypatch.setattr(doctor, "run", refused)
    assert cli("doctor") == (2, "", f"solo-invariance: error: {line}\n")


def test_a_directory_that_is_gone_is_one_line(tmp_path: Path) -> None:
    script = "import os, sys; os.rmdir(os.getcwd()); from solo_invariance.cli import main; sys.exit(main(['doctor']))"
    (tmp_path / "gone").mkdir()
    package = str(Path(main.__code__.co_filename).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path / "gone",
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": package},
    )
    assert (done.returncode, done.stderr) == (
        2,
        "solo-invariance: error: the current directory is gone: cd to one that is there\n",
    )


def test_an_error_shows_what_cannot_be_printed(cli: Any) -> None:
    code, _, err = cli("\x1b[31mred\udce9")
    assert code == 2
    assert err.startswith("solo-invariance: error: unknown command '\\x1b[31mred\\udce9'")


def test_names_that_look_like_markup_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from solo_invariance.commands.terminal import console

    console.file = sys.stdout
    try:
        console.print("results: runs[/v1] [red]x[/] :smile:", soft_wrap=True)
    finally:
        console.file = None  # type: ignore[assignment]
    assert capsys.readouterr().out == "results: runs[/v1] [red]x[/] :smile:\n"
