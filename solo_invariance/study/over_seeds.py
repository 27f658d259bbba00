"""Seeds as the unit: Student's t, the jackknife, and levels when all claims are counted."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from solo_invariance.report.marks import holm

Array = NDArray[np.float64]

LEVEL = 0.95


class MeanOverSeeds(NamedTuple):
    """A number of several seeds, with its standard error and n - 1 degrees of freedom.

    Attributes:
        mean: The number.
        error: Its standard error.
        freedom: Degrees of freedom.
        largest: That it can be, or its negative; intervals end there.
    """

    mean: float
    error: float
    freedom: int
    largest: float = math.inf

    @classmethod
    def of(
        cls, whole: float, by_seed: Array, least_deviation: float = 0.0, largest: float = math.inf
    ) -> "MeanOverSeeds":
        """Return a number of all seeds with the error that it has by those of each.

        Args:
            whole: The number of all seeds.
            by_seed: (n,), two at least: one number of each seed, or the jackknife's pseudo-values.
            least_deviation: Of numbers on a grid, which can all be the same by chance.
            largest: That the number can be, or its negative.
        """
        deviation = max(float(by_seed.std(ddof=1)), least_deviation)
        return cls(whole, deviation / math.sqrt(len(by_seed)), len(by_seed) - 1, largest)

    def interval(self, below: float = (1 - LEVEL) / 2, above: float = (1 - LEVEL) / 2) -> tuple[float, float]:
        """Return an interval that the truth lies below, and above, with such probabilities; 95 % by default."""
        low, high = (float(stdtrit(self.freedom, 1 - tail)) * self.error for tail in (below, above))
        return max(self.mean - low, -self.largest), min(self.mean + high, self.largest)

    def p_up_to(self, limit: float = 0.0) -> float:
        """Return the one-sided p-value of the truth being ``limit`` or less."""
        return _upper_tail(self.mean - limit, self.error, self.freedom)

    def p_from(self, limit: float) -> float:
        """Return the one-sided p-value of the truth being ``limit`` or more."""
        return _upper_tail(limit - self.mean, self.error, self.freedom)

    @property
    def p(self) -> float:
        """The two-sided p-value of the truth being 0."""
        return min(1.0, 2 * min(self.p_up_to(0.0), self.p_from(0.0)))


def pseudo_values(whole: Callable[[tuple[int, ...]], Array | None], seeds: tuple[int, ...]) -> Array | None:
    r"""Return the jackknife's pseudo-values of a number of some seeds, (..., n).

    .. math:: \tilde\theta_s = \theta(S) + (n - 1)\,\bigl(\theta(S) - \theta(S \setminus s)\bigr)

    The standard error of :math:`\theta(S)` is that of their mean. Where it is a mean of one number a seed, they are
    these numbers, and it is that of Student's t. It also is one of numbers of pairs or triples of seeds, which overlap,
    and of what some seeds choose for others.

    Source: Tukey (1958), "Bias and Confidence in Not-quite Large Samples"; Arvesen (1969), "Jackknifing U-Statistics".

    Args:
        whole: Gives the number, (...), of some of the seeds; None where it cannot be told from so few.
        seeds: S, n of them.

    Returns:
        None where there is no number of all, or of all but one.
    """
    of_all = whole(seeds)
    if of_all is None or len(seeds) == 1:
        return None if of_all is None else of_all[..., None]
    without = [whole(tuple(one for one in seeds if one != seed)) for seed in seeds]
    parts = [part for part in without if part is not None]
    if len(parts) < len(seeds):
        return None
    return np.stack([of_all + (len(seeds) - 1) * (of_all - part) for part in parts], axis=-1)


def holm_levels(p_values: Sequence[float], count: int, alpha: float) -> tuple[list[float], list[float]]:
    """Return p-values adjusted by Holm's procedure, and the level at which it looks at each of them.

    The k-th smallest is looked at with alpha / (count - k + 1); from the first on that is larger than this, all are
    with that one's.

    Args:
        p_values: Those that are known.
        count: Of all tests, at least as many.
        alpha: Of all tests together.
    """
    adjusted = holm(p_values, count)
    rejected = sum(p <= alpha for p in adjusted)
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    places = {index: min(place, rejected) for place, index in enumerate(order)}
    return adjusted, [alpha / (count - min(places[index], count - 1)) for index in range(len(p_values))]


def _upper_tail(distance: float, error: float, freedom: int) -> float:
    if error == 0:
        return 0.0 if distance > 0 else 1.0
    return float(stdtr(freedom, -distance / error))
