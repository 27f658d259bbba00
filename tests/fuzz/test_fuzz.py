"""The campaign covers what it should, can tell clean commands from others, and finds nothing."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fuzz import keys
from fuzz.campaign import case_of
from fuzz.case import Case
from fuzz.files import SPECIMENS, file_cases
from fuzz.odd_values import CANARY, MARKUP
from fuzz.running import HUNG, Outcome, Place
from fuzz.verdict import complaints, faults, look, page_faults
from solo_invariance.config.report import ReportConfig

ROOT = Path(__file__).parents[2]
_CASE = Case("keys", "a case", ("measure", "k=x"), ("k",))
_GOOD = "solo-invariance: error: k=x: expected a whole number\n"
_RESULT = {"schema": 1, "kind": "invariance", "label": "a", "protocol": "clean", "num_images": 2, "k": 2, "seed": 0}
_RESULT |= {"backbone": {"name": "b", "num_features": 2}, "config": {}, "versions": {}, "timings": {}}


def _fuzz(*arguments: str, prelude: str = "") -> subprocess.CompletedProcess[str]:
    script = f"import sys\n{prelude}\nfrom fuzz.__main__ import main\nsys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)


@pytest.mark.slow
def test_a_hundred_cases_are_clean(tmp_path: Path) -> None:
    ran = _fuzz("--cases", "100", "--seed", "0", "--real", "100", "--out", str(tmp_path))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["tried"], summary["clean"], summary["failing"]) == (100, 100, [])


_PLANTED = """
import json, jinja2, torch
from solo_invariance.backbones.files import checkpoint
from solo_invariance.results import document, files, reading
from solo_invariance.report import page
# Without its except for what is no JSON.
files.read_json = document.read_json = reading.read_json = lambda path: json.loads(path.read_text())
# A page that escapes nothing, for checkpoints that may run code.
page.Environment = lambda autoescape, **settings: jinja2.Environment(**settings)
checkpoint.stand_ins_for = lambda path: []
load = torch.load
torch.load = lambda path, weights_only, **settings: load(path, weights_only=False, **settings)
"""


@pytest.mark.slow
def test_planted_faults_are_found_with_what_repeats_them(tmp_path: Path) -> None:
    read = "measured/invariance.json for report: (truncate|markup)|run.ckpt.*: a payload"
    options = ("--cases", "3000", "--seed", "0", "--real", "0", "--only", read, "--out", str(tmp_path))
    ran = _fuzz(*options, prelude=_PLANTED)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    failing = json.loads((tmp_path / "summary.json").read_text())["failing"]
    kinds = {fault.split(": ")[0] for tried in failing for fault in tried["faults"]}
    assert {"exit code 1", "not escaped in the page", "a payload was executed"} <= kinds
    # A reproduction has the damaged file, and is clean with the program as it is.
    broken = next(tried for tried in failing if tried["faults"][0].startswith("exit code 1: json.decoder"))
    environment = {**os.environ, "CLI": f"{sys.executable} -m solo_invariance.cli", "PYTHONPATH": str(ROOT)}
    script = shlex.split(broken["reproduction"])
    again = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=200)
    assert (again.returncode, len(complaints(again.stderr))) == (2, 1), again.stderr
    # What was tried is not tried again.
    kept = _fuzz(*options, prelude="from fuzz.campaign import Campaign\nCampaign.try_case = None")
    assert (kept.returncode, kept.stdout.splitlines()[-1]) == (1, ran.stdout.splitlines()[-1]), kept.stderr


def test_the_same_seed_has_the_same_cases() -> None:
    numbers = range(0, 40_000, 97)
    assert [case_of(5, number) for number in numbers] == [case_of(5, number) for number in numbers]
    assert [case_of(5, number) for number in numbers] != [case_of(6, number) for number in numbers]


def test_a_campaign_has_every_key_value_and_file_once_before_any_twice() -> None:
    deck = keys.key_cases()
    dealt = [case for number in range(2 * len(deck) + 20) if (case := case_of(0, number)).kind == "keys"]
    assert sorted(case.title for case in dealt[: len(deck)]) == sorted(case.title for case in deck)
    assert {specimen.path for specimen in SPECIMENS} <= {case.title.split(" for ")[0] for case in file_cases()}


def test_a_new_key_is_covered_without_an_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Section:
        deep: int = 1

    @dataclass
    class Config(ReportConfig):
        section: Section = field(default_factory=Section)

    monkeypatch.setattr(keys, "schema_of", lambda command: Config)
    monkeypatch.setitem(Config.__annotations__, "section", Section)
    assert {"runs", "out", "section", "section.deep"} <= set(keys.keys_of("report"))


def test_keys_of_every_command_are_those_that_are_documented() -> None:
    assert {"k", "data.path", "backbone.views.family", "metrics", "out"} <= set(keys.keys_of("measure"))
    assert {"optimizer.lr", "augmentations", "invariance.monitor"} <= set(keys.keys_of("pretrain"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.make()
    return place


@pytest.mark.parametrize(
    ("code", "err", "fault"),
    [
        (2, _GOOD, None),
        (0, "", None),
        (1, "Traceback (most recent call last):\nValueError: x\n", "exit code 1: ValueError: x"),
        (-11, "", "exit code -11"),
        (HUNG, "", "does not end"),
        (2, f"a warning\n{_GOOD}", "2 lines on stderr"),
        (2, "error: k\n", "no error line of ours"),
        (2, "solo-invariance: error: k: no viable alternative at input 'x'\n", "jargon (no viable alternative)"),
        (2, "solo-invariance: error: something is wrong\n", "names none of k"),
        (2, f"solo-invariance: error: k={'9' * 5000}\n", "a line of 5002 characters"),
        (2, "solo-invariance: error: k=\x1b[31m\n", "unprintable"),
        (0, "file.py:3: UserWarning: x\n", "exit code 0 with this on stderr"),
    ],
)
def test_endings_are_told_apart(place: Place, code: int, err: str, fault: str | None) -> None:
    found = faults(_CASE, Outcome(code, "", err, 0.0), place, look(place))
    assert (found == []) if fault is None else found[0].startswith(fault)


def test_what_a_refusal_leaves_behind_is_found(place: Place) -> None:
    before = look(place)
    (place.work / "out").mkdir()
    found = faults(_CASE, Outcome(2, "", _GOOD, 0.0), place, before)
    assert found == ["litter: 1 files and folders, a/b/cwd/out"]


def test_a_payload_that_was_executed_is_found(place: Place) -> None:
    before = look(place)
    (place.work / CANARY).touch()
    assert any(fault.startswith("a payload was executed") for fault in _faults(place, before))


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("invariance.json", json.dumps(_RESULT), None),
        ("invariance.json", json.dumps({**_RESULT, "k": "two"}), "not what our reader accepts"),
        ("other.json", '{"a": NaN}', "holds NaN"),
        (".lock", "", "litter"),
        ("x.html", f"<p>{MARKUP}</p>", "not escaped"),
    ],
)
def test_results_are_read(place: Place, name: str, content: str, fault: str | None) -> None:
    before = look(place)
    (place.work / name).write_text(content)
    found = _faults(place, before)
    assert (found == []) if fault is None else fault in found[0]


def test_what_makes_no_sense_must_be_said(place: Place) -> None:
    case = Case("files", "weights of NaN", (), senseless=True)
    assert faults(case, Outcome(0, "similarity 1.0", "", 0.0), place, look(place))
    assert not faults(case, Outcome(0, "features are constant", "", 0.0), place, look(place))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("<p title='&quot;&gt;&lt;x-canary&gt;'>&lt;script&gt;canary()</p>", 0),
        ("<a href='a%20b.json'>a</a><style>p { color: red }</style>", 0),
        ("<x-canary>", 1),
        ("<p onclick='a()'>", 1),
        ("<a href=' JavaScript:canary()'>a</a>", 1),
        ("<style>canary</style>", 1),
        ("<!-- canary -->", 1),
    ],
)
def test_text_that_was_not_escaped_is_found(text: str, count: int) -> None:
    assert len(page_faults(text)) == count


def _faults(place: Place, before: dict[str, tuple[int, int, int]]) -> list[str]:
    return faults(Case("keys", "a case", ()), Outcome(0, "", "", 0.0), place, before)
