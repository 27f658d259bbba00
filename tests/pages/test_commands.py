"""Every command of the README and of the how-to and explanation pages, as it is written, in a shell."""

import re
import shlex
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("howto/*.md")),
    *sorted((ROOT / "docs").glob("explanation/*.md")),
]

# Lines that are not run here, by how they begin, and why.
NOT_RUN = {
    "git clone": "fetches from the network",
    "python examples/study_photos/lay_out.py": "tests/examples/test_study_photos.py does, on pictures that are made up",
    "pip install": "changes the environment, as tests/test_packaging.py does in one of its own",
    "make ": "make test is what runs this",
    "python main_": "solo-learn's own script: test_the_hosts_commands_compose, in a checkout",
    "python -m solo_invariance.hosts.script": "solo-learn's own script: tests/hosts/solo_learn runs it",
    "torchrun": "starts processes of its own: tests/hosts/test_fabric.py does",
}
# Nor those with this word.
A_LAUNCHER = "hydra/launcher="  # a distribution of its own, and a scheduler
# And those with this one where the distribution of that name is not installed.
A_SWEEPER = "hydra/sweeper=optuna"
HAS_SWEEPER = find_spec("hydra_plugins.hydra_optuna_sweeper") is not None
# Commands that name what is not here, by a word of theirs, and what that is. Their keys are composed and checked.
NOT_HERE = {
    "timm:": "weights are downloaded",
    "hf:facebook/": "weights are downloaded",
    "torch.hub:facebookresearch/": "code and weights are downloaded",
    "task.name=cifar10": "a published dataset",
    "study=photos": "published datasets",
    "P1_Facial_Keypoints": "a published dataset",
    "cifar-10-batches-bin": "a published dataset",
    "task.name=300w": "a published dataset",
    "data.name=coil100": "a published dataset",
    "recipe=mocov2_imagenet": "ImageNet",
    "devices=": "as many processes or GPUs",
}


_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


def _lines(block: str) -> list[str]:
    """Return the commands of a block, one a line, with comments taken off."""
    joined = block.replace("\\\n", " ")
    return [line for raw in joined.splitlines() if (line := re.sub(r"(^|\s+)#.*", "", raw).strip())]


def _commands(page: Path) -> list[str]:
    blocks = _BLOCK.findall(page.read_text())
    return [line for language, block in blocks if language == "sh" for line in _lines(block)]


def _script(page: Path, folder: Path) -> str:
    """Return what a page has a reader do, in its order, with each step said before; its Python lies in a folder."""
    lines = []
    for number, (language, block) in enumerate(_BLOCK.findall(page.read_text())):
        if language == "python":
            (folder / f"block{number}.py").write_text(block)
        for command in _lines(block) if language == "sh" else [f"python block{number}.py"]:
            is_run = not command.startswith(tuple(NOT_RUN)) and A_LAUNCHER not in command
            if is_run and (HAS_SWEEPER or A_SWEEPER not in command):
                composed = " --cfg job > composed.yaml" if any(word in command for word in NOT_HERE) else ""
                lines += [f"echo {shlex.quote('$ ' + command)}", command + composed]
    return "\n".join(lines)


WITH_STEPS = [page for page in PAGES if _BLOCK.search(page.read_text())]
WITH_COMMANDS = [page for page in PAGES if _commands(page)]


@pytest.mark.parametrize("page", WITH_STEPS, ids=lambda page: page.stem)
def test_pages_run_as_they_are_written(page: Path, run_in_bash: Callable[..., Any], stand_ins: Path) -> None:
    done = run_in_bash(_script(page, stand_ins), stand_ins)
    assert done.code == 0, done.said[-3000:]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_zsh_and_bash_give_programs_the_same(page: Path, arguments_in: Callable[..., list[list[str]]]) -> None:
    script = "\n".join(_commands(page))
    given = arguments_in("bash", script)
    assert given
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    assert arguments_in("zsh", script) == given


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_what_a_shell_would_expand_is_quoted(page: Path) -> None:
    for command in _commands(page):
        bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", command)
        assert not re.search(r"[][*?{}]", bare), f"{command}: quote what has brackets, for zsh"


def test_every_reason_is_of_a_command() -> None:
    commands = [command for page in PAGES for command in _commands(page)]
    for start in NOT_RUN:
        assert any(command.startswith(start) for command in commands), f"{start}: no page has it any more"
    for word in NOT_HERE:
        assert any(word in command for command in commands), f"{word}: no page has it any more"


@pytest.mark.host
@pytest.mark.parametrize(
    "command",
    sorted({command for page in PAGES for command in _commands(page) if command.startswith("python main_")}),
)
def test_the_hosts_commands_compose(command: str, solo_learn: Path) -> None:
    import subprocess
    import sys

    arguments = [sys.executable, "-W", "ignore", *shlex.split(command)[1:], "--cfg", "job"]
    done = subprocess.run(arguments, cwd=solo_learn, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert ("family: " in done.stdout) == ("main_pretrain" in command)
    assert ("reference_images: 512" in done.stdout) == ("+invariance=monitor" in command)
