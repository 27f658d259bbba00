"""What a file of weights holds, in a line that is read in a terminal."""

from collections import defaultdict
from collections.abc import Mapping

from torch import Tensor

from solo_invariance.backbones.files.checkpoint import shape_of

_GROUPS = 8
"""How many groups a line has room for."""


def groups_of(tensors: Mapping[str, Tensor]) -> str:
    """Return a file's tensors, grouped by what their names begin with: how many there are, and the first one's shape.

    Args:
        tensors: By their dotted names.

    Example:
        >>> import torch
        >>> groups_of({"net.conv1.weight": torch.zeros(2, 3), "net.conv1.bias": torch.zeros(2), "q": torch.zeros(4)})
        'net.conv1.* 2 (weight 2x3), q 4'
    """
    if not tensors:
        return "no tensors"
    common = _common(list(tensors))
    groups: dict[str, list[str]] = defaultdict(list)
    for name in tensors:
        groups[name[len(common) :].partition(".")[0]].append(name)
    more = f" and {len(groups) - _GROUPS} more groups" if len(groups) > _GROUPS else ""
    return ", ".join(_said(names, tensors) for names in list(groups.values())[:_GROUPS]) + more


def _said(names: list[str], tensors: Mapping[str, Tensor]) -> str:
    if len(names) == 1:
        return f"{names[0]} {_shape(tensors[names[0]])}"
    common = _common(names)
    return f"{common}* {len(names)} ({names[0][len(common) :]} {_shape(tensors[names[0]])})"


def _common(names: list[str]) -> str:
    """Return the parts that all names begin with, each with its dot; never all of one."""
    common: list[str] = []
    for parts in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        common.append(f"{parts[0]}.")
    return "".join(common)


def _shape(value: Tensor) -> str:
    return "x".join(map(str, shape_of(value))) or "a number"
