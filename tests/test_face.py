"""What ``import solo_invariance`` offers."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import solo_invariance
from solo_invariance.cli import COMMANDS

VERBS = ("advise", "export", "families", "fuse", "measure", "report", "transfer")


def _python(script: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_it_imports_nothing_heavy() -> None:
    script = "import sys, solo_invariance; print(sorted(m for m in sys.modules if m.split('.')[0] in {heavy}))"
    heavy = {"torch", "numpy", "lightning", "hydra", "omegaconf", "timm", "pydantic", "solo_invariance"}
    assert _python(script.format(heavy=heavy)) == "['solo_invariance']"


def test_every_command_is_a_function_of_its_name() -> None:
    for command in COMMANDS:
        function = getattr(solo_invariance, command)
        assert callable(function)
        assert inspect.signature(function).parameters or command in ("doctor", "families")


@pytest.mark.parametrize("name", solo_invariance.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    assert name in dir(solo_invariance)
    assert inspect.getdoc(getattr(solo_invariance, name))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'mesure'"):
        _ = solo_invariance.mesure  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_called_by_its_package_whoever_imported_what_before(verb: str) -> None:
    package = import_module(f"solo_invariance.{verb}")
    assert getattr(solo_invariance, verb) is package
    module, name = package.__dict__["__verb__"].split(":")
    function = getattr(import_module(module), name)
    assert inspect.signature(package) == inspect.signature(function)


def test_a_verb_is_there_after_its_package_was_imported() -> None:
    script = """
import solo_invariance.families.paper
from solo_invariance import families
print(families()["ventral"] is solo_invariance.families.paper.ventral, families.ventral.name)
"""
    assert _python(script) == "True ventral"


def test_a_verb_is_there_before_its_package_was_imported() -> None:
    assert _python("from solo_invariance import families; print(len(families()))") == "9"
