"""The list of planted faults fits the source, and what plants them can tell good tests from bad ones."""

import json
import subprocess
from pathlib import Path

import pytest

from mutants.__main__ import try_out
from mutants.faults import Fault, StaleList, check, read_faults

ROOT = Path(__file__).parents[2]
_TESTS = ("tests/test_area.py",)
_CAUGHT = Fault("solo_invariance/area.py", "a * b", "a + b", _TESTS)
_SURVIVES = Fault("solo_invariance/area.py", "a * b", "b * a", _TESTS)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in {
        "solo_invariance/__init__.py": "",
        "solo_invariance/area.py": "def area(a, b):\n    return a * b\n",
        "tests/test_area.py": "from solo_invariance.area import area\n\ndef test_area():\n    assert area(2, 3) == 6\n",
    }.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "tree", check=True)
    return tmp_path / "tree"


def test_the_list_fits_the_source() -> None:
    faults = read_faults()
    check(faults, ROOT)
    assert len(faults) >= 100


def test_what_no_longer_stands_in_the_source_is_named(tree: Path) -> None:
    gone = Fault("solo_invariance/area.py", "a - b", "b - a", _TESTS)
    with pytest.raises(StaleList, match=r"area\.py: a - b -> b - a: 0 places"):
        check([_CAUGHT, gone], tree)


def test_a_file_that_is_listed_twice_is_named(tmp_path: Path) -> None:
    """Of which reading YAML would keep the last alone."""
    entry = (
        "solo_invariance/area.py:\n  tests: [tests/test_area.py]\n  faults:\n    - {was: 'a * b', becomes: 'a + b'}\n"
    )
    (tmp_path / "areas.yaml").write_text(entry)
    assert read_faults(tmp_path) == [_CAUGHT]
    (tmp_path / "areas.yaml").write_text(entry + entry.replace("a + b", "b * a"))
    with pytest.raises(StaleList, match=r"areas\.yaml: solo_invariance/area\.py: is there twice"):
        read_faults(tmp_path)


def test_faults_are_caught_or_survive_and_are_not_tried_twice(tree: Path, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "score.json"
    found = try_out([_CAUGHT, _SURVIVES], tree, out, jobs=1)
    assert found == {_CAUGHT: "caught", _SURVIVES: "survived"}
    score = json.loads(out.read_text())
    assert (score["caught"], score["faults"], score["survivors"]) == (1, 2, [_SURVIVES.name])
    assert (tree / "solo_invariance" / "area.py").read_text().endswith("return a * b\n")
    monkeypatch.setattr("mutants.trials._start", lambda *_: pytest.fail("was tried before"))
    assert try_out([_CAUGHT, _SURVIVES], tree, out, jobs=1) == found


def test_tests_that_fail_without_a_fault_prove_nothing(tree: Path, tmp_path: Path) -> None:
    (tree / "solo_invariance" / "area.py").write_text("def area(a, b):\n    return 0 * a * b\n")
    with pytest.raises(RuntimeError, match="fails without any fault"):
        try_out([_CAUGHT], tree, tmp_path / "score.json", jobs=1)
