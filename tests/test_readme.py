"""The README's commands are the software's."""

import re
import shlex
from pathlib import Path

import pytest

from solo_invariance.cli import COMMANDS

ROOT = Path(__file__).parents[1]
_BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
_LINES = [line.split("    #")[0].strip() for block in _BLOCKS for line in block.splitlines() if line.strip()]
_OURS = [line for line in _LINES if line.startswith("solo-invariance ")]
_HOSTS = [line for line in _LINES if line.startswith("python main_")]


def test_every_command_of_ours_is_shown() -> None:
    assert {line.split()[1] for line in _OURS} >= set(COMMANDS) - {"demo"}


@pytest.mark.parametrize("line", _OURS)
def test_our_commands_compose(line: str, tmp_path: Path, monkeypatch, capsys) -> None:
    from solo_invariance.cli import main

    monkeypatch.chdir(tmp_path)
    arguments = shlex.split(line)[1:]
    assert main([*arguments, "--cfg", "job"]) == 0
    out = capsys.readouterr().out
    for override in arguments[1:]:
        key, value = override.split("=", 1)
        if "/" not in value and "[" not in value:
            assert f"{key.split('.')[-1]}: {value}" in out


@pytest.mark.parametrize("line", [line for line in _LINES if line.startswith("make ")])
def test_make_knows_its_targets(line: str) -> None:
    assert f"\n{line.split()[1]}:" in (ROOT / "Makefile").read_text()


def test_every_other_line_is_a_hosts_command_or_an_installation() -> None:
    rest = [line for line in _LINES if line not in _OURS and line not in _HOSTS and not line.startswith("make ")]
    assert all(line.startswith("pip install") for line in rest), rest


@pytest.mark.host
@pytest.mark.parametrize("line", _HOSTS)
def test_the_hosts_commands_compose_in_a_checkout(line: str, solo_learn: Path) -> None:
    import subprocess
    import sys

    arguments = [sys.executable, "-W", "ignore", *shlex.split(line)[1:], "--cfg", "job"]
    done = subprocess.run(arguments, cwd=solo_learn, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert ("family: " in done.stdout) == ("main_pretrain" in line)


def test_every_file_that_is_linked_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
