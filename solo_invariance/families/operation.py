"""What every step of a family has in common: numbers with units, and drawing apart from applying."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]
"""What one operation drew for a batch: named CPU tensors whose first dimension is the batch's."""


class Operation(ABC):
    """One step of a family; subclasses are frozen dataclasses whose fields are its numbers.

    Parameters are drawn on the CPU whatever the images' device, so that the draws are the same everywhere and their
    values are known without asking the accelerator.
    """

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw the parameters for a batch of ``n`` images from a CPU generator."""


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw float32 numbers uniformly from [low, high]."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def check_probability(operation: Operation) -> None:
    """Raise ValueError unless the operation's ``p`` lies in [0, 1]."""
    p = operation.p  # type: ignore[attr-defined]
    if not 0 <= p <= 1:
        raise ValueError(f"{type(operation).__name__}.p is a probability in [0, 1], got {p}")


def check_range(
    operation: Operation, field: str, low: float | None = None, high: float | None = None, low_open: bool = False
) -> None:
    """Raise ValueError unless ``field`` is an ordered pair (from, to) inside the bounds."""
    first, last = getattr(operation, field)
    name = f"{type(operation).__name__}.{field}"
    if first > last:
        raise ValueError(f"{name} is a range (from, to), got ({first}, {last}): upside down")
    if low is not None and (first < low or (low_open and first == low)):
        raise ValueError(f"{name} starts {'above' if low_open else 'at'} {low:g} or later, got ({first}, {last})")
    if high is not None and last > high:
        raise ValueError(f"{name} ends at {high:g} or earlier, got ({first}, {last})")
