"""Which backbones see what others ignore, by what was measured of their invariances."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

Similarities = Mapping[str, float]
"""Mean similarity under each transform."""


class Complementarity(NamedTuple):
    """How much each backbone sees of what each other one ignores.

    Attributes:
        labels: Of the B backbones.
        transforms: Those that all of them were measured on.
        matrix: (B, B); row a, column b: how much b sees of what a ignores.
        strongest: The transform that contributes most to each entry, None where there is none; B lists of B.
    """

    labels: list[str]
    transforms: list[str]
    matrix: np.ndarray
    strongest: list[list[str | None]]


def complementarity(measured: Mapping[str, Similarities]) -> Complementarity:
    r"""Return how much each backbone sees of what each other one ignores.

    A backbone ignores a transform as far as its similarity :math:`s` is near 1, and sees it as far as it is not. Entry
    (a, b) is the mean over transforms of :math:`\max(0, s_a - s_b)`: what a ignores more than b does. Two backbones
    with large entries both ways complement each other; where one of them is 0, one backbone sees all that the other
    sees.

    Args:
        measured: Mean similarities by transform, for each backbone by its label.

    Raises:
        ValueError: There are fewer than two backbones, or no transform that all of them were measured on.
    """
    labels = list(measured)
    if len(labels) < 2:
        raise ValueError(f"complementarity needs at least two backbones, got {', '.join(labels) or 'none'}")
    shared = [name for name in measured[labels[0]] if all(name in similarities for similarities in measured.values())]
    if not shared:
        raise ValueError(f"no transform was measured for all of {', '.join(labels)}")
    similarity = np.array([[measured[label][name] for name in shared] for label in labels])
    ignored = (similarity[:, None] - similarity[None]).clip(min=0)
    return Complementarity(labels, shared, ignored.mean(axis=2), _strongest(ignored, shared))


def _strongest(ignored: np.ndarray, transforms: Sequence[str]) -> list[list[str | None]]:
    return [[transforms[int(entry.argmax())] if entry.any() else None for entry in row] for row in ignored]
