"""What is typed that cannot be meant: found before Hydra composes anything, and said in one line.

Imports nothing heavy.
"""

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import is_dataclass
from typing import Any, get_origin, is_typeddict

from solo_invariance.config.backbone import CHECKPOINTS, MODELS
from solo_invariance.config.kinds import SHORT_FOR, is_open, kinds_of, members_of, schema_of
from solo_invariance.config.older import OLDER_OF_DEMO
from solo_invariance.config.reference import COMMANDS, Key, keys_of
from solo_invariance.errors import UserError, did_you_mean

_KEY = re.compile(r"(?P<sign>\+{0,2}|~)(?P<key>[\w$-]+(?:\.[\w$-]+)*)=(?P<value>.*)", re.DOTALL | re.ASCII)
_IN_QUOTES = re.compile(r"[^\w./=:+,@%-]")  # what zsh or bash read otherwise
_FOLDERS = ("data.path", "data.train_path", "task.path", "runs")  # where a bare word goes that nothing else is known of
_WATCH = re.compile(r"invariance\.(monitor|transfer)\.")
_CONFIGURATIONS = re.compile(r"[\w/-]+|\[[\w/, -]*\]")  # a name, or a list of names
_MOST = 3


def require_meant(command: str, overrides: Sequence[str], only_ours: bool = True) -> None:
    """Refuse words without a key, keys that a command does not have, and what keys cannot have together.

    Args:
        command: ``measure``, ``pretrain``, ...
        overrides: As they are typed, without flags.
        only_ours: Whether no files of the user's own bring further groups of configurations.

    Raises:
        UserError: In one line, with what was probably meant.

    Example:
        >>> require_meant("measure", ["photos"])
        Traceback (most recent call last):
        solo_invariance.errors.UserError: 'photos': expected key=value; did you mean data.path=photos?
    """
    words = [one for one in overrides if "=" not in one.lstrip("=") and not one.startswith("~")]
    if words:
        raise UserError(_words_without_keys(command, overrides, words))
    typed = [match.group("sign", "key", "value") for match in map(_KEY.fullmatch, overrides) if match]
    watches = [value for sign, key, value in typed if (sign, key) == ("+", "invariance")]
    if command == "pretrain" and len(watches) > 1:
        names = ",".join(name for value in watches for name in _names_in(value))
        raise UserError(f"+invariance: is there {len(watches)} times; take '+invariance=[{names}]'")
    for sign, key, value in typed:
        if sign != "~" and key.partition(".")[0] != "hydra":
            _require_key(command, sign, key, value, {one: said for _, one, said in typed}, only_ours)
    if command == "transfer":
        _require_one_way_to_name_tasks({key: value for _, key, value in typed})


def require_no_dashes(command: str, arguments: Sequence[str]) -> None:
    """Refuse keys that are typed as flags: ``--k 16``, ``--num-images=100``.

    Raises:
        UserError: With how they are typed.
    """
    names = {key.name: key for key in keys_of(command)}
    for place, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        name = flag.lstrip("-").replace("-", "_")
        if flag.startswith("--") and name in names:
            following = arguments[place + 1] if place + 1 < len(arguments) else "VALUE"
            meant = _with_value(names[name], value if equals else following)
            raise UserError(f"{argument}: there is no such flag; keys are set without dashes, as in {meant}")


def unknown_key(command: str, key: str) -> str:
    """Return what to say of a key that a command does not have: whose it is, or what was meant.

    Example:
        >>> unknown_key("measure", "members")
        "unknown key 'members' for measure; members is a key of fuse"
        >>> unknown_key("measure", "checkpoint")
        "unknown key 'checkpoint' for measure; did you mean 'backbone.checkpoint'?"
    """
    said = f"unknown key {key!r} for {command}"
    last = key.rpartition(".")[2]
    ending = [
        name for name in _names(command) if _one(name.rpartition(".")[2]) == _one(last) and _unplussed(name) != key
    ]
    theirs = [
        other for other in COMMANDS if other not in (command, *SHORT_FOR) and key in map(_unplussed, _names(other))
    ]
    if theirs and ("." in key or not any(name.rpartition(".")[2] == last for name in ending)):
        listed = " and ".join(filter(None, (", ".join(theirs[:-1]), theirs[-1])))
        said += f"; {key} is a key of {listed}"
    if ending:
        return f"{said}; did you mean {' or '.join(map(repr, ending[:_MOST]))}?"
    return said if theirs else f"{said}{_close(key, last, command)}"


def _one(word: str) -> str:
    """Return a word without its plural: seed is meant by seeds, and the other way round."""
    return word.removesuffix("s")


def override_of(command: str, word: str, within: str = "") -> str | None:
    """Return the override that somebody means who types a word without a key; None where nothing tells.

    Args:
        command: Of which.
        word: A name, or a path.
        within: What the key begins with: a section, with its dot.

    Example:
        >>> override_of("measure", "timm:resnet50"), override_of("fuse", "a.ckpt")
        ('backbone.name=timm:resnet50', "'members=[a.ckpt]'")
    """
    keys = {key.name: key for key in keys_of(command) if key.name.startswith(within)}
    if os.path.isfile(os.path.join(word, "config.json")):
        found = _first(keys, ("backbone.checkpoint", "members"))
    elif os.path.lexists(word) and not word.lower().endswith(CHECKPOINTS):
        found = _folder(keys)
    elif word.lower().endswith(CHECKPOINTS):
        found = _first(keys, ("backbone.checkpoint", "members"))
    elif word.startswith(MODELS):
        found = _first(keys, ("backbone.name", "members"))
    else:
        found = _that_chooses(keys, word) or (_first(keys, ("backbone.name",)) if within else None) or _folder(keys)
    if found is None:
        return None
    prefixed = f"invariance/{word}" if found.name == "augmentations" and word not in found.choices else word
    return _with_value(found, prefixed)


def _with_value(key: Key | None, value: str, name: str = "") -> str:
    """Return a key with a value, as it is typed in bash or zsh: in quotes, where these would read it otherwise."""
    lists = key is not None and (key.kind.startswith("list") or key.kind == "name or list of names")
    listed = f"[{value}]" if lists and not value.startswith("[") and value != "all" else value
    override = f"{key.name if key else name}={listed}"
    return f"'{override}'" if _IN_QUOTES.search(override) and "'" not in override else override


def _words_without_keys(command: str, overrides: Sequence[str], words: list[str]) -> str:
    shown = " ".join(repr(word) for word in words)
    meant = [one for one in _meant(command, overrides) if one]
    hint = f"; did you mean {' '.join(dict.fromkeys(meant))}?" if meant else ""
    return f"{shown}: expected key=value{hint}"


def _meant(command: str, overrides: Sequence[str]) -> Iterator[str | None]:
    """Yield what words without keys mean: names of keys with the word behind them, or values whose key is known."""
    keys = {key.name: key for key in keys_of(command)}
    checkpoints = list[str]()
    before = ""  # the key of the value that comes
    for word in overrides:
        head, colon, tail = word.partition(":")
        if word in ("=", ""):
            continue
        if "=" in word.lstrip("="):
            before = word.removesuffix("=") if word.endswith("=") else ""
        elif before:
            yield _with_value(keys.get(before), word.lstrip("="), before)
            before = ""
        elif word in keys:
            before = word
        elif word == "help":
            yield "--help"
        elif colon and head in keys:
            yield _with_value(keys[head], tail)
        elif word.startswith("="):
            continue
        elif command == "fuse" and word.lower().endswith(CHECKPOINTS):
            checkpoints.append(word)
        else:
            yield override_of(command, word)
    if checkpoints:
        yield f"'members=[{','.join(checkpoints)}]'"
    if before in keys:
        yield override_of(command, before) if os.path.lexists(before) else _with_value(keys[before], "VALUE")


def _require_key(command: str, sign: str, key: str, value: str, typed: dict[str, str], only_ours: bool) -> None:
    if key == "augmentations" and value.startswith(("[", "{", "null")):
        raise UserError(
            "augmentations: choose a configuration, augmentations=invariance/NAME; a family written out goes to "
            "invariance.family={...} with augmentations=invariance/family"
        )
    choosing = {one.name: one for one in keys_of(command) if one.kind == "configuration"}
    if f"+{key}" in choosing and sign != "+" and value in choosing[f"+{key}"].choices:
        raise UserError(f"{key}={value}: needs a plus, +{key}={value}")
    chosen = choosing.get(f"{sign}{key}")
    if chosen is not None:
        for name in _names_in(value) if only_ours else ():
            _require_configuration(chosen, name)
        return
    watch = _WATCH.match(key)
    if watch and ("invariance" not in typed or watch[1] not in _names_in(typed["invariance"], watch[1])):
        raise UserError(f"{key}: is set with +invariance={watch[1]}, which brings it; add that")
    if not is_known(schema_of(command), key):
        if only_ours:
            raise UserError(unknown_key(command, key))
        return
    kind = _kind(schema_of(command), key)
    if is_dataclass(kind) and not hasattr(kind, "named_by") and re.fullmatch(r"[^{}$\[\]]+", value):
        meant = None if value == "null" else override_of(command, value, f"{key}.")
        if meant is not None:
            shown = ", ".join(f"{key}.{name}=..." for name in [*members_of(kind)][:_MOST])
            raise UserError(f"{key}={value}: is a section, set its keys, such as {shown}; did you mean {meant}?")


def _names_in(value: str, otherwise: str = "") -> list[str]:
    """Return the names of configurations that a value chooses; of one that is written out, what it is taken for."""
    if not _CONFIGURATIONS.fullmatch(value):
        return [otherwise] if otherwise else []
    return re.findall(r"[\w/-]+", value)


def _require_configuration(key: Key, value: str) -> None:
    if value in key.choices:
        return
    name = _unplussed(key.name)
    close = did_you_mean(value, key.choices) or did_you_mean(f"invariance/{value}", key.choices)
    raise UserError(
        f"{key.name}={value}: there is no configuration {name}/{value}{close or ';'} known: {', '.join(key.choices)}"
    )


def _require_one_way_to_name_tasks(typed: dict[str, str]) -> None:
    tasks, name = typed.get("tasks", "null"), typed.get("task.name", "null")
    if tasks != "null" and name != "null":
        listed = tasks if tasks.startswith("[") else f"[{tasks}]"
        both = listed if name in re.split(r"[\[\], ]+", listed) else f"[{name},{listed[1:]}"
        raise UserError(f"task.name={name} tasks={tasks}: one or the other names the tasks; take 'tasks={both}'")


def is_known(schema: type[Any], key: str) -> bool:
    """Whether a configuration has a key, or may have it: in mappings and lists that hold anything.

    Example:
        >>> from solo_invariance.config.measure import MeasureConfig
        >>> [is_known(MeasureConfig, key) for key in ("data.path", "backbone.kwargs.width", "data.pth")]
        [True, True, False]
    """
    kinds: tuple[Any, ...] = (schema,)
    for step in key.split("."):
        if any(_holds_anything(kind) for kind in kinds):
            return True
        found = next((members_of(kind)[step] for kind in kinds if step in members_of(kind)), None)
        if found is None:
            return False
        kinds = kinds_of(found)
    return True


def _holds_anything(kind: Any) -> bool:
    return kind is Any or is_open(kind) or is_typeddict(kind) or get_origin(kind) is list


def _kind(schema: type[Any], key: str) -> Any:
    kind: Any = schema
    for step in key.split("."):
        kind = members_of(kind).get(step)
    return kind


def _names(command: str) -> list[str]:
    """Return the names of a command's keys, and those of its sections."""
    names = [key.name for key in keys_of(command)]
    sections = {name[:place] for name in names for place, letter in enumerate(name) if letter == "."}
    older = OLDER_OF_DEMO if command == "demo" else ()
    return [*names, *sorted(sections), *older]


def _unplussed(name: str) -> str:
    return name.removeprefix("+")


def _close(key: str, last: str, command: str) -> str:
    names = _names(command)
    if close := did_you_mean(key, names):
        return close
    by_last = {name.rpartition(".")[2]: name for name in reversed(names)}
    close_last = difflib.get_close_matches(last, by_last, n=1)
    return f"; did you mean {by_last[close_last[0]]!r}?" if close_last else ""


def _first(keys: dict[str, Key], names: Iterable[str]) -> Key | None:
    return next((keys[name] for name in names if name in keys), None)


def _folder(keys: dict[str, Key]) -> Key | None:
    within = [name for name in keys if name.endswith(".path") or name == "path"]
    return _first(keys, (*_FOLDERS, *within))


def _that_chooses(keys: dict[str, Key], word: str) -> Key | None:
    if "augmentations" in keys and f"invariance/{word}" in keys["augmentations"].choices:
        return keys["augmentations"]
    return next((key for key in keys.values() if word in key.choices and word not in ("true", "false")), None)
