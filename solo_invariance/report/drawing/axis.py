"""Linear axes, and round numbers for them and for colour scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

DECIMAL_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
DEGREE_STEPS = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 45.0, 90.0, 180.0, 360.0)


class Tick(NamedTuple):
    """A position on an axis and the number that is written there."""

    position: float
    text: str


class Axis(NamedTuple):
    """A linear scale from numbers to positions in the figure."""

    low: float
    high: float
    start: float
    end: float

    def position(self, value: float) -> float:
        """Where a number lies in the figure."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def within(self, value: float) -> float:
        """Where a number lies in the figure, at an end of the axis where it is beyond that; NaN stays NaN."""
        return value if math.isnan(value) else self.position(min(max(value, self.low), self.high))

    def ticks(self, num_steps: int, unit: str = "") -> tuple[Tick, ...]:
        """Round numbers on the axis, at most ``num_steps`` apart."""
        values = ticks(self.low, self.high, num_steps, unit)
        return tuple(Tick(self.position(value), tick_text(value)) for value in values)


def round_step(span: float, num_steps: int, unit: str = "") -> float:
    """The smallest round step that crosses ``span`` in at most ``num_steps`` steps; degrees have their own."""
    smallest = span / num_steps
    if unit == "degrees" and 1 <= smallest <= DEGREE_STEPS[-1]:
        return next(step for step in DEGREE_STEPS if step >= smallest)
    decade = 10.0 ** math.floor(math.log10(smallest))
    return next(step * decade for step in DECIMAL_STEPS if step * decade >= smallest * (1 - 1e-9))


def round_domain(values: Sequence[float]) -> tuple[float, float]:
    """Round ends of a scale that holds all values."""
    low, high = min(values), max(values)
    step = round_step((high - low) or abs(high) or 1.0, 5)
    bottom, top = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return (bottom, top) if bottom < top else (bottom, bottom + step)


def ticks(low: float, high: float, num_steps: int, unit: str = "") -> list[float]:
    """Round numbers from ``low`` to ``high``."""
    step = round_step(high - low, num_steps, unit)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_text(value: float) -> str:
    """A tick's number without needless zeros, with a true minus sign."""
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}") if value else "0"
