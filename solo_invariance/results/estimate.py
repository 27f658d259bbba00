"""Numbers with their intervals, and what was measured of one change: an estimate for each metric."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from solo_invariance.results.document import Finite, Record, Text, wrong


def _low_high(ends: tuple[float, ...]) -> tuple[float, ...]:
    if len(ends) != 2 or ends[0] > ends[1]:
        raise wrong("[low, high]")
    return ends


Interval = Annotated[tuple[Finite, ...], AfterValidator(_low_high)]


class Estimate(Record):
    """A mean over images with its 95 % interval.

    Args:
        mean: The number, in the unit of what was measured.
        ci95: The two ends of the interval.
        standard_error: Of the mean over images; older files do not have it.
        reference_error: Standard error that it has from the images of mean and covariance, where the file says it; the
            interval is of both errors then.
        curve: The number at each parameter, for a metric that has one for each.

    Raises:
        ValueError: A number is not finite, or the ends are not in their order.

    Example:
        >>> ours, theirs = Estimate(mean=0.5, ci95=(0.4, 0.6)), Estimate(mean=0.7, ci95=(0.55, 0.85))
        >>> ours.high, ours.overlaps(theirs)
        (0.6, True)
    """

    mean: Finite
    ci95: Interval
    standard_error: Finite | None = None
    reference_error: Finite | None = None
    curve: tuple[Finite, ...] | None = Field(default=None, repr=False)

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.ci95[0]

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.ci95[1]

    def overlaps(self, other: "Estimate") -> bool:
        """Whether the two intervals share a point."""
        return self.low <= other.high and other.low <= self.high


def _tag(value: Any) -> str:
    is_estimate = isinstance(value, Estimate) or (isinstance(value, Mapping) and value.get("ci95") is not None)
    return "<estimate>" if is_estimate else "<other>"


_Entry = Annotated[Annotated[Estimate, Tag("<estimate>")] | Annotated[Any, Tag("<other>")], Discriminator(_tag)]


class Measured(Record):
    """What was measured of one change, of a ``kind`` such as spatial or appearance: an estimate by metric."""

    __pydantic_extra__: dict[str, _Entry]

    kind: Text

    @property
    def metrics(self) -> dict[str, Estimate]:
        """All estimates, by the keys that they have in the file."""
        return {name: value for name, value in self if isinstance(value, Estimate)}

    @property
    def further(self) -> dict[str, Estimate]:
        """What was measured besides the distance and the similarities, by metric."""
        return {
            name: one for name, one in self.metrics.items() if name != "distance" and not name.startswith("similarity")
        }

    def metric(self, name: str) -> Estimate:
        """Return one of the metrics.

        Raises:
            KeyError: It was not measured; the message names those that were.
        """
        if name not in self.metrics:
            raise KeyError(f"{name} was not measured; there are {', '.join(self.metrics)}")
        return self.metrics[name]
