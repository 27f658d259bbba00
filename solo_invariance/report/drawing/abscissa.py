"""What the curve of a transform is drawn over: one number per parameter, whatever the parameter is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solo_invariance.results import TransformResult

Array = NDArray[np.float64]


class Abscissa(NamedTuple):
    """One value per parameter, ``(P,)``; ``is_combined`` if it sums up several numbers, and so is not evenly spaced."""

    label: str
    values: Array
    is_combined: bool


def abscissa(name: str, transform: TransformResult) -> Abscissa:
    """The only number of the parameters that varies; of several, their Euclidean length.

    Numbers that are the same in all parameters are left out. Transforms whose numbers mean different things have
    a rule of their own: a crop is drawn over its side, a deformation over its size.
    """
    parameters = np.array(transform.parameters)
    rule = BY_NAME.get((name, parameters.shape[1]))
    if rule is not None:
        return rule(parameters)
    varying = parameters[:, np.ptp(parameters, axis=0) > 0]
    if varying.shape[1] <= 1:
        return Abscissa(transform.unit, parameters[:, 0] if varying.size == 0 else varying[:, 0], False)
    label = f"magnitude, {transform.unit}" if transform.unit else "magnitude"
    return Abscissa(label, np.linalg.norm(varying, axis=1), True)


def _side_of_crop(boxes: Array) -> Abscissa:
    """The side of the square of the same area, of boxes (top, left, height, width) in pixels, ``(P, 4)``."""
    return Abscissa("side of the crop, pixels", np.sqrt(boxes[:, 2] * boxes[:, 3]), True)


def _smoothness(fields: Array) -> Abscissa:
    """The width of the smoothing, of pairs (sigma in pixels, number of the field), ``(P, 2)``."""
    return Abscissa("sigma, pixels", fields[:, 0], False)


def _size_of_deformation(fields: Array) -> Abscissa:
    """The first of (size, field, reach of an affine map, row), lengths in pixels, ``(P, 4)``.

    It is the root mean square displacement; where there is an affine map, the width of the elastic part's smoothing.
    """
    return Abscissa("sigma, pixels" if fields[:, 2].any() else "displacement, pixels", fields[:, 0], False)


BY_NAME: dict[tuple[str, int], Callable[[Array], Abscissa]] = {
    ("resized_crop", 4): _side_of_crop,
    ("deform", 2): _smoothness,  # of results of version 0.1.0
    ("deform", 4): _size_of_deformation,
}
