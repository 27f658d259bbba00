"""What people are told of a key is what holds of it."""

import shlex
import subprocess
import sys
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from importlib.resources import files
from typing import Any

import pytest
import yaml

from solo_invariance.config.composed import as_object, compose_command
from solo_invariance.config.kinds import command_behind, schema_of
from solo_invariance.config.measure import EMBEDDED_VIEWS, VIEW_SETS
from solo_invariance.config.pretrain import DATASETS, METHODS
from solo_invariance.config.reference import COMMANDS, Key, commands_with, keys_of
from solo_invariance.config.transfer import METRICS, ProbeName
from solo_invariance.config.watch_transfer import WatchTransferConfig
from solo_invariance.data.latent_scenes import dataset as scenes
from solo_invariance.data.view_sets import VIEW_SET_NAMES
from solo_invariance.hosts.lightning.monitor_settings import MonitorSettings
from solo_invariance.plugins import discover
from solo_invariance.transfer.kinds import KINDS

ALL = [(command, key) for command in COMMANDS for key in keys_of(command)]


def _key(command: str, name: str) -> Key:
    return next(key for key in keys_of(command) if key.name == name)


def _defaults(settings: Any, prefix: str = "") -> dict[str, Any]:
    """The values of a schema that was left alone, by dotted key."""
    found: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            found |= _defaults(value, f"{prefix}{field.name}.")
        else:
            found[f"{prefix}{field.name}"] = value.name if isinstance(value, Enum) else value
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_of_the_schema_is_there_once(command: str) -> None:
    names = [key.name for key in keys_of(command)]
    assert len(set(names)) == len(names)
    beside = {f"invariance.monitor.{field.name}" for field in fields(MonitorSettings)} | {"+recipe", "+invariance"}
    beside |= set(_defaults(WatchTransferConfig(), "invariance.transfer."))
    if command != "pretrain":
        beside = {"study"} if command in ("demo", "study") else set()
    assert set(names) == (set(_defaults(schema_of(command)())) | beside) - {"invariance.monitor", "invariance.transfer"}


@pytest.mark.parametrize(("command", "key"), ALL, ids=[f"{command}-{key.name}" for command, key in ALL])
def test_every_key_is_explained(command: str, key: Key) -> None:
    assert len(key.meaning) > 5
    assert key.group
    assert key.kind != "value"
    assert "#" not in key.meaning
    if key.name.rpartition(".")[2] in ("size", "resize", "crop_size", "small_crop_size", "canvas_size"):
        assert "pixels" in key.meaning


@pytest.mark.parametrize("command", COMMANDS)
def test_the_yaml_files_defaults_are_the_schemas(command: str) -> None:
    text = (files("solo_invariance.config") / f"{command_behind(command)}.yaml").read_text()
    documented = yaml.safe_load(text)
    del documented["defaults"], documented["hydra"]
    defaults = _defaults(schema_of(command)())

    def compare(content: dict[str, Any], prefix: str) -> None:
        for name, value in content.items():
            if isinstance(value, dict) and f"{prefix}{name}" not in defaults:
                compare(value, f"{prefix}{name}.")
            else:
                kind = type(defaults[f"{prefix}{name}"])
                assert (kind(value) if kind is float else value) == defaults[f"{prefix}{name}"], f"{prefix}{name}"

    compare(documented, "")


def test_what_a_watch_brings_are_the_defaults_of_the_code_that_reads_it() -> None:
    folder = files("solo_invariance.plugin_configs.invariance")
    brought = yaml.safe_load((folder / "transfer.yaml").read_text())["transfer"]
    assert brought == asdict(WatchTransferConfig())


def test_defaults_are_as_they_are_typed() -> None:
    assert _key("measure", "metrics").default == "[similarity,distance]"
    assert _key("measure", "twin").default == "false"
    assert _key("transfer", "task.name").default == "shape"
    assert _key("fuse", "task.name").default == "null"
    assert _key("pretrain", "augmentations").default == "invariance/default"
    assert _key("pretrain", "name").default == "${method}-${data.dataset}"
    assert _key("pretrain", "invariance.monitor.transforms").default.startswith("[rotation,resized_crop,")


@pytest.mark.parametrize(
    ("command", "name", "choices"),
    [
        ("measure", "protocol", ("paper", "clean")),
        ("measure", "budget", ("full", "adaptive")),
        ("measure", "precision", ("fp32", "bf16", "fp16")),
        ("measure", "compile", ("true", "false")),
        ("measure", "k", ()),
        ("transfer", "probe.solver", ("official", "converged")),
        ("pretrain", "+recipe", ("mocov2", "mocov2_imagenet", "mocov2_imagenet_x3")),
        ("pretrain", "+invariance", ("monitor", "transfer")),
        ("pretrain", "invariance.transfer.probe", ("auto", *ProbeName.__members__)),
        ("fuse", "reference.name", ("latent_scenes",)),
    ],
)
def test_choices_are_the_schemas(command: str, name: str, choices: tuple[str, ...]) -> None:
    assert _key(command, name).choices == choices


def test_choices_are_those_of_the_code_that_reads_them() -> None:
    assert set(EMBEDDED_VIEWS) == set(scenes.VIEW_SETS)
    assert VIEW_SETS == VIEW_SET_NAMES
    assert set(METRICS) == {name for kind in KINDS.values() for name in kind.metrics}
    methods = pytest.importorskip("solo_invariance.hosts.embedded.methods")
    assert set(METHODS) == set(methods.METHODS)
    assert set(_key("pretrain", "optimizer.name").choices) == set(methods._OPTIMIZERS)
    assert "custom" in DATASETS


@pytest.mark.parametrize(
    ("command", "name", "kind", "others"),
    [
        ("measure", "transforms", "transforms", {"all"}),
        ("measure", "metrics", "metrics", {"all"}),
        ("measure", "backbone.views.family", "families", set()),
        ("transfer", "task.name", "tasks", set()),
        ("transfer", "tasks", "tasks", set()),
        ("fuse", "mode", "fusions", {"auto"}),
        ("fuse", "task.name", "tasks", set()),
        ("families", "show", "families", set()),
        ("study", "study.tasks", "tasks", set()),
        ("study", "study.measure.transforms", "transforms", {"all"}),
        ("pretrain", "invariance.family", "families", set()),
        ("pretrain", "invariance.monitor.transforms", "transforms", {"all"}),
        ("pretrain", "invariance.transfer.tasks", "tasks", set()),
    ],
)
def test_choices_are_the_installed_plugins(command: str, name: str, kind: Any, others: set[str]) -> None:
    assert set(_key(command, name).choices) == {plugin.name for plugin in discover(kind)} | others


def test_families_are_configurations_too() -> None:
    ours = {plugin.name for plugin in discover("families") if plugin.distribution.startswith("solo-invariance")}
    expected = {f"invariance/{name}" for name in ours | {"family", "views", "byol", "multicrop"}}
    assert set(_key("pretrain", "augmentations").choices) == expected


@pytest.mark.parametrize(
    ("command", "name", "kind"),
    [
        ("measure", "k", "whole number"),
        ("measure", "target_se", "number"),
        ("measure", "backbone.checkpoint", "path"),
        ("measure", "transforms", "name or list of names"),
        ("measure", "backbone.mean", "list of three numbers"),
        ("measure", "compile", "true or false"),
        ("fuse", "members", "list of paths or keys and values"),
        ("fuse", "mode", "name"),
        ("transfer", "task.options", "keys and values"),
        ("report", "runs", "list of paths"),
    ],
)
def test_kinds_are_in_words(command: str, name: str, kind: str) -> None:
    assert _key(command, name).kind == kind


def test_a_section_that_commands_share_is_explained_once() -> None:
    assert _key("transfer", "backbone.layer").meaning == _key("measure", "backbone.layer").meaning
    assert _key("fuse", "task.path").meaning == _key("transfer", "task.path").meaning
    assert _key("fuse", "task.name").meaning != _key("transfer", "task.name").meaning
    assert _key("pretrain", "data.num_images").meaning  # of another section of the same name
    groups = [key.group for key in keys_of("fuse") if key.name.startswith("task.")]
    assert len(set(groups)) == 1


def test_keys_of_a_group_stand_together() -> None:
    for command in COMMANDS:
        groups = [key.group for key in keys_of(command)]
        assert len(set(groups)) == sum(one != before for one, before in zip(groups, [None, *groups], strict=False))


def test_commands_that_have_a_key() -> None:
    assert commands_with("members") == ["fuse"]
    assert commands_with("k") == ["measure", "shape", "advise"]
    assert commands_with("nonsense") == []


EXAMPLES = [example for command in COMMANDS.values() for example in command.examples]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_valid(example: str) -> None:
    words = shlex.split(example)
    assert words[0] == "solo-invariance"
    as_object(compose_command(words[1], words[2:]), schema_of(words[1]))


def test_it_imports_nothing_heavy() -> None:
    script = (
        "import sys; from solo_invariance.config.reference import COMMANDS, keys_of; [keys_of(c) for c in COMMANDS];"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'hydra', 'numpy', 'omegaconf', 'rich'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
