"""How a command leaves: at once, quietly where nobody reads, and as by Ctrl-C where it is asked to end."""

import os
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from solo_invariance.cli import _hydra, _Job, main
from solo_invariance.command_process import _end_children
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
# The tests may run under nohup, or behind a script, whose processes ignore signals.
_AS_FROM_A_TERMINAL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""


def _process(code: str, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-c", _AS_FROM_A_TERMINAL + _RUN, code],
        timeout=60,
        check=False,
        **{"env": environment, **options},
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


_TERMINATED = (143, b"", b"terminated; run the same command again to go on\n")
_ASKED = "os.kill(os.getpid(), signal.SIGTERM); signal.pause()"


@pytest.mark.parametrize(
    ("name", "code", "said"), [("SIGTERM", 143, b"terminated"), ("SIGHUP", 129, b"terminated"), ("SIGINT", 130, b"int")]
)
def test_a_signal_is_ctrl_c(tmp_path: Path, name: str, code: int, said: bytes) -> None:
    file = tmp_path / "half"
    work = f"try: os.kill(os.getpid(), signal.{name}); signal.pause()\nfinally: open({str(file)!r}, 'w').close()"
    done = _process(work, capture_output=True)
    assert (done.returncode, done.stderr.count(b"\n")) == (code, 1)
    assert done.stderr.startswith(said)
    assert done.stderr.endswith(b"run the same command again to go on\n")
    assert file.exists()  # it tidied up


@pytest.mark.parametrize(
    "work",
    [
        # A destructor, in which exceptions are printed and dropped.
        f"class One:\n def __del__(self): {_ASKED}\nOne(); signal.pause()",
        # What is done beside a fork, too: what is raised there is dropped, and the lock it was to let go stays shut.
        f"def then(): {_ASKED}\nos.register_at_fork(after_in_parent=then)\nos.fork() or os._exit(0); signal.pause()",
        # A library that fails at tidying up.
        f"try: {_ASKED}\nexcept KeyboardInterrupt: raise RuntimeError('tidying up')",
        # One that makes something of it.
        f"try: {_ASKED}\nexcept KeyboardInterrupt: print('Received SIGTERM', file=sys.stderr); sys.exit(1)",
        # One that goes on.
        "import solo_invariance.command_process as one; one._SECONDS_TO_TIDY_UP = 0.1\n"
        f"try: {_ASKED}\nexcept KeyboardInterrupt: pass\nsignal.pause()",
        # One that goes on where the signal was dropped and raised again, or drops it ever again.
        "import solo_invariance.command_process as one; one._SECONDS_TO_TIDY_UP = 0.5\n"
        f"class One:\n def __del__(self): {_ASKED}\n"
        "try: One(); signal.pause()\nexcept KeyboardInterrupt: signal.pause()",
        "import solo_invariance.command_process as one; one._SECONDS_TO_TIDY_UP = 0.2\n"
        f"class One:\n def __del__(self): {_ASKED}\nwhile True: One()",
        # It comes after the last word.
        "import solo_invariance.command_process as one; then = one._hear_no_signals\n"
        f"def late(one=one, then=then): one._hear_no_signals = then; {_ASKED}\none._hear_no_signals = late",
        # A second one, of a scheduler that asks both the job and its processes.
        f"try: {_ASKED}\nfinally: os.kill(os.getpid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGINT)",
    ],
    ids=["destructor", "fork", "tidying up", "exit", "goes on", "dropped", "ever dropped", "late", "twice"],
)
def test_at_any_moment_a_signal_is_one_line(work: str) -> None:
    done = _process(work, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == _TERMINATED


def test_it_is_tidied_up_where_the_signal_was_dropped(tmp_path: Path) -> None:
    tidied = tmp_path / "tidied"
    work = f"class One:\n def __del__(self): {_ASKED}\ntry: One(); signal.pause()\nfinally: os.mkdir({str(tidied)!r})"
    done = _process(work, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == _TERMINATED
    assert tidied.exists()


def test_what_is_dropped_is_shown_where_nobody_asked() -> None:
    done = _process("class One:\n def __del__(self): {}['key']\nOne()", capture_output=True)
    assert done.returncode == 0
    assert done.stderr.startswith(b"Exception ignored in: ")


def test_a_command_that_was_done_when_it_was_asked_to_end_is_done() -> None:
    done = _process(f"try: {_ASKED}\nexcept KeyboardInterrupt: pass", capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


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


def test_an_interrupted_command_says_how_to_go_on(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from solo_invariance.commands import doctor

    def ended(config: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run", ended)
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
    assert err.splitlines() == [
        f"solo-invariance: error: out={sheets[1]}: expected a picture, .png, .jpg or .webp",
        f"solo-invariance: 1 of 3 jobs failed: out={sheets[1]}",
    ]
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


def _while_out_of_memory(error: Exception) -> Exception:
    error.__context__ = MemoryError()
    return error


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (OSError(28, "No space left on device", "out/x"), "out/x: No space left on device"),
        (MemoryError(), "not enough memory: take smaller images, or fewer at a time (batch_size, num_workers)"),
        (
            _while_out_of_memory(RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 9 vs 7")),
            "not enough memory: take smaller images, or fewer at a time (batch_size, num_workers)",
        ),
        (
            MemoryError("9 GB"),
            "not enough memory (9 GB): take smaller images, or fewer at a time (batch_size, num_workers)",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            "not enough memory: take smaller images, or fewer at a time (batch_size, num_workers)",
        ),
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


def test_a_warning_is_a_line_of_ours() -> None:
    done = _process("import warnings; warnings.warn('passed over:\\n  a.ckpt')", stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"solo-invariance: warning: passed over: a.ckpt\n")
