"""Running a case's command in a process of its own, forked from one that has imported everything."""

import atexit
import importlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch

import solo_invariance
from solo_invariance.config.kinds import command_behind

PACKAGE = Path(solo_invariance.__file__).parent
COMMANDS = ("demo", "doctor", "export", "families", "fuse", "measure", "pretrain", "report", "study", "transfer")
HUNG = -1000
_GB = 1 << 30
_MEMORY = 3 * _GB
_LARGEST_FILE = _GB // 4


@dataclass(frozen=True)
class Place:
    """The folders of a case: the one that its command runs in, and what the command may take for the user's.

    The working folder lies deep enough for a path such as ``../..`` to stay within the case.
    """

    root: Path

    @property
    def work(self) -> Path:
        """Where the command runs."""
        return self.root / "a" / "b" / "cwd"

    @property
    def environment(self) -> dict[str, str]:
        """What the command finds in its environment, beside what is there anyway."""
        return {
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "XDG_CACHE_HOME": str(self.root / "home" / "cache"),
            "SOLO_INVARIANCE_CACHE": str(self.root / "cache"),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "100",
        }

    def make(self, world: Path | None = None) -> None:
        """Make the folders, with a copy of a world's working folder and cache where there is one."""
        for folder in (self.work.parent, self.root / "home", self.root / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        if world is None:
            self.work.mkdir()
            return
        source = Place(world)
        shutil.copytree(source.work, self.work, symlinks=True)
        shutil.copytree(source.root / "cache", self.root / "cache", symlinks=True)


@dataclass(frozen=True)
class Outcome:
    """What a command did: how it ended (a signal is negative), and what it printed."""

    code: int
    out: str
    err: str
    seconds: float


def remove(folder: Path) -> None:
    """Remove a folder, however deep what lies in it; ``shutil.rmtree`` gives up at a thousand levels."""
    subprocess.run(["rm", "-rf", "--", os.fsencode(folder)], check=True)


def import_everything() -> None:
    """Import what the commands import, so that forked processes find it there."""
    for command in {*map(command_behind, COMMANDS)}:
        importlib.import_module(f"solo_invariance.commands.{command}")
    for name in (
        "solo_invariance.cli",
        "solo_invariance.hosts.embedded.pretrain",
        "hydra.core.config_store",
        "lightning.pytorch",
        "timm",
        "torchvision",
        "kornia",
        "torch._dynamo",
        "scipy.io",
        "PIL.AvifImagePlugin",
    ):
        with suppress(ImportError):
            importlib.import_module(name)
    from hydra.core.plugins import Plugins
    from PIL import Image

    Plugins.instance()
    Image.init()


def run_forked(arguments: Sequence[str], place: Place, seconds: float) -> Outcome:
    """Run a command in a fork of this process."""
    begin = time.monotonic()
    process = os.fork()
    if process == 0:
        _child(arguments, place, seconds)
    status = _wait(process, begin + seconds)
    return _outcome(status, place, time.monotonic() - begin)


def run_anew(arguments: Sequence[str], place: Place, seconds: float) -> Outcome:
    """Run a command as the shell does, in a new interpreter."""
    begin = time.monotonic()
    command = [*real_command(), *(os.fsencode(argument) for argument in arguments)]
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, **place.environment, "PYTHONPATH": path}
    with (place.root / "stdout").open("wb") as out, (place.root / "stderr").open("wb") as err:
        running = subprocess.Popen(
            command,
            cwd=place.work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            code = running.wait(seconds)
        except subprocess.TimeoutExpired:
            code = HUNG
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    return _outcome(code, place, time.monotonic() - begin)


def real_command() -> list[str]:
    """Return what starts the command line in a new interpreter."""
    return [sys.executable, "-m", "solo_invariance.cli"]


def _wait(process: int, deadline: float) -> int:
    """Return how a process ended, after which nothing that it started is left, either."""
    code = HUNG
    while time.monotonic() < deadline:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    if code == HUNG:
        os.waitpid(process, 0)
    return code


def _outcome(code: int, place: Place, seconds: float) -> Outcome:
    out, err = ((place.root / name).read_bytes().decode(errors="backslashreplace") for name in ("stdout", "stderr"))
    return Outcome(code, out, err, seconds)


def _child(arguments: Sequence[str], place: Place, seconds: float) -> NoReturn:
    code = 1
    try:
        torch.set_num_threads(1)  # before there are threads: torch's pools race after a fork
        os.setsid()
        _redirect(place)
        os.environ.update(place.environment)
        os.chdir(place.work)
        _limit(seconds)
        from solo_invariance.cli import main
        from solo_invariance.command_process import run_as_process

        atexit._clear()  # what is the campaign's is not this process's to end
        sys.argv = ["solo-invariance", *arguments]
        run_as_process(main)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
        with suppress(BaseException):
            sys.stderr.flush()
        os._exit(code)


def _redirect(place: Place) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(place.root / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def _limit(seconds: float) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    limits: Mapping[int, int] = {
        resource.RLIMIT_AS: pages * resource.getpagesize() + _MEMORY,
        resource.RLIMIT_FSIZE: _LARGEST_FILE,
        resource.RLIMIT_CPU: int(seconds) + 1,
        resource.RLIMIT_CORE: 0,
    }
    for what, most in limits.items():
        resource.setrlimit(what, (most, most))
