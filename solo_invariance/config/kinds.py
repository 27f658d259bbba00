"""What kinds of values keys have, finer than OmegaConf's types: paths, names, and what lists and mappings hold."""

import dataclasses
from collections.abc import Iterator
from dataclasses import InitVar
from importlib import import_module
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, TypedDict, Union, get_args, get_origin, get_type_hints, is_typeddict

FilePath = Annotated[str, "path"]
"""A path: as it was typed, ``~/`` is the home directory."""

Names = Annotated[Any, str | list[str] | None]
"""A name, such as ``all``, or a list of names."""

FamilyChoice = Annotated[Any, str | list[str | list[str] | dict[str, Any]] | dict[str, Any] | None]
"""A family's name, one that is written out, or a list of these."""


def chosen_from(*names: str, plugins: str | None = None) -> dict[str, Any]:
    """Return the metadata of a field whose values, or the items of whose values, are chosen from names.

    Args:
        names: Those that are always there.
        plugins: The kind of plugins whose names are there, too: ``transforms``, ``tasks``, ...
    """
    return {"choices": names, "plugins": plugins}


def in_words(words: str) -> dict[str, Any]:
    """Return the metadata of a field whose kind is not told by its type: what its values are."""
    return {"words": words}


class TaskOptions(TypedDict, total=False):
    """Options of tasks that are names or paths; others are whatever they look like."""

    targets: FilePath | dict[str, FilePath]
    columns: str | list[str]
    image: str
    split: str
    kind: str
    joints: list[str]


class MonitorKeys(TypedDict, total=False):
    """Keys of ``invariance.monitor`` that are names or paths."""

    transforms: str | list[str]
    data: FilePath | None


SHORT_FOR = {"demo": ("study", ("study=demo", "out=runs/demo"))}
"""Commands that are others with some keys set."""


def command_behind(command: str) -> str:
    """Return the command whose keys a command has: its own, or that of which it is short."""
    return SHORT_FOR[command][0] if command in SHORT_FOR else command


def schema_of(command: str) -> type[Any]:
    """Return the dataclass of a command's configuration."""
    command = command_behind(command)
    schema: type[Any] = getattr(import_module(f"solo_invariance.config.{command}"), f"{command.capitalize()}Config")
    return schema


def kinds_of(kind: Any) -> tuple[Any, ...]:
    """Return the kinds of which a value may be one.

    Example:
        >>> kinds_of(str | list[str] | None)
        (<class 'str'>, list[str], <class 'NoneType'>)
    """
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return tuple(one for member in get_args(kind) for one in kinds_of(member))
    if origin is Annotated and kind.__origin__ is not str:
        return kinds_of(kind.__metadata__[0])
    return (kind,)


def members_of(kind: Any) -> dict[str, Any]:
    """Return the kinds of a section's keys, empty for what has none that are known."""
    if not dataclasses.is_dataclass(kind) and not is_typeddict(kind):
        return {}
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: hint for name, hint in hints.items() if get_origin(hint) is not ClassVar and not isinstance(hint, InitVar)
    }


def kind_of(key: str, schema: type[Any]) -> Any:
    """Return the kind of a key's values; ``Any`` where the schema does not say it.

    Example:
        >>> from solo_invariance.config.measure import MeasureConfig
        >>> kind_of("k", MeasureConfig)
        <class 'int'>
    """
    kind: Any = schema
    for step in key.split("."):
        kind = next((found for one in kinds_of(kind) if (found := _member(one, step)) is not None), Any)
    return kind


def _member(kind: Any, step: str) -> Any:
    if get_origin(kind) is list:
        return get_args(kind)[0] if step.isdigit() else None
    return members_of(kind).get(step)


def is_open(kind: Any) -> bool:
    """Whether values are mappings that may have any keys, such as ``backbone.kwargs``."""
    return dict in (get_origin(kind), get_origin(getattr(kind, "__origin__", None)))


def is_list(kind: Any) -> bool:
    """Whether values are lists, or none, and no single thing."""
    return {get_origin(one) or one for one in kinds_of(kind)} - {NoneType} == {list}


def is_path(kind: Any) -> bool:
    """Whether values are paths."""
    return kind == FilePath


def is_text(kind: Any) -> bool:
    """Whether values are text, as it was typed."""
    return kind is str or is_path(kind)


def is_section(kind: Any) -> bool:
    """Whether values are mappings of keys that are known."""
    return bool(members_of(kind))


def may_be_none(kind: Any) -> bool:
    """Whether ``null`` is a value."""
    return NoneType in kinds_of(kind) or kind is Any


def open_mappings(schema: type[Any], prefix: str = "") -> Iterator[str]:
    """Yield the keys of a configuration's mappings that may have any keys."""
    for name, kind in members_of(schema).items():
        if is_open(kind):
            yield f"{prefix}{name}"
        elif dataclasses.is_dataclass(kind):
            yield from open_mappings(kind, f"{prefix}{name}.")  # type: ignore[arg-type]
