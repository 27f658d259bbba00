"""``--help``: what a command does, with examples, and every key by group; at once, without loading anything."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from solo_invariance.cli import main
from solo_invariance.config.reference import COMMANDS, FLAGS, keys_of

HEAVY = {"torch", "torchvision", "lightning", "timm", "scipy", "pydantic", "kornia", "PIL"}


def _loaded(*arguments: str) -> tuple[int, str, set[str]]:
    """Run a command in a new interpreter; returns its exit code, its errors and what it has loaded of what is heavy."""
    script = (
        "import sys; from solo_invariance.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print('\\n', code, *{name.split('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    code, *modules = done.stdout.splitlines()[-1].split()
    return int(code), done.stderr, set(modules) & HEAVY


@pytest.fixture
def page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")

    def show(*arguments: str) -> str:
        capsys.readouterr()
        assert main(arguments) == 0
        return capsys.readouterr().out

    return show


def _words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_all_of_a_command_is_explained_in_80_columns(command: str, page) -> None:
    out = page(command, "--help")
    assert "Hydra" not in out.replace("of Hydra, which reads the keys", "")
    assert max(map(len, out.splitlines())) < 80
    title, *_ = out.split("\n\n")
    assert _words(title) == f"solo-invariance {command}: {COMMANDS[command].summary}"
    examples = out[out.index("\nexamples:\n") : out.index("\nflags:\n")]
    for example in COMMANDS[command].examples:
        assert f"\n  {example}\n" in re.sub(r" \\\n +", " ", examples)
    for key in keys_of(command):
        assert f"\n  {key.name}" in out
        assert _words(key.meaning) in _words(out)
        assert f"\n{key.group}\n" in out
        assert f"default:{key.default}]" in "".join(out.split())
        for choice in key.choices[:6]:
            assert choice in out
    for flag in FLAGS:
        assert f"\n  {flag}" in out


def test_ways_to_ask_are_one(page) -> None:
    whole = page("measure", "--help")
    for asked in (
        *(["measure", "-h"], ["measure", "help"], ["help", "measure"], ["--help", "measure"], ["-h", "measure"]),
        *(["measure", "k=4", "--help"], ["measure", "--help", "k=4"], ["measure", "--hel"], ["measure", "-h", "-m"]),
    ):
        assert page(*asked) == whole, asked
    narrow = page("measure", "--help", "k")
    for asked in (["measure", "--help=k"], ["measure", "-h", "k"], ["measure", "help", "k"], ["help", "measure", "k"]):
        assert page(*asked) == narrow, asked
    overview = page()
    assert page("--help") == page("-h") == page("help") == overview
    assert max(map(len, overview.splitlines())) < 80


@pytest.mark.parametrize(
    ("command", "topic", "names"),
    [
        ("measure", "k", {"k"}),
        ("measure", "backbone.crop_size", {"backbone.crop_size"}),
        ("measure", "reference", {f"reference.{name}" for name in ("path", "name", "num_images", "size", "seed")}),
        ("measure", "backbone.views", {"backbone.views.family", "backbone.views.num_views"}),
        ("measure", "crop", {"backbone.crop_size", "backbone.crop_pct", "crop_size"}),
        ("measure", "machine", {"device", "devices", "precision", "compile", "batch_size", "num_workers"}),
        ("measure", "bf16", {"precision"}),
        ("transfer", "knn", {"knn.k", "knn.temperature"}),
        ("pretrain", "recipe", {"+recipe"}),
        ("pretrain", "+recipe", {"+recipe"}),
        ("study", "study.pretrain.max_epochs", {"study.pretrain"}),
        ("demo", "max_epochs", {"study.pretrain"}),
        ("demo", "k", {"study.measure.k"}),
    ],
)
def test_a_word_narrows_it(command: str, topic: str, names: set[str], page) -> None:
    out = page(command, "--help", topic)
    assert set(re.findall(r"^  ([+\w.]+)", out, re.MULTILINE)) == names


def test_all_choices_are_there_in_full_where_a_key_is_asked_for(page) -> None:
    (key,) = (key for key in keys_of("measure") if key.name == "transforms")
    assert "and 13 more: --help transforms" in _words(page("measure", "--help"))
    assert ", ".join(key.choices) in _words(page("measure", "--help", "transforms"))


def test_several_words_are_several_keys(page) -> None:
    out = page("measure", "--help", "seed", "twin")
    assert set(re.findall(r"^  ([+\w.]+)", out, re.MULTILINE)) == {"twin", "seed"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["measure", "--help", "targt_se"], "measure has no key 'targt_se'; did you mean 'target_se'?"),
        (["measure", "--help=nonsense"], "measure has no key 'nonsense'; solo-invariance measure --help lists them"),
        (["measure", "-h", "members"], "it is one of fuse: solo-invariance fuse --help members"),
        (["help", "mesure"], "unknown command 'mesure'; did you mean 'measure'?"),
        (["measure", "--help", "."], "measure has no key '.'"),
        (["completion"], "completion: name one of the shells bash, zsh, fish"),
        (["completion", "bsh"], "completion bsh: name one of the shells bash, zsh, fish; did you mean 'bash'?"),
        (["--multirun", "measure"], "--multirun: comes after the command, solo-invariance measure --multirun"),
        (["measure", "--hepl"], "--hepl: there is no such flag; did you mean '--help'?"),
        (["measure", "--shell-completion", "install=bash"], 'eval "$(solo-invariance completion bash)"'),
        (["measure", "-sc", "query=bash"], 'eval "$(solo-invariance completion bash)"'),
    ],
)
def test_what_nobody_knows_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert message in line


def test_narrow_terminals_have_no_columns(page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "45")
    assert "\n  k\n      parameters of a transform" in page("measure", "--help", "k")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_heavy(command: str) -> None:
    code, _, loaded = _loaded(command, "--help")
    assert (code, loaded) == (0, set())


@pytest.mark.parametrize(
    "arguments",
    [
        ["measure", "tranforms=[hue]"],
        ["measure", "members=[a]"],
        ["measure", "protocol=exact"],
        ["measure", "k=0"],
        ["measure", "transforms=[hue,rotatoin]"],
        ["measure", "metrics=[similarty]"],
        ["measure", "data.name=coil"],
        ["measure"],
        ["measure", "backbone.checkpoint=nowhere.ckpt"],
        ["measure", "backbone.name=random:resnet18", "data.path=nowhere"],
        ["measure", "ck/v.ckpt", "photos"],
        ["transfer", "task.name=shapes"],
        ["transfer", "metric=acuracy"],
        ["transfer", "task.name=shape", "tasks=[hue]"],
        ["fuse"],
        ["fuse", "members=[a.ckpt,b.ckpt]"],
        ["export"],
        ["export", "backbone.checkpoint=a.ckpt"],
        ["export", "backbone.name=random:resnet18", "out=a.onnx"],
        ["export", "backbone.name=random:resnet18", "license=My own"],
        ["fuse", "members=[a.ckpt]", "export=a.onnx"],
        ["families", "show=[ventrl]"],
        ["demo", "families=[ventral]"],
        ["pretrain", "augmentations=invariance/family"],
        ["pretrain", "augmentations=invariance/family", "invariance.family=ventrl"],
        ["pretrain", "data.dataset=custom"],
        ["pretrain", "data.dataset=custom", "data.train_path=nowhere"],
        ["pretrain", "method=bjol"],
        ["pretrain", "optimizer.name=lars"],
        ["report", "runs=runs"],
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_refused_without_loading_anything(arguments: list[str]) -> None:
    code, said, loaded = _loaded(*arguments)
    assert (code, loaded - {"PIL"}) == (2, set())
    assert len(said.splitlines()) == 1


def _in_shell(shell: list[str], line: str, folder: Path) -> list[str]:
    """Return the arguments that a program called solo-invariance gets."""
    program = folder / "bin" / "solo-invariance"
    program.parent.mkdir(exist_ok=True)
    program.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}:/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run([*shell, "-c", line], env=environment, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", [["bash", "--norc"], ["zsh", "-f"]], ids=["bash", "zsh"])
def test_examples_run_as_they_are_written(shell: list[str], tmp_path: Path, page) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"there is no {shell[0]}")
    for command in COMMANDS:
        out = page(command, "--help")
        shown = out[out.index("\nexamples:\n") : out.index("\n\n", out.index("\nexamples:\n"))].splitlines()[2:]
        commands = re.split(r"\n(?=  \S)", "\n".join(shown))
        assert len(commands) == 2
        for typed, example in zip(commands, COMMANDS[command].examples, strict=True):
            assert _in_shell(shell, typed, tmp_path) == shlex.split(example)[1:]
        if lists := re.search(r"Lists go in quotes: (.+)", out):
            assert _in_shell(shell, f"solo-invariance {lists.group(1)}", tmp_path) == [lists.group(1).strip("'")]


_SAY = "import sys; {before}from solo_invariance.commands.alive import say_alive; say_alive('measure')"


def _said(before: str = "", **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _SAY.format(before=before)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr


def test_a_command_says_that_it_is_alive_where_there_is_something_to_wait_for() -> None:
    line = "solo-invariance measure: loading ...\n"
    assert _said() == line
    assert _said(RANK="0") == line
    assert _said(RANK="1") == ""  # the first of torchrun's processes says it
    assert _said(before="sys.modules['torch'] = sys; ") == ""
    for mode in ("quiet", "json"):
        assert _said(SOLO_INVARIANCE_OUTPUT=mode) == ""


def test_it_is_said_before_anything_is_loaded() -> None:
    script = (
        "import sys, types; from solo_invariance import cli\n"
        "def instead(name): print(name, 'torch' in sys.modules, file=sys.stderr); raise KeyboardInterrupt\n"
        "cli.importlib = types.SimpleNamespace(import_module=instead); cli.main(['families', 'show=[identity]'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, second, _ = done.stderr.splitlines()
    assert first == "solo-invariance families: loading ..."
    assert second == "solo_invariance.commands.families False"
