"""What every step of a family has in common: numbers with units, and drawing apart from applying."""

import dataclasses
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, get_args, get_type_hints

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]
"""What one operation drew for a batch: named CPU tensors whose first dimension is the batch's."""


class Operation(ABC):
    """One step of a family; subclasses are frozen dataclasses whose fields are its numbers.

    Parameters are drawn on the CPU whatever the images' device, so that the draws are the same everywhere and their
    values are known without asking the accelerator.

    A subclass says in ``units_of_numbers`` what its fields are measured in; ``p`` is a probability in all.
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {}
    no_quantities: ClassVar[frozenset[str]] = frozenset()
    """Of what it draws, the names of what is no quantity: an order, a seed."""

    @property
    def name(self) -> str:
        """What configurations call it: the class's name in snake case."""
        return operation_name(type(self))

    @property
    def numbers(self) -> dict[str, Any]:
        """The fields by name, as plain data: ranges are lists."""
        names: list[str] = [field.name for field in dataclasses.fields(self)] if dataclasses.is_dataclass(self) else []
        values = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def units(self) -> dict[str, str]:
        """What the numbers are measured in, such as ``pixels``, by number; only those of which the class says it."""
        known = {"p": "probability", **self.units_of_numbers}
        return {name: known[name] for name in self.numbers if name in known}

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw the parameters for a batch of ``n`` images from a CPU generator."""

    def with_numbers(self, changes: Mapping[str, Any]) -> "Operation":
        """Return the operation with some of its numbers changed.

        Args:
            changes: Plain data by the field's name. Where a range is expected, one number stands for both ends.

        Raises:
            ValueError: There is no such number, or it may not have that value; the message names both.
        """
        if not changes:
            return self
        known = self.numbers
        for field, value in changes.items():
            if field not in known:
                raise ValueError(f"{self.name}.{field}: there is no such number; {self.name} has {', '.join(known)}")
            takes_words = str in get_args(get_type_hints(type(self)).get(field))
            if not takes_words and not _same_kind(value, known[field]):
                raise ValueError(f"{self.name}.{field}={value}: expected {_kind(known[field])}")
        return dataclasses.replace(self, **{f: _like(v, known[f]) for f, v in changes.items()})  # type: ignore[type-var]


def operation_name(kind: type[Operation]) -> str:
    """Return an operation's name in configurations: ``ColorJitter`` is ``color_jitter``, ``JPEG`` is ``jpeg``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _same_kind(value: Any, like: Any) -> bool:
    if isinstance(like, list):
        return _is_number(value) or (
            isinstance(value, list | tuple) and len(value) == len(like) and all(map(_is_number, value))
        )
    if isinstance(like, bool):
        return isinstance(value, bool)
    return _is_number(value) if _is_number(like) else True


def _like(value: Any, like: Any) -> Any:
    if isinstance(like, list):
        return tuple(value) if isinstance(value, list | tuple) else (value,) * len(like)
    return value


def _kind(like: Any) -> str:
    if isinstance(like, list):
        return "a range [from, to]" if len(like) == 2 else f"{len(like)} numbers"
    return "true or false" if isinstance(like, bool) else "a number"


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw float32 numbers uniformly from [low, high)."""
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float32, device="cpu")


def draw_applied(n: int, p: float, generator: torch.Generator) -> Tensor:
    """Draw for each image whether an operation of probability ``p`` is applied; (N,) bool."""
    return torch.rand(n, generator=generator, device="cpu") < p


def send(values: Tensor, device: torch.device) -> Tensor:
    """Copy small CPU tensors to a device without waiting for it, where that is safe for tensors that go out of use."""
    return values.to(device, non_blocking=device.type == "cuda")


def check_probability(operation: Operation) -> None:
    """Raise ValueError unless the operation's ``p`` lies in [0, 1]."""
    check_number(operation, "p", low=0.0, high=1.0, meaning="a probability")


def check_number(
    operation: Operation, field: str, low: float = 0.0, high: float | None = None, meaning: str = "a number"
) -> None:
    """Raise ValueError unless ``field`` is a number in [low, high], and a whole one where that is its type."""
    value = getattr(operation, field)
    whole = get_type_hints(type(operation)).get(field) is int
    if whole:
        meaning = "a whole number"
    fits = _is_finite(value) and low <= value and (high is None or value <= high)
    if not fits or (whole and not isinstance(value, int)):
        bounds = f"in [{low:g}, {high:g}]" if high is not None else f"of at least {low:g}"
        raise ValueError(f"{operation.name}.{field}={value}: expected {meaning} {bounds}")


def check_range(
    operation: Operation, field: str, low: float | None = None, high: float | None = None, low_open: bool = False
) -> None:
    """Raise ValueError unless ``field`` is an ordered pair (from, to) inside the bounds."""
    value = getattr(operation, field)
    name = f"{operation.name}.{field}"
    if not isinstance(value, tuple | list) or len(value) != 2 or not all(map(_is_finite, value)):
        raise ValueError(f"{name}={value}: expected a range [from, to] of finite numbers")
    first, last = value
    shown = f"{name}=[{first:g}, {last:g}]"
    if not first <= last:
        raise ValueError(f"{shown}: the range is upside down")
    if low is not None and (first < low or (low_open and first == low)):
        raise ValueError(f"{shown}: expected a range that starts {'above' if low_open else 'at or above'} {low:g}")
    if high is not None and last > high:
        raise ValueError(f"{shown}: expected a range that ends at or below {high:g}")
