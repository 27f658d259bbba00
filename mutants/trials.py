"""Test runs, each in a process of its own that begins with what is slow to import already there."""

import compileall
import importlib
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import NamedTuple, NoReturn

import pytest

from mutants.faults import Fault

CAUGHT, SURVIVED, HUNG, ERROR = "caught", "survived", "caught (too slow)", "error"
_OF_PYTEST = {pytest.ExitCode.OK: SURVIVED, pytest.ExitCode.TESTS_FAILED: CAUGHT}
_SECONDS = 300
_SLOW_TO_IMPORT = (
    "torch",
    "torch._dynamo",
    "torchvision",
    "torchmetrics",
    "lightning.pytorch",
    "scipy.stats",
    "kornia",
    "timm",
    "hydra",
    "pydantic",
    "rich.console",
    "faiss",
    "lightly",
    "skimage.data",
    "sklearn.linear_model",
)


class Trial(NamedTuple):
    """Tests that are to be run, and the fault that is planted before, if any."""

    tests: tuple[str, ...]
    fault: Fault | None = None


class _Run(NamedTuple):
    trial: Trial
    copy: Path
    right: str


def import_what_is_slow() -> None:
    """Import what the tree's package and tests need and take long to import, but nothing of the tree."""
    for name in _SLOW_TO_IMPORT:
        with suppress(ImportError):
            importlib.import_module(name)


def copies_of(root: Path, count: int, where: Path) -> list[Path]:
    """Return copies of a tree, a git checkout, without what git ignores; they are made in a folder."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
    copies = [where / str(number) for number in range(count)]
    for copy in copies:
        for file in files:
            if (root / file).is_file():
                (copy / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / file, copy / file)
        # By its content, since a changed file may have the size and, to the second, the age of the one before.
        compileall.compile_dir(copy, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    return copies


def outcomes(trials: Iterable[Trial], copies: list[Path]) -> Iterator[tuple[Trial, str]]:
    """Yield each trial and what came of it, as they end; as many at once as there are copies.

    It is an error where the tests did not come to run, which proves nothing. The end of what pytest printed is shown
    there, and where tests fail without a fault.
    """
    free, running = list(copies), dict[int, _Run]()
    for trial in trials:
        if not free:
            yield _next_to_end(running, free)
        copy = free.pop()
        right = _plant(trial.fault, copy) if trial.fault else ""
        running[_start(copy, trial.tests)] = _Run(trial, copy, right)
    while running:
        yield _next_to_end(running, free)


def _plant(fault: Fault, copy: Path) -> str:
    right = (copy / fault.file).read_text(encoding="utf-8")
    (copy / fault.file).write_text(fault.planted(right), encoding="utf-8")
    return right


def _next_to_end(running: dict[int, _Run], free: list[Path]) -> tuple[Trial, str]:
    process, status = os.wait()
    trial, copy, right = running.pop(process)
    if trial.fault:
        (copy / trial.fault.file).write_text(right, encoding="utf-8")
    free.append(copy)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        return trial, HUNG
    outcome = _OF_PYTEST.get(os.waitstatus_to_exitcode(status), ERROR)  # type: ignore[call-overload]
    if outcome == ERROR or (outcome == CAUGHT and not trial.fault):
        print(_printed(copy).read_text(encoding="utf-8", errors="replace")[-2000:], file=sys.stderr)
    return trial, outcome


def _printed(copy: Path) -> Path:
    return copy.with_suffix(".txt")


def _start(copy: Path, tests: Iterable[str]) -> int:
    process = os.fork()
    if process:
        return process
    try:
        _run(copy, tests)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(pytest.ExitCode.INTERNAL_ERROR)


def _run(copy: Path, tests: Iterable[str]) -> NoReturn:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_SECONDS)
    printed = os.open(_printed(copy), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(printed, descriptor)
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", closefd=False) for descriptor in (1, 2))
    os.chdir(copy)
    own = {path.stem for path in copy.iterdir()} | {"conftest"}
    for name in [name for name in sys.modules if name.split(".")[0] in own - {"mutants"}]:
        del sys.modules[name]
    sys.path.insert(0, str(copy))
    sys.dont_write_bytecode = True
    path = os.pathsep.join(filter(None, (str(copy), os.environ.get("PYTHONPATH"))))
    os.environ.update(PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1")
    # Plugins of pytest may be among what was imported before.
    imported = "ignore::pytest.PytestAssertRewriteWarning"
    options = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-W", imported, f"--basetemp={copy}-temporary"]
    code = pytest.main([*options, *tests])
    sys.stdout.flush()
    os._exit(code)
