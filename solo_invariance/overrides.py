"""Hydra's overrides, made kind to the names that solo-learn gives its checkpoints and to open mappings."""

import dataclasses
import re
from collections.abc import Collection, Iterator
from typing import Any, get_origin, get_type_hints

_PLAIN = r"[^\[\]{}(),'\"\s]*"
_ENTRY_OPERATIONS = re.compile(r"augmentations\.\d+\.operations\.")
_WITH_EQUALS = re.compile(f"{_PLAIN}={_PLAIN}")


def quote_equals(override: str) -> str:
    """Quote the parts of an override's value that hold an equals sign, which Hydra's grammar wants quoted.

    Solo-learn calls its checkpoints ``NAME-VERSION-ep=E.ckpt``. Flags, and values that are quoted already, stay.

    Example:
        >>> quote_equals("members=[a-ep=9.ckpt,b.ckpt]")
        "members=['a-ep=9.ckpt',b.ckpt]"
    """
    key, separator, value = override.partition("=")
    if not separator or key.startswith("-") or "'" in value or '"' in value:
        return override
    return f"{key}={_WITH_EQUALS.sub(lambda match: repr(match.group()), value)}"


def open_mappings(schema: type[Any], prefix: str = "") -> Iterator[str]:
    """Yield the keys of a configuration's mappings that may have any keys, such as ``backbone.kwargs``."""
    for name, kind in get_type_hints(schema).items():
        if get_origin(kind) is dict:
            yield f"{prefix}{name}"
        elif dataclasses.is_dataclass(kind) and isinstance(kind, type):
            yield from open_mappings(kind, f"{prefix}{name}.")


def allow_new_keys(override: str, mappings: Collection[str]) -> str:
    """Let an override set a key that an open mapping does not have yet, for which Hydra wants a plus.

    Example:
        >>> allow_new_keys("backbone.kwargs.width=2", ["backbone.kwargs"])
        '++backbone.kwargs.width=2'
    """
    key = override.partition("=")[0]
    is_open = any(key.startswith(f"{mapping}.") for mapping in mappings) or _ENTRY_OPERATIONS.match(key)
    return f"++{override}" if is_open else override
