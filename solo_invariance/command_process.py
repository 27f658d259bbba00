"""The process that a command is: its streams, its signals, and how it leaves. Imports nothing heavy."""

import atexit
import codecs
import math
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

BROKEN_PIPE = 128 + 13  # of a program that nobody reads any more, as shells count
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_ALARM = ("SIGALRM",)
_SECONDS_TO_TIDY_UP = 3.0
_SECONDS_TO_RAISE_AGAIN = 0.01
_ERRORS = "solo_invariance.plain"
# What tables and sentences have beyond ASCII; all else is written out.
_PLAIN = {
    "●": "*",
    "○": "o",
    "\N{EN DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "—": "-",
    "…": "...",
    "\N{MULTIPLICATION SIGN}": "x",
    "±": "+-",
    "²": "2",
    "≥": ">=",
    "≤": "<=",
}


class _Request:
    """That the process end, as a signal asks: its work is told by KeyboardInterrupt, and what comes of it is not heard.

    A signal comes at any moment. What is raised in a ``__del__`` or beside a fork, the interpreter prints and drops; a
    library that is interrupted half-way may fail at tidying up, or say or raise something of its own. So nothing is
    said any more but one line, what was dropped is raised again, and what does not end in time is left as it is: the
    same command goes on even where one was killed.

    Attributes:
        signum: The signal, None where there was none.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._process = os.getpid()
        self._standard_error = 2
        self._deadline = math.inf
        self._was_dropped = False

    def listen(self) -> None:
        """Take signals from here on, but those that are ignored, as nohup does."""
        for number in _numbers_of(_SIGNALS):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, self._take)
        for number in _numbers_of(_ALARM):
            signal.signal(number, self._be_reminded)
        sys.unraisablehook = self._notice_dropped

    def leave(self) -> NoReturn:
        """Say the one line, and leave."""
        assert self.signum is not None
        what = "interrupted" if self.signum == signal.SIGINT else "terminated"
        with suppress(OSError):  # nobody is there to read it: the exit code says it
            os.write(self._standard_error, f"{what}; run the same command again to go on\n".encode())
        leave(128 + self.signum)

    def _take(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a worker that was forked: its parent knows what to do, and need no alarm
            os._exit(0)
        if self.signum is None:  # else it was asked before, by a scheduler that asks a job and its processes
            self.signum = signum
            self._deadline = time.monotonic() + _SECONDS_TO_TIDY_UP
            self._be_quiet()
            _remind_in(_SECONDS_TO_TIDY_UP)
            raise KeyboardInterrupt

    def _be_quiet(self) -> None:
        with suppress(OSError):
            self._standard_error = os.dup(2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    def _notice_dropped(self, dropped: "sys.UnraisableHookArgs") -> None:
        if self.signum is None:
            sys.__unraisablehook__(dropped)
        elif issubclass(dropped.exc_type, KeyboardInterrupt):
            self._was_dropped = True
            _remind_in(_SECONDS_TO_RAISE_AGAIN)

    def _be_reminded(self, signum: int, frame: FrameType | None) -> None:
        left = self._deadline - time.monotonic()
        if not self._was_dropped or left <= 0:
            self.leave()
        self._was_dropped = False
        _remind_in(left)
        raise KeyboardInterrupt


def _numbers_of(names: Sequence[str]) -> list[signal.Signals]:
    return [signal.Signals[name] for name in names if name in signal.Signals.__members__]


def _remind_in(seconds: float) -> None:
    with suppress(AttributeError):  # not on this system, where signals do not come in that way, either
        signal.setitimer(signal.ITIMER_REAL, seconds)


def run_as_process(run: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run a command as this process's only work, with the process's arguments, and leave with the code it returns.

    Streams that were closed are opened to nothing, and text that a terminal cannot show is written out. A signal that
    asks the process to end raises KeyboardInterrupt, as Ctrl-C does; whatever comes of that is one line, and the exit
    code by which shells name the signal.

    Args:
        run: Takes the arguments, gives the exit code.
    """
    _prepare_streams()
    warnings.formatwarning = _one_line
    request = _Request()
    try:
        request.listen()
        code = _code_of(run)
        _hear_no_signals()
    except KeyboardInterrupt:  # which came before the work or after it, and comes once
        code = 1
    if code != 0 and request.signum is not None:
        request.leave()
    leave(code)


def _code_of(run: Callable[[Sequence[str]], int]) -> int:
    try:
        return run(sys.argv[1:])
    except SystemExit as leaving:
        if leaving.code is not None and not isinstance(leaving.code, int):
            print(leaving.code, file=sys.stderr)
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BrokenPipeError:
        return BROKEN_PIPE
    except BaseException:
        traceback.print_exc()
        return 1


def leave(code: int) -> NoReturn:
    """End this process at once: what was said is written, what was started is ended, and nothing else is waited for.

    An interpreter that ends in its own way collects all garbage twice and takes apart each of a thousand modules: half
    a second of computing with torch and what it brings, which on a machine at work takes ten to twenty, in which a
    command that has said all it has to say seems to hang.

    Args:
        code: The exit code; where standard output cannot be written, the exit code says that.
    """
    _hear_no_signals()
    code = _flushed(code)
    _end_children()
    with suppress(BaseException):
        atexit._run_exitfuncs()
    os._exit(code)


def _hear_no_signals() -> None:
    for number in _numbers_of((*_SIGNALS, *_ALARM)):
        with suppress(ValueError):  # in a thread
            signal.signal(number, signal.SIG_IGN)


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or BROKEN_PIPE
    except (OSError, ValueError) as error:
        code = code or 2
        with suppress(OSError, ValueError):
            reason = getattr(error, "strerror", None) or error
            print(f"solo-invariance: error: standard output cannot be written ({reason})", file=sys.stderr)
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    return code


def _end_children() -> None:
    if "multiprocessing.process" not in sys.modules:
        return
    from multiprocessing import active_children

    children = active_children()
    for child in children:
        child.terminate()
    for child in children:
        child.join(0.3)
        if child.is_alive():
            child.kill()


def _prepare_streams() -> None:
    # The next file that is opened would get a closed stream's number, and what is printed would go there.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    codecs.register_error(_ERRORS, _written_out)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors=_ERRORS)  # type: ignore[union-attr]


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Return a warning as commands say it, without the line of a program that nobody asked for."""
    return f"solo-invariance: warning: {' '.join(str(message).split())}\n"


def _written_out(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what stands for characters that an encoding does not have; a name that is no text has some in any."""
    assert isinstance(error, UnicodeEncodeError)
    character = error.object[error.start]
    if character in _PLAIN:
        return _PLAIN[character], error.start + 1
    one = UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
    return codecs.backslashreplace_errors(one)
