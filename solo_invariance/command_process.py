"""The process that a command is: its streams, its signals, and how it leaves. Imports nothing heavy."""

import atexit
import codecs
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

BROKEN_PIPE = 128 + 13  # of a program that nobody reads any more, as shells count
_SIGNALS = ("SIGTERM", "SIGHUP")
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


class Terminated(KeyboardInterrupt):
    """The process was asked to end by a signal: what is to be done is what Ctrl-C asks for.

    Args:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def run_as_process(run: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run a command as this process's only work, with the process's arguments, and leave with the code it returns.

    Streams that were closed are opened to nothing, text that a terminal cannot show is written out, and SIGTERM is what
    Ctrl-C is.

    Args:
        run: Takes the arguments, gives the exit code.
    """
    _prepare_streams()
    _prepare_signals()
    try:
        code = run(sys.argv[1:])
    except SystemExit as leaving:
        if leaving.code is not None and not isinstance(leaving.code, int):
            print(leaving.code, file=sys.stderr)
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BrokenPipeError:
        code = BROKEN_PIPE
    except BaseException:
        traceback.print_exc()
        code = 1
    leave(code)


def leave(code: int) -> NoReturn:
    """End this process at once: what was said is written, what was started is ended, and nothing else is waited for.

    An interpreter that ends in its own way collects all garbage twice and takes apart each of a thousand modules: half
    a second of computing with torch and what it brings, which on a machine at work takes ten to twenty, in which a
    command that has said all it has to say seems to hang.

    Args:
        code: The exit code; where standard output cannot be written, the exit code says that.
    """
    for name in ("SIGINT", *_SIGNALS):
        with suppress(ValueError):  # in a thread, or not on this system
            signal.signal(getattr(signal, name, signal.SIGINT), signal.SIG_IGN)
    code = _flushed(code)
    _end_children()
    with suppress(BaseException):
        atexit._run_exitfuncs()
    os._exit(code)


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


def _written_out(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what stands for characters that an encoding does not have; a name that is no text has some in any."""
    assert isinstance(error, UnicodeEncodeError)
    character = error.object[error.start]
    if character in _PLAIN:
        return _PLAIN[character], error.start + 1
    one = UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
    return codecs.backslashreplace_errors(one)


def _prepare_signals() -> None:
    here = os.getpid()

    def end(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != here:  # a worker that was forked: its parent knows what to do, and is not to be alarmed
            os._exit(0)
        raise Terminated(signum)

    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # not where nohup ignores it
            signal.signal(number, end)
