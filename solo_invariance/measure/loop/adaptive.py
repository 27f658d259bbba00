"""When a measurement on random images and parameters is precise enough."""

import math

import numpy as np

_FIRST_ROWS = 128
_MARGIN = 1.1
_NEGLIGIBLE = 0.05


def first_rows(rows_to_cover: int) -> int:
    """Return how many rows of a sampling to measure before the first look at the standard error."""
    return max(_FIRST_ROWS, rows_to_cover)


def standard_error(values: np.ndarray, items: np.ndarray) -> float:
    """Return the standard error of the mean over items of values (R,) of rows, of which an item may have several."""
    means = _means(values, items)
    return float(means.std(ddof=1) / math.sqrt(len(means))) if len(means) > 1 else math.inf


def next_rows(
    rows: int, values: np.ndarray, items: np.ndarray, num_items: int, target: float, visits: int
) -> int | None:
    """Return to how many rows to go on, None where that is enough.

    Until every item was seen once, the number of items grows as the standard error asks, twofold at most. After that
    only more parameters of the same items are left: these are taken as long as they, and not the number of items, make
    a good part of the variance.

    Args:
        rows: Measured so far.
        values: (R,), of the rows that could be measured.
        items: What each of them looked at, (R,).
        num_items: How many items there are.
        target: The standard error asked for.
        visits: After how many visits an item has nothing new to show.
    """
    error = standard_error(values, items)
    if error <= target:
        return None
    if rows < num_items:
        return min(num_items, 2 * rows, math.ceil(rows * (error / target) ** 2 * _MARGIN))
    made = rows // num_items
    if made >= visits or (made > 1 and _share_within(values, items) < _NEGLIGIBLE):
        return None
    return (made + 1) * num_items


def _means(values: np.ndarray, items: np.ndarray) -> np.ndarray:
    _, owner = np.unique(items, return_inverse=True)
    return np.bincount(owner, values) / np.bincount(owner)


def _share_within(values: np.ndarray, items: np.ndarray) -> float:
    """Return the share of the items' means' variance that comes from the few parameters that each was seen with."""
    _, owner = np.unique(items, return_inverse=True)
    means, visits = _means(values, items), np.bincount(owner)
    within = ((values - means[owner]) ** 2).sum() / max(1, len(values) - len(means))
    return float(within / visits.mean() / max(means.var(ddof=1), 1e-30))
