"""Small commands, and running them in processes that are forked from one that has imported everything."""

import ctypes
import importlib
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from fuzz.verdict import complaints
from solo_invariance.cli import main
from solo_invariance.command_process import run_as_process

_NETWORK = ("backbone.name=random:resnet10", "backbone.kwargs={width: 0.25}", "backbone.crop_size=32")
_PRETRAIN = (
    *("data.num_images=48", "data.size=32", "optimizer.batch_size=16", "data.num_workers=2", "name=faults"),
    "checkpoint.dir=out",
)
COMMANDS: dict[str, tuple[str, ...]] = {
    "measure": (
        *("measure", *_NETWORK, "data.name=latent_scenes", "data.num_images=24", "data.size=32", "k=3"),
        *("transforms=[hue,rotation,blur]", "num_workers=2", "batch_size=8", "device=cpu", "out=out"),
    ),
    "transfer": (
        *("transfer", *_NETWORK, "task.name=hue", "task.num_train=48", "task.num_test=24", "num_workers=2"),
        *("batch_size=16", "device=cpu", "out=out"),
    ),
    "fuse": (
        *(
            "fuse",
            "members=[{name: random:resnet10, kwargs: {width: 0.25}},{name: random:resnet18, kwargs: {width: 0.25}}]",
            "mode=auto",
            "task.name=hue",
            "task.num_train=32",
        ),
        *("task.num_test=16", "task.size=32", "batch_size=16", "device=cpu", "out=out/fused.ckpt"),
    ),
    "pretrain": ("pretrain", *_PRETRAIN, "accelerator=cpu", "max_epochs=3"),
}
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        code: Its exit code, or less than 0 where a signal ended it.
        errors: Lines on standard error.
        seconds: From its start.
        orphans: Whether processes that it started are still there.
    """

    code: int
    errors: list[str]
    seconds: float
    orphans: bool


@dataclass(frozen=True)
class Running:
    """A command at work."""

    process: int
    errors: Path
    started: float

    def signal_at(self, seconds: float, number: signal.Signals) -> None:
        """Send a signal some time after the start."""
        time.sleep(max(0.0, self.started + seconds - time.monotonic()))
        os.kill(self.process, number)

    def end(self) -> Ended:
        """Wait until it ends."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        seconds, orphans = time.monotonic() - self.started, False
        if code != -signal.SIGKILL:  # else what it started has yet to see that it is gone
            orphans = _in_group(self.process)
        _end_group(self.process)
        return Ended(code, complaints(self.errors.read_text()), seconds, orphans)


def import_all() -> None:
    """Import what commands import, so that processes that are forked have it."""
    _adopt()
    for command in COMMANDS:
        importlib.import_module(f"solo_invariance.commands.{command}")
    importlib.import_module("solo_invariance.hosts.embedded.pretrain")
    importlib.import_module("solo_invariance.report.page")


def start(arguments: tuple[str, ...], place: Path, largest_file: int | None = None) -> Running:
    """Start a command in a folder.

    Args:
        arguments: The command's.
        place: Where it runs, with a cache of its own.
        largest_file: In bytes, as a disk quota has it.
    """
    sys.stdout.flush()
    # Made here: a process that is ended as it begins has written none.
    errors, path = tempfile.mkstemp(prefix="stderr-", dir=place)
    process = os.fork()
    if process == 0:
        _become(arguments, place, errors, largest_file)
    os.close(errors)
    return Running(process, Path(path), time.monotonic())


def run(arguments: tuple[str, ...], place: Path, before_end: Callable[[Running], None] = lambda running: None) -> Ended:
    """Run a command in a folder, with something done to it while it works."""
    running = start(arguments, place)
    before_end(running)
    return running.end()


def _become(arguments: tuple[str, ...], place: Path, errors: int, largest_file: int | None) -> None:
    # After a fork, torch makes its pool of threads anew at the first use, which two threads at once do not survive.
    torch.set_num_threads(1)
    os.setsid()
    os.chdir(place)
    os.environ["SOLO_INVARIANCE_CACHE"] = str(place / "cache")
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    os.dup2(errors, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    sys.argv = ["solo-invariance", *arguments]
    run_as_process(main)


def _adopt() -> None:
    """Let processes whose parent is gone be this one's, which else are the system's to bury, whenever it does."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _in_group(group: int) -> bool:
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _end_group(group: int) -> None:
    while _in_group(group):
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(0.02)
