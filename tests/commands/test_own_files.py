"""Configuration files of users' own."""

from pathlib import Path

import pytest

from solo_invariance.cli import main
from solo_invariance.config.own_files import check_yaml
from solo_invariance.errors import UserError

_LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "seed: 1\n",
        "a: &x [1, 2]\nb: *x\n",
        "a: !!str 1\n",
        "<<: {a: 1}\n",
        "d: 2001-01-01\n",
        "null\n",
    ],
)
def test_plain_files_pass(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    check_yaml(file)


@pytest.mark.parametrize(("times", "fits"), [(240, True), (250, False)])
def test_an_alias_counts_as_what_it_names(tmp_path: Path, times: int, fits: bool) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"own: 1\na: &a [{'x,' * 400}]\nb: [{'*a,' * times}]\n")  # times 401 values
    if fits:
        check_yaml(file)
    else:
        with pytest.raises(UserError, match="stands for more than 100000 values"):
            check_yaml(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_LAUGHS, "stands for more than 100000 values"),
        ("x\n" * 3 + "a: [", "not YAML"),
        ("a: {b: [1}\n", "not YAML .*line 1, column"),
        ("- 1\n- 2\n", "holds a list, expected keys"),
        ("word\n", "holds a single value"),
        ("a: 1\n---\nb: 2\n", r"several documents \(line 2"),
        (
            "a: !!python/object/apply:os.system ['touch canary']\n",
            "line 1: !!python/object/apply:os.system: only plain",
        ),
        ("a: !mine 1\n", "!mine: only plain"),
        ("a: &a [*a]\n", r"\*a stands for what it is in"),
        (f"a: {'[' * 60}{']' * 60}\n", "nested more than 50 deep"),
        ("a: '\x01'\n", "not YAML"),
        ("a: *nobody\n", r"\*nobody stands for nothing"),
        ("# @package\na: 1\n", "line 1: Expected header format"),
        ("? [a]\n: 1\n", "not YAML .found a list or a mapping in the place of a key, line 1"),
        ("a: 1\na: 2\n", "not YAML .*duplicate key.* line 2"),
    ],
)
def test_a_command_refuses_what_is_not_plain_in_one_line(
    tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "config" / "group" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    code = main(["doctor", "+group=mine", "--config-dir=config"])
    assert code == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith(f"solo-invariance: error: {file}: ")
    with pytest.raises(UserError, match=said):
        _raise(line)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config", "group", "mine.yaml"]


def test_a_key_that_is_unknown_is_said_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "mine.yaml").write_text("# @package _global_\nsede: 1\n")
    assert main(["families", "+group=mine", "--config-dir=."]) == 2
    said = "solo-invariance: error: group/mine.yaml: unknown key 'sede' for families; did you mean 'seed'?\n"
    assert capsys.readouterr().err == said


def test_a_folder_of_the_name_of_a_key_is_said_to_be_in_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    assert main(["families", "out=sheet.png", "--config-dir=."]) == 2
    assert "error: out: --config-dir has a folder out, which Hydra takes for configurations" in capsys.readouterr().err


def test_a_file_in_place_of_a_commands_own_builds_on_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_text("show: [identity]\n")
    assert _code("families", "--config-name=mine", "--config-dir=.") == 2
    assert "begins with `defaults: [families, _self_]`" in capsys.readouterr().err
    file.write_text("defaults: [families, _self_]\nshow: [identity]\n")
    assert main(["families", "--config-name=mine", "--config-dir=."]) == 0
    assert "identity" in capsys.readouterr().out


def test_a_file_that_is_among_its_own_defaults_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("defaults: [mine]\n")
    assert _code("families", "--config-name=mine", "--config-dir=.") == 2
    said = capsys.readouterr().err
    assert "--config-name=mine" in said
    assert said.endswith("Hydra cannot use this, which is nested too deeply or names itself\n")


def test_other_bytes_and_endless_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes("a: é\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"mine\.yaml: not YAML \(it is not UTF-8 text\)"):
        check_yaml(file)


def _code(*arguments: str) -> int:
    """Return how a command ends, whether Hydra comes back from it or not."""
    try:
        return main(arguments)
    except SystemExit as error:
        return int(error.code or 0)


def _raise(line: str) -> None:
    raise UserError(line)
