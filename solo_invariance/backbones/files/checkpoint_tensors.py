"""The tensors of a checkpoint by their names, through whatever mappings and modules hold them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from solo_invariance.backbones.files.checkpoint import shape_of
from solo_invariance.backbones.files.stand_ins import entries_of

_DEEPEST = 100
_WRAPPERS = {
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_fpw_module",
    "_checkpoint_wrapped_module",
    "_modules",
    "_parameters",
    "_buffers",
}
"""What torch.compile, FSDP, activation checkpointing and pickled modules put into names, at any depth."""


@dataclass(frozen=True)
class Held:
    """A tensor of a file.

    Args:
        value: The tensor.
        holder: The name of the mapping, or of the whole module, that it is an entry of; empty for the file itself.
    """

    value: Tensor
    holder: str


def tensors_of(content: Mapping[str, Any]) -> dict[str, Held]:
    """Return a checkpoint's tensors by their dotted names, without what wrappers add to these.

    Args:
        content: What the file holds.
    """
    return dict(_tensors_of(content))


def names_of(content: Mapping[str, Any]) -> list[str]:
    """Return the names of a checkpoint's tensors, through mappings of any depth.

    Args:
        content: What the file holds.
    """
    return [name for name, _ in _tensors_of(content)]


def shapes_of(content: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a checkpoint's tensors by their dotted names.

    Args:
        content: What the file holds.
    """
    return {name: shape_of(held.value) for name, held in _tensors_of(content)}


def without_wrappers(name: str) -> str:
    """Return a dotted name without what wrappers add to it.

    Example:
        >>> without_wrappers("module._orig_mod.conv1.weight")
        'module.conv1.weight'
    """
    return ".".join(part for part in name.split(".") if part and part not in _WRAPPERS)


def state_dicts_of(tensors: Mapping[str, Held]) -> dict[str, dict[str, Tensor]]:
    """Return each mapping of a file that holds tensors: its name, and the tensors by their names in it.

    Args:
        tensors: Of the file, by their dotted names.
    """
    found: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, held in tensors.items():
        found[held.holder][name.removeprefix(f"{held.holder}.")] = held.value
    return found


def _tensors_of(content: Mapping[str, Any]) -> Iterator[tuple[str, Held]]:
    seen: set[int] = set()
    # A name, that of what holds it, whether this is a module (which has one state dict, however it is nested), itself.
    pending: list[tuple[str, str, bool, object, int]] = [("", "", False, content, 0)]
    while pending:
        name, holder, in_module, value, depth = pending.pop()
        if isinstance(value, Tensor):
            yield without_wrappers(name), Held(value, without_wrappers(holder))
        elif depth < _DEEPEST and id(value) not in seen:
            # A mapping may hold itself, and one that is there by two names has the same weights by both.
            seen.add(id(value))
            entries = list(entries_of(value))
            here = holder if in_module else name
            in_module = in_module or "_modules" in dict(entries)
            pending += reversed([(f"{name}.{part}", here, in_module, entry, depth + 1) for part, entry in entries])
