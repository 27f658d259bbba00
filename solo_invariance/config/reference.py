"""What each command does and which keys it has, as people read it: from the commented YAML and the schema.

Imports nothing heavy: ``--help``, completion and the documentation are made of it.
"""

import re
from collections.abc import Iterator
from dataclasses import Field, dataclass, fields, is_dataclass, replace
from enum import Enum, EnumMeta
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.resources import files
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from solo_invariance.config.kinds import (
    SHORT_FOR,
    FamilyChoice,
    MonitorKeys,
    Names,
    command_behind,
    is_open,
    is_path,
    kinds_of,
    members_of,
    schema_of,
)
from solo_invariance.config.watch_transfer import WatchTransferConfig


@dataclass(frozen=True)
class Command:
    """What a command does.

    Args:
        summary: In one line.
        examples: Two, as they are typed in bash or zsh.
    """

    summary: str
    examples: tuple[str, str]


COMMANDS = {
    "demo": Command(
        "the whole story on the embedded data, in minutes: study=demo",
        (
            "solo-invariance demo",
            "solo-invariance demo study.pretrain.max_epochs=4 out=runs/small",
        ),
    ),
    "doctor": Command(
        "what is installed, what was found, and what to do about what is missing",
        (
            "solo-invariance doctor",
            "solo-invariance doctor 'need=[solo-learn,lightly]'",
        ),
    ),
    "families": Command(
        "the augmentation families that can be named, and their operations",
        (
            "solo-invariance families 'show=[ventral,dorsal]'",
            "solo-invariance families 'show=[[ventral,corruption],dorsal]' out=sheet.png",
        ),
    ),
    "pretrain": Command(
        "pre-train with the embedded host (with solo-learn: main_pretrain.py augmentations=invariance/NAME)",
        (
            "solo-invariance pretrain augmentations=invariance/ventral name=ventral",
            "solo-invariance pretrain data.dataset=custom data.train_path=photos name=mine",
        ),
    ),
    "measure": Command(
        "what a backbone became invariant to",
        (
            "solo-invariance measure backbone.name=random:resnet10w025 data.name=latent_scenes "
            "backbone.crop_size=64 data.num_images=400 num_images=32 k=4",
            "solo-invariance measure backbone.checkpoint=ventral.ckpt data.path=photos 'transforms=[rotation,hue]' "
            "budget=adaptive out=runs/ventral",
        ),
    ),
    "fuse": Command(
        "make one backbone of several",
        (
            "solo-invariance fuse 'members=[ventral.ckpt,dorsal.ckpt]' out=fused.ckpt",
            "solo-invariance fuse 'measured=[runs]'",
        ),
    ),
    "shape": Command(
        "change what a trained backbone ignores, and see what it did",
        (
            "solo-invariance shape backbone.checkpoint=ventral.ckpt 'transforms=[hue]' reference.path=photos",
            "solo-invariance shape backbone.name=timm:resnet18 mode=dial 'transforms=[rotation]' "
            "'options={strength: 0.5}' reference.path=photos out=shaped/dial.ckpt",
        ),
    ),
    "transfer": Command(
        "how well a frozen backbone does on a task",
        (
            "solo-invariance transfer backbone.name=random:resnet18 task.name=shape",
            "solo-invariance transfer backbone.checkpoint=ventral.ckpt 'tasks=[shape,hue]'",
        ),
    ),
    "advise": Command(
        "which family a labelled task wants to be pre-trained with",
        (
            "solo-invariance advise task.name=folder task.path=photos",
            "solo-invariance advise task.name=hue 'families=[default,ventral,dorsal]' 'runs=[runs/study]' out=runs/hue",
        ),
    ),
    "export": Command(
        "write a backbone for others",
        (
            "solo-invariance export backbone.checkpoint=ventral.ckpt 'measured=[runs/ventral]' out=exported/ventral",
            "solo-invariance export backbone.checkpoint=fused.ckpt out=fused.pt2",
        ),
    ),
    "study": Command(
        "whether the paper's findings hold, with seeds, controls and verdicts",
        (
            "solo-invariance study study=rendered dry_run=true",
            "solo-invariance study study=rendered 'seeds=[0,1,2]' devices=2 out=runs/rendered",
        ),
    ),
    "report": Command(
        "one HTML page of all results",
        (
            "solo-invariance report",
            "solo-invariance report 'runs=[runs/ventral,runs/dorsal]' out=page.html",
        ),
    ),
}
"""The commands, in the order in which people come by them."""

FLAGS = {
    "-h, --help [KEY]": "this text; with a key, a section or a part of one, all about it",
    "-c, --cfg job": "print the configuration that would be used, and stop",
    "-m, --multirun": "a run for each of several values: k=4,16",
    "-q, --quiet": "print nothing but where results are",
    "--json": "print one JSON document of the results, and nothing else",
    "--config-dir DIR": "where YAML files of your own are, with keys as above",
    "--config-name NAME": "the one to begin with: it has `defaults: [COMMAND, _self_]`",
    "--info, --hydra-help": "of Hydra, which reads the keys",
}
"""What all commands read besides keys."""

COMPLETION = (
    'Completion by Tab: eval "$(solo-invariance completion bash)" in ~/.bashrc, the same with zsh in ~/.zshrc, or '
    "solo-invariance completion fish | source in ~/.config/fish/config.fish"
)
"""How a shell is told to complete commands, keys and names."""

_GROUP_HEADING = re.compile(r" *## (.+)")
_COMMENT = re.compile(r" *# ?(.*)")
# A key; one that is commented out and has a plus is what a plus adds.
_KEY = re.compile(r"( *)(?:- )?(?:# (?=\+))?(\+?\w+): *(.*)")
_ALSO_IN = ("measure", "transfer")  # which explain the sections that others share with them
_CONFIGURATIONS = {  # the packages of the configurations that keys choose from, and what comes before their names
    "augmentations": ("solo_invariance.plugin_configs.augmentations.invariance", "invariance/"),
    "+invariance": ("solo_invariance.plugin_configs.invariance", ""),
    "+recipe": ("solo_invariance.config", ""),
    "study": ("solo_invariance.config", ""),
}
_WATCHES = ("invariance.monitor", "invariance.transfer")  # what +invariance=NAME brings
_PLURALS = {"text": "names", "keys and values": "keys and values"}


@dataclass(frozen=True)
class Key:
    """A key of a command.

    Args:
        name: Dotted, as it is typed.
        group: The heading that it stands under.
        kind: What its values are: ``path``, ``whole number``, ...
        choices: All that may be named, empty where that is open. Those that are installed, where plugins are named.
        default: As it is typed; ``null`` is none.
        meaning: What it sets, in which unit, and what ``null`` stands for.
    """

    name: str
    group: str
    kind: str
    choices: tuple[str, ...]
    default: str
    meaning: str

    @property
    def is_path(self) -> bool:
        """Whether files complete its values."""
        return "path" in self.kind


class _Line(NamedTuple):
    """What a YAML file says of a key."""

    group: str
    meaning: str
    value: str
    is_configuration: bool


@lru_cache(maxsize=len(COMMANDS))
def keys_of(command: str) -> tuple[Key, ...]:
    """Return all keys of a command, in the order of its YAML file.

    Args:
        command: ``measure``, ``pretrain``, ...

    Raises:
        KeyError: There is no such command.

    Example:
        >>> key = next(key for key in keys_of("measure") if key.name == "protocol")
        >>> key.kind, key.choices, key.default
        ('name', ('paper', 'clean'), 'clean')
    """
    if command not in COMMANDS:
        raise KeyError(command)
    said = _said_of(command)
    places = {name: place for place, name in enumerate(said)}
    keys = [
        _configuration(name, said[name])
        if said[name].is_configuration
        else _key(name, field, kind, default, said[name])
        for name, field, kind, default in _fields(schema_of(command)())
        if name not in _WATCHES
    ]
    known = {key.name for key in keys}
    keys += [_configuration(name, line) for name, line in said.items() if line.is_configuration and name not in known]
    implied = dict(one.split("=", 1) for one in SHORT_FOR[command][1]) if command in SHORT_FOR else {}
    keys = [replace(key, default=implied.get(key.name, key.default)) for key in keys]
    keys.sort(key=lambda key: places[key.name])
    watched = [*_monitor_keys(), *_transfer_keys()] if _WATCHES[0] in said else []
    return (*keys, *watched)


def commands_with(name: str) -> list[str]:
    """Return the commands that have a key.

    Example:
        >>> commands_with("members")
        ['fuse']
    """
    return [command for command in COMMANDS if command not in SHORT_FOR and _has(command, name)]


def _has(command: str, name: str) -> bool:
    return any(key.name == name for key in keys_of(command))


def kind_in_words(kind: Any) -> str:
    """Return what people call a kind of values.

    Example:
        >>> kind_in_words(int | None), kind_in_words(list[str])
        ('whole number', 'list of names')
    """
    if kind == Names:
        return "name or list of names"
    if kind == FamilyChoice:
        return "name, list of names, or a family written out"
    words = [_in_words(one) for one in kinds_of(kind) if one is not NoneType]
    return " or ".join(dict.fromkeys(words)) or "value"


def as_value(value: Any) -> str:
    """Return a value as it is typed.

    Example:
        >>> as_value(["rotation", "hue"]), as_value(None), as_value(True)
        ('[rotation,hue]', 'null', 'true')
    """
    if value is None:
        return "null"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list | tuple):
        return f"[{','.join(map(as_value, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _in_words(kind: Any) -> str:
    if get_origin(kind) is list:
        first, *others = [_in_words(one) for one in kinds_of(get_args(kind)[0])]
        return f"list of {' or '.join([_PLURALS.get(first, f'{first}s'), *others])}"
    if is_path(kind):
        return "path"
    if isinstance(kind, EnumMeta):
        return "name"
    if is_open(kind) or members_of(kind):
        return "keys and values"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(kind, "value")


def _fields(settings: Any, prefix: str = "") -> Iterator[tuple[str, Field[Any], Any, Any]]:
    """Yield name, field, kind and default of each key of a configuration that is no section."""
    hints = get_type_hints(type(settings), include_extras=True)
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            yield from _fields(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field, hints[field.name], value


def _key(name: str, field: Field[Any], kind: Any, default: Any, said: "_Line") -> Key:
    choices = _choices(kind, field)
    words = field.metadata.get("words") or kind_in_words(kind)
    if choices and words == "text":
        words = "name"
    return Key(name, said.group, words, choices, as_value(default), said.meaning)


def _choices(kind: Any, field: Field[Any]) -> tuple[str, ...]:
    for one in kinds_of(kind):
        if isinstance(one, EnumMeta):
            return tuple(one.__members__)
        if one is bool:
            return ("true", "false")
    names, plugins = field.metadata.get("choices", ()), field.metadata.get("plugins")
    return (*names, *_plugins(plugins)) if plugins else tuple(names)


@lru_cache
def _plugins(kind: str) -> tuple[str, ...]:
    """Return the names of the installed plugins of one kind, of which none is imported."""
    return tuple(sorted({one.name for one in entry_points(group=f"solo_invariance.{kind}")}))


def _configuration(name: str, line: _Line) -> Key:
    """Return a key that chooses one of our configurations."""
    package, prefix = _CONFIGURATIONS[name]
    folder = files(package)
    if package == __package__:
        folder = folder / name.removeprefix("+")
    names = sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
    return Key(name, line.group, "configuration", tuple(f"{prefix}{one}" for one in names), line.value, line.meaning)


def _monitor_keys() -> Iterator[Key]:
    """Yield the keys that ``+invariance=monitor`` brings."""
    known = members_of(MonitorKeys)
    for name, line in _said_of_watch("monitor").items():
        section, _, short = name.partition(".")
        if section == "monitor" and short:
            kind = known.get(short, int)
            choices = ("all", *_plugins("transforms")) if short == "transforms" else ()
            default = line.value.replace(", ", ",")
            group = "While it trains, with +invariance=monitor"
            yield Key(f"invariance.{name}", group, kind_in_words(kind), choices, default, line.meaning)


def _transfer_keys() -> Iterator[Key]:
    """Yield the keys that ``+invariance=transfer`` brings."""
    group = "While it trains, with +invariance=transfer"
    said = _said_of_watch("transfer")
    for name, field, kind, default in _fields(WatchTransferConfig()):
        yield _key(f"invariance.transfer.{name}", field, kind, default, said[f"transfer.{name}"]._replace(group=group))


def _said_of_watch(name: str) -> dict[str, _Line]:
    folder = files("solo_invariance.plugin_configs.invariance")
    return _read((folder / f"{name}.yaml").read_text(encoding="utf-8"))


def _said_of(command: str) -> dict[str, _Line]:
    """Return what is said of all keys, in their order; a section that another command explains is explained there."""
    own, said = _lines(command), dict[str, _Line]()
    for name, line in own.items():
        said.setdefault(name, line)
        section = members_of(schema_of(command)).get(name)
        explained = [other for other in _ALSO_IN if members_of(schema_of(other)).get(name) == section]
        for other in explained if is_dataclass(section) else ():
            within = {key: one for key, one in _lines(other).items() if key.startswith(f"{name}.")}
            said |= {key: own.get(key, one._replace(group=line.group)) for key, one in within.items()}
    return said


@lru_cache(maxsize=len(COMMANDS))
def _lines(command: str) -> dict[str, _Line]:
    return _read((files(__package__) / f"{command_behind(command)}.yaml").read_text(encoding="utf-8"))


def _read(text: str) -> dict[str, _Line]:
    """Return what a YAML file's comments say of its keys, by their dotted names.

    A comment is of the key behind it or below it; one with two hashes is the heading of the keys below it.
    """
    found: dict[str, _Line] = {}
    group, above, around = "", list[str](), list[tuple[int, str]]()
    for line in text.splitlines():
        if heading := _GROUP_HEADING.fullmatch(line):
            group, above = heading.group(1), []
        elif key := _KEY.fullmatch(line):
            indent, name, rest = len(key.group(1)), key.group(2), key.group(3)
            around = [one for one in around if one[0] < indent]
            value, _, behind = rest.partition("# ") if rest.startswith("# ") else rest.partition(" # ")
            sections = [section for _, section in around]
            is_configuration = sections == ["defaults"] or name.startswith("+")
            dotted = name if is_configuration else ".".join([*sections, name])
            # A section that is chosen from configurations is explained where it is chosen.
            is_chosen = dotted in found and found[dotted].is_configuration
            if sections[:1] != ["hydra"] and not is_chosen:
                found[dotted] = _Line(group, " ".join([*above, behind]).strip(), value.strip(), is_configuration)
            around.append((indent, name))
            above = []
        elif comment := _COMMENT.fullmatch(line):
            above.append(comment.group(1))
        else:
            above = []
    return found
