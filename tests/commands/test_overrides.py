"""What is a name or a path stays as it was typed, from the shell to the command."""

import os
import random
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from solo_invariance.cli import COMMANDS
from solo_invariance.config.composed import as_dict, as_object, compose_command, schema_of
from solo_invariance.config.kinds import command_behind, kinds_of, members_of
from solo_invariance.config.overrides import as_typed, hydra_arguments, quoted, split_items
from solo_invariance.config.report import ReportConfig
from solo_invariance.errors import UserError


def _composed(command: str, *arguments: str) -> Any:
    return as_object(compose_command(command, arguments), schema_of(command))


_NUMBERS = ("2024_06_01", "3.10", "1e5", "1e3", "1_000", "007", "0x10", "inf", "nan", "1.", "-1", "+2", "0", "12:30")
_WORDS = ("true", "yes", "no", "None", "none", "NULL", "~x", "@x", "a:b", "é日本", "a#b", "50%", "$x", "a=b", "a=b=c")


@pytest.mark.parametrize("name", [*_NUMBERS, *_WORDS])
def test_names_and_paths_that_look_like_something_else(name: str) -> None:
    settings = _composed(
        "measure", f"out={name}", f"backbone.label={name}", f"backbone.layer=[{name},x]", f"data={{path: {name}}}"
    )
    assert (settings.out, settings.backbone.label, settings.data.path) == (name, name, name)
    assert settings.backbone.layer == [name, "x"]
    assert _composed("report", f"runs=[{name},b]").runs == [name, "b"]
    assert _composed("pretrain", f"checkpoint.dir={name}").checkpoint.dir == name
    settings = _composed("fuse", f"members=[{name},{{checkpoint: {name}, label: {name}}}]", f"measured=[{name}]")
    assert settings.members == [name, {"checkpoint": name, "label": name}]
    assert settings.measured == [name]
    settings = _composed("transfer", f"tasks=[{{name: table, label: {name}}}]", f"task.options.columns=[{name}]")
    assert settings.tasks == [{"name": "table", "label": name}]
    assert settings.task.options == {"columns": [name]}
    assert _composed("families", f"show=[{name},[a,{name}]]").show == [name, ["a", name]]


def test_what_is_a_number_stays_one() -> None:
    settings = _composed("measure", "k=1e3", "num_images=1_000", "target_se=1e-3", "backbone.kwargs.width=0.50")
    assert (settings.k, settings.num_images, settings.target_se) == (1000, 1000, 0.001)
    assert settings.backbone.kwargs == {"width": 0.5}
    options = _composed("transfer", "task.options={columns: [1], points: true, shape: 1e5}").task.options
    assert options == {"columns": ["1"], "points": True, "shape": 1e5}
    family = _composed("families", "show={name: 3.10, operations: [{solarize: {p: 3.10}}]}").show
    assert family["operations"] == [{"solarize": {"p": 3.1}}]


def test_a_layer_that_is_a_number_is_a_name() -> None:
    assert _composed("measure", "backbone.layer=0").backbone.layer == "0"


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        (["-m", "out=3.10,2024_06_01", "seed=0,1"], ["--multirun", "out='3.10','2024_06_01'", "seed=0,1"]),
        (["--multirun", "out=choice(1e5,a)"], ["--multirun", "out=choice('1e5','a')"]),
        (["-m", "k=range(1,4)"], ["--multirun", "k=range(1,4)"]),
        (["hydra.mode=MULTIRUN", "out=a,b"], ["hydra.mode=MULTIRUN", "out='a','b'"]),
        (["-m", "transforms=[hue],[blur,hue]"], ["--multirun", "transforms=['hue'],['blur','hue']"]),
        (["-m", "backbone.label='a,b',c"], ["--multirun", "backbone.label='a,b','c'"]),
        (["-m", r"backbone.label=a\,b"], ["--multirun", "backbone.label='a,b'"]),
        (["out=a,b"], ["out='a,b'"]),
        (["hydra.run.dir=3.10"], ["hydra.run.dir='3.10'"]),
        (["hydra/launcher=submitit_local"], ["hydra/launcher=submitit_local"]),
        (["k=1", "--config-dir", "a=b", "-c", "job", "out=1"], ["--cfg=job", "--config-dir=a=b", "k=1", "out='1'"]),
        (["out=a,b", "--mult", "seed=1"], ["--multirun", "out='a','b'", "seed=1"]),
        (["~data.name"], ["~data.name"]),
        (["backbone.kwargs.width=2"], ["++backbone.kwargs.width=2"]),
        (["+backbone.kwargs={width: 2, file: a=b}"], ["++backbone.kwargs={width: 2, file: 'a=b'}"]),
        (["protocol=paper", "cache=no"], ["protocol=paper", "cache=no"]),
        (["k=["], ["k='['"]),
        (["against=null"], ["against=null"]),
    ],
)
def test_hydras_notation_still_holds(
    arguments: list[str], written: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert hydra_arguments(arguments, schema_of("measure")) == written


def test_hydras_escapes_quotes_and_interpolations_still_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHOTOS", "my photos")
    for typed, read in {
        r"a\=b\,c\ d": "a=b,c d",
        "'a b'": "a b",
        '"it\'s"': "it's",
        "${oc.env:PHOTOS}/x": "my photos/x",
        "${data.name}": "latent_scenes",
        r"\${x}": "${x}",
        "${x": "${x",
        r"C:\photos\new": r"C:\photos\new",
        "~/photos": str(Path("~/photos").expanduser()),
        "a~b": "a~b",
    }.items():
        assert _composed("measure", "data.name=latent_scenes", f"data.path={typed}").data.path == read
    # What is there as it was typed is meant as it was typed.
    for name in (r"a\=b", "'a b'", "${data.name}", "~x"):
        (tmp_path / name).touch()
        assert _composed("measure", f"data.path={name}").data.path == name
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / "photos").mkdir()
    assert _composed("measure", "data.path=~/photos").data.path == "~/photos"
    (tmp_path / "a,b").mkdir()
    assert _composed("report", "runs=[a,b,c]").runs == ["a,b", "c"]
    assert _composed("report", "runs=['x,y',it's,f(1,2),~/a]").runs == [
        "x,y",
        "it's",
        "f(1,2)",
        os.path.expanduser("~/a"),
    ]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a, b", ["a", "b"]),
        ("'a,b',it's,c", ["'a,b'", "it's", "c"]),
        ("[a,b],{c: d,e: f}", ["[a,b]", "{c: d,e: f}"]),
        ("a(,b", ["a(", "b"]),
        ("a),b", ["a)", "b"]),
        ("(a,]b),c", ["(a,]b)", "c"]),
        (r"a\,b,c", [r"a\,b", "c"]),
        (r"a\ , b", [r"a\ ", "b"]),
        ("a,", ["a", ""]),
        (" ", []),
    ],
)
def test_commas_separate_but_in_quotes_and_brackets(text: str, items: list[str]) -> None:
    assert split_items(text) == items


_ODD = " ()[]{},'\"~é日$=#%\\:;&!*?|<>^`@+-._0a\t"


def _odd_names(count: int) -> Iterator[str]:
    draw = random.Random(7)
    yield from (
        "My Drive",
        "it's",
        "a=b",
        "-dash",
        "trailing ",
        " leading",
        "~",
        "${x}",
        "a${b",
        "[v1]",
        "x\ny",
        "\udcff",
    )
    for _ in range(count):
        name = "".join(draw.choices(_ODD, k=draw.randint(1, 6)))
        if name.strip() and name.strip() not in (".", "..", "~"):
            yield name


def _read(command: str, argument: str) -> Any:
    """What Hydra gives a key, without composing all others."""
    schema = schema_of(command)
    (written,) = hydra_arguments([argument], schema)
    override = OverridesParser.create().parse_override(written)
    config = OmegaConf.structured(schema)
    OmegaConf.update(config, override.key_or_group, override.value(), force_add=True)
    found = OmegaConf.select(config, override.key_or_group)
    return OmegaConf.to_object(found) if OmegaConf.is_config(found) else found


def _accepted(command: str, key: str, typed: str, expected: Any) -> None:
    """The value as the shell hands it over is what it says, or the error shows what to write, which then is."""
    try:
        found = _read(command, f"{key}={typed}")
    except UserError as error:
        message = str(error)
        assert "in quotes, it is text: " in message, message
        (argument,) = shlex.split(message.rpartition("in quotes, it is text: ")[2])
        found = _read(command, argument)
    assert found == expected, (key, typed)


def test_a_sections_name_may_stand_for_the_section() -> None:
    assert _composed("transfer", "probe=knn").probe.name.value == "knn"
    written = _composed("transfer", "probe={name: logistic, solver: official}").probe
    assert (written.name.value, written.solver.value) == ("logistic", "official")


def test_what_is_no_path_is_not_looked_for_among_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "'a b'").touch()
    assert _composed("measure", "backbone.label='a b'").backbone.label == "a b"
    assert _composed("measure", "data.path='a b'").data.path == "'a b'"
    assert _composed("measure", "backbone.label=~/x").backbone.label == "~/x"


def test_the_largest_sides_and_the_most_workers_are_allowed() -> None:
    largest = _composed("measure", "resize=4096", "num_workers=1024")
    assert (largest.resize, largest.num_workers) == (4096, 1024)


def test_numbers_of_keys_that_may_hold_anything_stay_as_they_are() -> None:
    assert isinstance(_composed("measure", "backbone.kwargs.width=1.0").backbone.kwargs["width"], float)
    assert _composed("measure", "k=16.0").k == 16


def test_odd_names_of_files_are_read_as_the_shell_hands_them_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = list(_odd_names(300))
    for name in names:
        Path(name).mkdir(exist_ok=True)
        path = str(tmp_path / name)
        _accepted("measure", "data.path", name, name)
        _accepted("transfer", "backbone.checkpoint", path, path)
        _accepted("transfer", "task.options.targets", path, path)
    for name, other in zip(names, reversed(names), strict=True):
        assert _read("report", f"runs=[{quoted(name)},{quoted(other)}]") == [name, other]
        if name == name.strip() and other == other.strip() and "," not in name + other:
            assert _read("report", f"runs=[{name},{other}]") == [name, other]
            assert _read("fuse", f"members=[{name},{other}]") == [name, other]


def test_what_a_message_says_to_type_is_read_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("fused.ckpt", "null", "3.10", "$HOME/`x`!", *_odd_names(300)):
        (typed,) = shlex.split(as_typed("out", name))  # as a shell does
        assert _read("measure", typed) == name


def test_odd_names_of_what_is_not_there_yet_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in _odd_names(300):
        escapes = "\\" in name or (name.strip()[:1] in "'\"" and name.strip()[:1] == name.strip()[-1:])
        if not escapes and "${" not in name and not name.startswith("~"):
            _accepted("measure", "backbone.label", name, name)
        assert _read("measure", f"out={quoted(name)}") == name


def _text_keys(schema: type[Any], prefix: str = "") -> Iterator[str]:
    for name, kind in members_of(schema).items():
        kinds = kinds_of(kind)
        if any(one is str or getattr(one, "__origin__", None) is str for one in kinds):
            yield f"{prefix}{name}"
        for one in kinds:
            if members_of(one):
                yield from _text_keys(one, f"{prefix}{name}.")


def test_no_key_takes_an_empty_text(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tried = []
    for command in COMMANDS:
        for key in _text_keys(schema_of(command)):
            if key.startswith("tasks."):
                continue
            for value in ("", " "):
                with pytest.raises(UserError, match=f"^{key} is empty"):
                    hydra_arguments([f"{key}={value}"], schema_of(command))
                tried.append(key)
    assert {"data.path", "reference.path", "task.path", "task.options.targets", "out", "backbone.label"} <= {*tried}
    for command, argument, key in (
        ("report", "runs=[a,]", "runs"),
        ("report", "runs=[a,'']", "runs"),
        ("fuse", "members=[a.ckpt,]", "members"),
        ("fuse", "members=[{checkpoint: ''}]", "members"),
        ("transfer", "tasks=[{name: folder, path: ''}]", "task.path"),
        ("transfer", "tasks=[{name: shape, label: ' '}]", "task.label"),
        ("measure", "hydra.run.dir=", "hydra.run.dir"),
    ):
        code, _, err = cli(command, argument, *(["backbone.name=random:resnet10"] if command == "transfer" else []))
        assert (code, len(err.splitlines())) == (2, 1)
        assert key in err, err
        assert "is empty" in err, err
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_a_list_is_no_empty_text_in_python_either() -> None:
    with pytest.raises(UserError, match=r"^runs is empty"):
        ReportConfig(runs=["a", ""])


_SHAPES = (
    "word",
    "3",
    "null",
    "[]",
    "{}",
    "[[[]]]",
    "{a: {b: [c]}}",
    "true",
    "[",
    "'",
    "???",
    "nan",
    "99999999999999999999",
)


def _all_keys(schema: type[Any], prefix: str = "") -> Iterator[str]:
    for name, kind in members_of(schema).items():
        yield f"{prefix}{name}"
        for one in kinds_of(kind):
            if members_of(one):
                yield from _all_keys(one, f"{prefix}{name}.")


@pytest.mark.parametrize("command", COMMANDS)
def test_keys_of_wrong_shape_are_one_line(command: str, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    module = importlib.import_module(f"solo_invariance.commands.{command_behind(command)}")
    monkeypatch.setattr(module, "run", lambda config: as_object(config, module.Config))
    keys = [*_all_keys(schema_of(command)), "hydra", "hydra.run", "hydra/launcher", "hydra.verbose", "nokey", "+data"]
    draw = random.Random(command)
    for key in draw.sample(keys, min(20, len(keys))):
        value = draw.choice(_SHAPES)
        code, _, err = cli(command, f"{key}={value}")
        assert code in (0, 2), (key, value)
        assert len(err.splitlines()) == (1 if code else 0), (key, value, err)


@pytest.mark.parametrize(
    ("command", "argument", "message"),
    [
        ("report", "runs=word", "runs=word: expected a list, 'runs=[word]'"),
        ("measure", "hydra=1", "hydra=1: is a section, set its keys, such as hydra.defaults=..."),
        ("measure", "data=word", "data=word: is a section, set its keys, such as data.path=..., data.name=..."),
        (
            "measure",
            "backbone.kwargs=3",
            "backbone.kwargs=3: expected keys and values, 'backbone.kwargs={name: value}'",
        ),
        ("measure", "out=null", """out=null: expected text; in quotes, it is text: "out='null'\""""),
        ("measure", "hydra/launcher=3", "hydra/launcher=3: Hydra cannot use this"),
        ("measure", "hydra/launcher=[null]", "hydra/launcher=[null]: Hydra cannot use this"),
        ("measure", "hydra.verbose=3", "hydra.verbose=3: Hydra cannot use this"),
        ("measure", "data = photos", "'data = photos': expected key=value"),
        ("measure", "--k=3", "--k=3: there is no such flag; keys are set without dashes"),
        ("measure", "-x", "-x: there is no such flag"),
        ("measure", "--cfg=x", "argument --cfg/-c: invalid choice: 'x'"),
        ("measure", "--package", "argument --package/-p: expected one argument; keys are set by key=value"),
        ("measure", "data..path=x", "'data..path=x': expected key=value"),
        ("measure", "k=99999999999999999999", "k=99999999999999999999: expected at most 2147483647"),
        ("measure", "k=2147483648", "k=2147483648: expected at most 2147483647"),
        ("measure", "target_se=nan", "target_se=nan: expected a finite number"),
        ("measure", "é=1", "'\u00e9=1': expected key=value"),
        ("measure", "~~seed", "'~~seed': expected key=value"),
        ("transfer", f"hydra/launcher={'9' * 5000}", "9...9"),
        (
            "measure",
            "target_se=${oc.env:NOPE}",
            "target_se: its interpolation cannot be resolved (Environment var",
        ),
        ("measure", "target_se=${oc.env:}", "target_se: its interpolation cannot be resolved\n"),
        ("measure", "crop_size=${.}", "crop_size: something between ${ and } is no interpolation"),
        ("fuse", "width=${oc.create:[1]}", "width: ${oc.create:[1]} stands for what is no value of this key"),
        ("transfer", "task.options=${seed}", "task.options=0: expected keys and values"),
        ("measure", "backbone.kwargs=${k}", "backbone.kwargs=256: expected keys and values"),
        ("measure", "seed=4294967296", "seed=4294967296: expected a whole number from 0 to 4294967295"),
        ("measure", "data.seed=-1", "data.seed=-1: expected a whole number from 0"),
        ("transfer", "task.seed=4294967296", "task.seed=4294967296: expected a whole number"),
        ("fuse", "seed=-1", "seed=-1: expected a whole number"),
        ("families", "seed=-1", "seed=-1: expected a whole number"),
        ("demo", "seed=-1", "seeds: -1: expected whole numbers from 0"),
        ("demo", "measure_images=1", "study.measure.num_images=1: expected at least 2"),
        ("demo", "families=[ventral]", "a demo's arms are those of its preset"),
        ("measure", "device=meta", "device=meta: holds no numbers"),
        ("measure", "device=tpu", "device=tpu: not available here"),
        ("fuse", "members=[{name: resnet18}]", "name=resnet18 has no weights of its own"),
        ("fuse", "members=[{crop_size: 0, name: a}]", "members: crop_size=0: expected at least 1"),
    ],
)
def test_what_is_wrong_is_said_by_the_keys_of_the_command(command: str, argument: str, message: str, cli) -> None:
    code, _, err = cli(command, argument)
    assert code == 2
    assert message in err
    assert command != "fuse" or "backbone." not in err


def test_a_configuration_read_from_yaml_and_plain_data_agree(tmp_path: Path) -> None:
    config = compose_command("measure", ["out=3.10", "data.path=a b"])
    assert (as_dict(config)["out"], as_dict(config)["data"]["path"]) == ("3.10", "a b")
