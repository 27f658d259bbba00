"""Hydra's overrides, made kind to the names that solo-learn gives its checkpoints and to open mappings."""

import dataclasses
import re
from collections.abc import Collection, Iterator
from typing import Any, get_origin, get_type_hints

_PLAIN = r"[^\[\]{}(),'\"\s]*"
_ENTRY_OPERATIONS = re.compile(r"augmentations\.\d+\.operations\.")
_TO_BE_QUOTED = re.compile(f"{_PLAIN}={_PLAIN}|\\b(?:timm|torchvision|random):{_PLAIN}")


def quote(override: str) -> str:
    """Quote the parts of an override's value that Hydra's grammar wants quoted.

    Solo-learn calls its checkpoints ``NAME-VERSION-ep=E.ckpt``, and lists have no room for a model's ``timm:NAME``.
    Flags, and values that are quoted already, stay.

    Example:
        >>> quote("members=[a-ep=9.ckpt,b.ckpt]")
        "members=['a-ep=9.ckpt',b.ckpt]"
        >>> quote("members=[timm:resnet50,{name:a}]")
        "members=['timm:resnet50',{name:a}]"
    """
    key, separator, value = override.partition("=")
    if not separator or key.startswith("-") or "'" in value or '"' in value:
        return override
    return f"{key}={_TO_BE_QUOTED.sub(lambda match: repr(match.group()), value)}"


def open_mappings(schema: type[Any], prefix: str = "") -> Iterator[str]:
    """Yield the keys of a configuration's mappings that may have any keys, such as ``backbone.kwargs``."""
    for name, kind in get_type_hints(schema).items():
        if get_origin(kind) is dict:
            yield f"{prefix}{name}"
        elif dataclasses.is_dataclass(kind) and isinstance(kind, type):
            yield from open_mappings(kind, f"{prefix}{name}.")


def name_sections(override: str, schema: type[Any]) -> str:
    """Let an override name what a section is about in place of the whole section.

    A section's dataclass says so by ``named_by``, the key that has the name.

    Example:
        >>> from solo_invariance.config.transfer import TransferConfig
        >>> name_sections("probe=knn", TransferConfig)
        'probe.name=knn'
        >>> name_sections("probe={name: logistic, solver: official}", TransferConfig)
        'probe={name: logistic, solver: official}'
    """
    key, separator, value = override.partition("=")
    section = get_type_hints(schema).get(key)
    named_by = getattr(section, "named_by", None)
    return override if named_by is None or not separator or value.startswith("{") else f"{key}.{named_by}={value}"


def allow_new_keys(override: str, mappings: Collection[str]) -> str:
    """Let an override set a key that an open mapping does not have yet, for which Hydra wants a plus.

    Example:
        >>> allow_new_keys("backbone.kwargs.width=2", ["backbone.kwargs"])
        '++backbone.kwargs.width=2'
        >>> allow_new_keys("backbone.kwargs={width: 2}", ["backbone.kwargs"])
        '++backbone.kwargs={width: 2}'
    """
    key = override.partition("=")[0]
    is_open = any(f"{key}.".startswith(f"{mapping}.") for mapping in mappings) or _ENTRY_OPERATIONS.match(key)
    return f"++{override}" if is_open else override
