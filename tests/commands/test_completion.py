"""Completion by Tab, in the shells themselves where they are installed."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import solo_invariance
from solo_invariance.commands.completion import complete, script_of
from solo_invariance.plugins import discover

_MARK = "@@"
_SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], f'bind -x \'"\\C-g": echo "{_MARK}$READLINE_LINE{_MARK}"\''),
    "zsh": (["zsh", "-f", "-i"], f'show() {{ print -r -- "{_MARK}$BUFFER{_MARK}" }}; zle -N show; bindkey "^G" show'),
    "fish": (["fish", "--no-config", "-i"], f"bind \\cg 'echo {_MARK}(commandline){_MARK}'"),
}
_LOAD = {
    "bash": 'eval "$(solo-invariance completion bash)"',
    "zsh": 'eval "$(solo-invariance completion zsh)"',
    "fish": "solo-invariance completion fish | source",
}


class Terminal:
    """A shell that somebody types in."""

    def __init__(self, shell: str, folder: Path) -> None:
        program = folder / "bin" / "solo-invariance"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m solo_invariance.cli "$@"\n')
        program.chmod(0o755)
        command, show = _SHELLS[shell]
        environment = {
            "PYTHONPATH": str(Path(solo_invariance.__file__).parents[1]),
            "PATH": f"{program.parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "ZDOTDIR": str(folder),
            "INPUTRC": "/dev/null",
            "TERM": "dumb",
            "LANG": "C.UTF-8",
            "PS1": "$ ",
        }
        self.process, self._terminal = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, environment)
        for line in (show, _LOAD[shell]):
            self._type(f"{line}; echo re''ady\n")
            self._read_until("ready")

    def after_tab(self, line: str) -> str:
        """Type something, then Tab; return what is in the line then."""
        self._type(f"{line}\t")
        deadline = time.monotonic() + 20
        while True:  # the shell is asked before it has answered to Tab, too
            time.sleep(0.2)
            self._type("\a")
            found = self._read_until(rf"{_MARK}(.*?){_MARK}")
            if found != line or time.monotonic() > deadline:
                self._type("\x15")
                return found

    def leave(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self._terminal)

    def _type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def _read_until(self, pattern: str) -> str:
        seen, deadline = "", time.monotonic() + 20
        while time.monotonic() < deadline:
            if select.select([self._terminal], [], [], 0.1)[0]:
                seen += os.read(self._terminal, 65536).decode(errors="replace")
                if found := re.search(pattern, seen, re.DOTALL):
                    return found.group(found.lastindex or 0)
        raise AssertionError(f"no {pattern!r} in {seen!r}")


@pytest.fixture(params=_SHELLS)
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Terminal]]:
    shell = request.param
    if shell != "bash" and shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    (tmp_path / "photos").mkdir()
    (tmp_path / "my file.ckpt").touch()
    started = Terminal(shell, tmp_path)
    yield shell, started
    started.leave()


def test_tab_completes_in_the_shells_themselves(terminal: tuple[str, Terminal]) -> None:
    shell, typed = terminal
    for line, expected in {
        "mea": "measure ",
        "measure back": "measure backbone.",
        "measure backbone.inter": "measure backbone.interpolation=",
        "measure k=4 protocol=pa": "measure k=4 protocol=paper ",
        "measure data.path=ph": "measure data.path=photos/",
        "measure backbone.checkpoint=my": r"measure backbone.checkpoint=my\ file.ckpt ",
        "measure 'transforms=[rotation,sat": "measure 'transforms=[rotation,saturation",
        "pretrain augmentations=invariance/ve": "pretrain augmentations=invariance/ventral ",
        "pretrain +recipe=mocov2_imagenet_": "pretrain +recipe=mocov2_imagenet_x3 ",
        "measure --help target": "measure --help target_se ",
    }.items():
        assert typed.after_tab(f"solo-invariance {line}") == f"solo-invariance {expected}", shell


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["tra"], ["transfer "]),
        (["measure", "backbone.views."], ["backbone.views.family=", "backbone.views.num_views="]),
        (["measure", "re"], ["reference.", "resize="]),
        (["measure", "budget="], ["budget=full ", "budget=adaptive "]),
        (["measure", "twin=t"], ["twin=true "]),
        (["measure", "transforms=a"], ["transforms=all "]),
        (["measure", "transforms=h"], []),
        (["measure", "transforms=[hue,h"], ["transforms=[hue,h_flip,", "transforms=[hue,h_flip] "]),
        (["transfer", "probe.name=k"], ["probe.name=kernel_ridge ", "probe.name=knn "]),
        (["pretrain", "+"], ["+recipe=", "+invariance="]),
        (["pretrain", "invariance.monitor.ev"], ["invariance.monitor.every="]),
        (
            ["pretrain", "invariance.transfer.knn."],
            ["invariance.transfer.knn.k=", "invariance.transfer.knn.temperature="],
        ),
        (["pretrain", "+invariance=t"], ["+invariance=transfer "]),
        (["measure", "--mul"], ["--multirun "]),
        (["help", "dem"], ["demo "]),
        (["help", "measure", "backbone.l"], ["backbone.layer ", "backbone.label "]),
        (["completion", ""], ["bash ", "zsh ", "fish "]),
        (["nonsense", ""], []),
        (["measure", "nonsense="], []),
        (["doctor", "k"], []),
    ],
)
def test_what_may_come_next(words: list[str], found: list[str]) -> None:
    assert complete(words) == found


def test_names_are_those_of_installed_plugins() -> None:
    tasks = {plugin.name for plugin in discover("tasks")}
    assert set(complete(["transfer", "task.name="])) == {f"task.name={name} " for name in tasks}
    assert set(complete(["transfer", "tasks="])) == {f"tasks=[{name}" for name in tasks}
    assert "transforms=all " in complete(["measure", "transforms="])
    assert "transforms=[rotation" in complete(["measure", "transforms="])


def test_files_where_paths_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("photos", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "photos" / "a.png").touch()
    (tmp_path / "b.ckpt").touch()
    assert complete(["measure", "data.path="]) == ["data.path=b.ckpt ", "data.path=photos/"]
    assert complete(["measure", "data.path=photos/"]) == ["data.path=photos/a.png "]
    assert complete(["measure", "data.path=.h"]) == ["data.path=.hidden/"]
    assert complete(["measure", "data.path=~/b"]) == ["data.path=~/b.ckpt "]
    assert complete(["measure", "data.path=nowhere/"]) == []
    assert complete(["fuse", "members="]) == ["members=["]
    assert complete(["fuse", "members=[b"]) == ["members=[b.ckpt,", "members=[b.ckpt] "]
    assert complete(["fuse", "members=[b.ckpt,p"]) == ["members=[b.ckpt,photos/"]


def test_completing_loads_nothing_heavy() -> None:
    script = (
        "import sys; from solo_invariance.cli import main; main(['--complete', 'measure', 'transforms=['])\n"
        "print('loaded', *{'torch', 'hydra', 'numpy', 'omegaconf', 'rich'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *found, loaded = done.stdout.splitlines()
    assert "transforms=[rotation" in found
    assert loaded == "loaded"


@pytest.mark.parametrize("shell", _SHELLS)
def test_scripts_are_valid(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    done = subprocess.run([shell, "-n"], input=script_of([shell]), text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
