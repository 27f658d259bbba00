"""What single images scored, from the arrays beside a result: how sure each point of a curve is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from solo_invariance.errors import UserError
from solo_invariance.report.collect import Row
from solo_invariance.results.files import read_arrays

_TAIL = 0.975


class Scores(NamedTuple):
    """What views of images scored.

    Args:
        values: Of each row's views, ``(R, M)``.
        parameters: The place of each view's parameter in the grid, ``(R, M)``.
        images: Which image each row is of, ``(R,)``, from 0 on.
    """

    values: NDArray[np.float64]
    parameters: NDArray[np.int64]
    images: NDArray[np.int64]


def read_scores(row: Row, transform: str, metric: str) -> Scores | None:
    """Return what each image scored under a transform, None where the arrays are not there or of another grid.

    Where they cannot be read, there is none either; the page's cautions say so.
    """
    result = next((file for file in row.invariance if transform in file.transforms), None)
    if result is None or transform != Path(transform).name:
        return None
    path = result.file.parent / f"{transform}.npz"
    if not os.path.isfile(path):  # which no name of a transform makes fail
        return None
    wanted = {metric, "parameters", "indices", "items", "names"}
    try:
        arrays = read_arrays(path, wanted.__contains__)
    except UserError:
        return None
    return _checked(arrays, np.array(result.transforms[transform].parameters), metric)


def half_widths(scores: Scores, points: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return half the width of the 95 % interval of each point of a curve, NaN where a point has less than two images.

    A point is the mean over its parameters of the means over their views. Its error is over images, whose views count
    together: the square root of the sum of the images' squared influences on the point (the linearised, or sandwich,
    estimator of a ratio; Cochran (1977), "Sampling Techniques", section 6.4), with n / (n - 1) for n images, times the
    quantile of Student's t. Where each image was seen at every parameter, this is the standard error of the images'
    means.

    Args:
        scores: Of one transform.
        points: The point of each parameter of the grid, ``(P,)``, from 0 on.
    """
    parameters, size = scores.parameters.ravel(), len(points)
    views = np.bincount(parameters, minlength=size)
    means = np.bincount(parameters, scores.values.ravel(), size) / np.maximum(views, 1)
    shares = 1 / (np.maximum(views, 1) * np.bincount(points)[points])
    influences = (scores.values - means[scores.parameters]) * shares[scores.parameters]
    num_images, num_points = int(scores.images.max()) + 1, int(points.max()) + 1
    places = (points[scores.parameters] * num_images + scores.images[:, None]).ravel()
    shape = (num_points, num_images)
    of_image = np.bincount(places, influences.ravel(), num_points * num_images).reshape(shape)
    seen = (np.bincount(places, minlength=num_points * num_images).reshape(shape) > 0).sum(axis=1)
    freedom = np.where(seen > 1, seen - 1, np.nan)
    return np.asarray(stdtrit(freedom, _TAIL) * np.sqrt(seen / freedom * (of_image**2).sum(axis=1)))


def _checked(arrays: dict[str, np.ndarray], grid: NDArray[np.float64], metric: str) -> Scores | None:
    """Return the scores where the arrays are of the grid, and fit each other."""
    if not {metric, "parameters", "indices", "items", "names"} <= set(arrays):
        return None
    values, indices, items, names = (arrays[name] for name in (metric, "indices", "items", "names"))
    own = arrays["parameters"].reshape(len(arrays["parameters"]), -1) if arrays["parameters"].ndim else np.empty((0, 0))
    if own.shape != grid.shape or not np.allclose(own, grid, rtol=1e-5, atol=1e-6):
        return None
    if values.ndim != 2 or not len(values) or indices.ndim != 2 or items.ndim != 1 or indices.dtype.kind not in "iu":
        return None
    # A metric may have been given the first rows only.
    indices, items = indices[: len(values)].astype(np.int64), items[: len(values)]
    distinct, of_row = np.unique(items, return_inverse=True)
    if indices.shape != values.shape or len(items) != len(values) or len(distinct) > len(names):
        return None
    if indices.min() < 0 or indices.max() >= len(grid) or not np.isfinite(values).all():
        return None
    images = np.unique(names[: len(distinct)], return_inverse=True)[1]
    return Scores(values.astype(float), indices, images[of_row].astype(np.int64))
