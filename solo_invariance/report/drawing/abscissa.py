"""What the curves of a transform are drawn over: one number per parameter, whatever the parameter is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solo_invariance.results import TransformResult

Array = NDArray[np.float64]


class Abscissa(NamedTuple):
    """One value per parameter, ``(P,)``, and what it is called.

    ``facet`` names the number, where a transform has several that are drawn one at a time, each averaged over the
    others; it is empty where there is one curve. ``is_combined`` says that the values sum up several numbers. Neither
    are evenly spaced.
    """

    label: str
    values: Array
    facet: str = ""
    is_combined: bool = False


def abscissas(name: str, transform: TransformResult) -> list[Abscissa]:
    """Return what a transform is drawn over: the only number that varies, or each of several by itself.

    Numbers that are the same in all parameters are left out. Transforms whose numbers make one size that means
    something have a rule of their own: a shift is drawn over its length, a crop over its side, a deformation over its
    size. Angles have none: two shears do not add up to one.
    """
    parameters = np.array(transform.parameters)
    rule = BY_NAME.get((name, parameters.shape[1]))
    if rule is not None:
        return [rule(parameters)]
    varying = np.flatnonzero(np.ptp(parameters, axis=0) > 0)
    if len(varying) <= 1:
        return [Abscissa(transform.unit, parameters[:, varying[0] if len(varying) else 0])]
    names = AXES.get(name, ())
    facets = {int(i): names[i] if i < len(names) else f"number {i + 1}" for i in varying}
    unit = f", {transform.unit}" if transform.unit else ""
    return [Abscissa(f"{facet}{unit}", parameters[:, i], facet) for i, facet in facets.items()]


def _length_of_shift(shifts: Array) -> Abscissa:
    """The distance by which pixels move, of shifts (x, y) in pixels, with or without a shear, ``(P, 2 or 3)``."""
    return Abscissa("length of the shift, pixels", np.linalg.norm(shifts[:, :2], axis=1), is_combined=True)


def _side_of_crop(boxes: Array) -> Abscissa:
    """The side of the square of the same area, of boxes (top, left, height, width) in pixels, ``(P, 4)``."""
    sides = np.sqrt(boxes[:, 2] * boxes[:, 3])
    return Abscissa("side of a square of the crop's area, pixels", sides, is_combined=True)


def _smoothness(fields: Array) -> Abscissa:
    """The width of the smoothing, of pairs (sigma in pixels, number of the field), ``(P, 2)``."""
    return Abscissa("sigma, pixels", fields[:, 0])


def _size_of_deformation(fields: Array) -> Abscissa:
    """The first of (size, field, reach of an affine map, row), lengths in pixels, ``(P, 4)``.

    It is the root mean square displacement; where there is an affine map, the width of the elastic part's smoothing.
    """
    return Abscissa("sigma, pixels" if fields[:, 2].any() else "displacement, pixels", fields[:, 0])


AXES: dict[str, tuple[str, ...]] = {"shear": ("along x", "along y")}

BY_NAME: dict[tuple[str, int], Callable[[Array], Abscissa]] = {
    ("translation", 2): _length_of_shift,
    ("translation", 3): _length_of_shift,
    ("resized_crop", 4): _side_of_crop,
    ("deform", 2): _smoothness,  # of results of version 0.1.0
    ("deform", 4): _size_of_deformation,
}
