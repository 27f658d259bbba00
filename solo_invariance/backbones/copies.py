"""Copies of networks that are in use elsewhere."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def copy_of(network: Network) -> Network:
    """Return a copy of a network; of a compiled one, of what was compiled.

    Args:
        network: May keep what its last forward pass made. That is part of a graph, which is not copied.
    """
    network = getattr(network, "_orig_mod", network)
    kept = (tensor for module in network.modules() for tensor in _tensors_in(vars(module)))
    return copy.deepcopy(network, {id(tensor): tensor.detach() for tensor in kept if not tensor.is_leaf})


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors_in(one)
