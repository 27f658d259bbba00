"""Keys that were called otherwise before: what they were called is still read."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from solo_invariance.errors import UserError

_OLDER = {"backbone.key": "backbone.weights"}
"""From what a key was called to what it is called."""

OLDER_OF_DEMO = {
    "seed": "seeds",
    "max_epochs": "study.pretrain.max_epochs",
    "num_images": "study.pretrain.data.num_images",
    "k": "study.measure.k",
    "measure_images": "study.measure.num_images",
    "train_images": "study.task.num_train",
    "test_images": "study.task.num_test",
}
"""The demo's own keys, from before it was a study."""

_OVERRIDE = re.compile(r"(\+{0,2}|~)([\w.]+)(=.*|$)", re.DOTALL)


def in_todays_words(arguments: Iterable[str]) -> list[str]:
    """Return a command's arguments with the names that keys have today.

    Args:
        arguments: As they are typed: overrides, and whatever else.

    Raises:
        UserError: One key is set by both of its names.

    Example:
        >>> in_todays_words(["backbone.key=student", "k=8"])
        ['backbone.weights=student', 'k=8']
    """
    parsed = [(argument, _OVERRIDE.fullmatch(argument)) for argument in arguments]
    _require_one_name({found[2] for _, found in parsed if found})
    return [
        f"{found[1]}{_OLDER[found[2]]}{found[3]}" if found and found[2] in _OLDER else argument
        for argument, found in parsed
    ]


def demo_in_todays_words(arguments: Iterable[str]) -> list[str]:
    """Return the demo's arguments in the keys of a study.

    Raises:
        UserError: One has no such key.

    Example:
        >>> demo_in_todays_words(["max_epochs=4", "seed=3", "out=runs/small"])
        ['study.pretrain.max_epochs=4', 'seeds=[3]', 'out=runs/small']
    """
    return [_in_keys_of_a_study(argument, _OVERRIDE.fullmatch(argument)) for argument in arguments]


def _in_keys_of_a_study(argument: str, found: re.Match[str] | None) -> str:
    if found is None:
        return argument
    if found[2] == "families":
        raise UserError(
            f"{argument}: a demo's arms are those of its preset, study.arms; for others, write your own preset, "
            f"DIR/study/mine.yaml, and run solo-invariance study --config-dir DIR study=mine"
        )
    if found[2] == "seed" and found[3].startswith("="):
        return f"seeds=[{found[3][1:]}]"
    return f"{found[1]}{OLDER_OF_DEMO.get(found[2], found[2])}{found[3]}"


def with_todays_names(section: str, values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a section of a configuration with the names that its keys have today.

    Args:
        section: Such as ``backbone``.
        values: By the section's keys.

    Raises:
        UserError: One key is set by both of its names.

    Example:
        >>> with_todays_names("backbone", {"key": "student"})
        {'weights': 'student'}
    """
    _require_one_name({f"{section}.{name}" for name in values})
    names = {name: _OLDER.get(f"{section}.{name}", f"{section}.{name}").removeprefix(f"{section}.") for name in values}
    return {names[name]: value for name, value in values.items()}


def _require_one_name(names: set[str]) -> None:
    for older, today in _OLDER.items():
        if {older, today} <= names:
            raise UserError(f"{older} and {today}: the first is an older name of the second; set {today} alone")
