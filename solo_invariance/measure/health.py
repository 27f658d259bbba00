"""Label-free health of a backbone, by the moments of its features that a measurement has anyway."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

from solo_invariance.bootstrap import LEVEL, Estimate
from solo_invariance.measure.loop.reference_error import standard_error
from solo_invariance.measure.metrics.health import AlphaReQ, FeatureMetric, RankMe
from solo_invariance.measure.statistics.feature_statistics import Moments
from solo_invariance.results.files import read_arrays, write_arrays

HEALTH: Mapping[str, FeatureMetric] = {"rankme": RankMe(1), "alpha_req": AlphaReQ(1)}
"""The metrics of features by the names of their plugins; a metric's value does not depend on what it has seen."""

ENOUGH_IMAGES = 10
"""How many images a feature it takes until effective ranks hardly grow with their number any more."""

HEALTH_ARRAYS = Path("parts", "health.npz")
"""Where a layer's directory has the metrics of its features, with what differences are paired by."""

_BLOCKS = 16


class Health(NamedTuple):
    """One metric of a backbone's features.

    Args:
        estimate: The number, with the error that it has from which images it is of.
        influence: Of blocks of images on it, (B,), by which differences are paired where the images are the same.
    """

    estimate: Estimate
    influence: Tensor


def health_of(moments: Moments, metrics: Mapping[str, FeatureMetric] = HEALTH) -> dict[str, float]:
    """Return the numbers that features are healthy by, at the cost of an eigendecomposition each.

    Args:
        moments: Of the features of clean images, such as ``feature_statistics(features)`` has of features (N, D).
        metrics: By name, RankMe and alpha-ReQ by default.

    Returns:
        By name; a metric that says nothing of so few images or features, or of features that hardly vary, is left out.

    Raises:
        ValueError: The features are not finite.

    Example:
        >>> import torch
        >>> from solo_invariance.measure import feature_statistics
        >>> numbers = health_of(feature_statistics(torch.randn(2000, 32)))
        >>> list(numbers), 31 < numbers["rankme"] < 32
        (['rankme', 'alpha_req'], True)
    """
    if not all(one.isfinite().all() for one in moments[:2]):
        raise ValueError("expected features that are finite numbers")
    found = {}
    for name, metric in metrics.items():
        try:
            found[name] = float(metric.value(moments))
        except ValueError:
            continue
    return found


def measure_health(metric: FeatureMetric, moments: Moments) -> Health:
    r"""Return a metric of features with its error by the jackknife over blocks of images.

    With :math:`\theta_b` the metric without block b of B, of which G would be all images, the squared standard error is

    .. math:: \frac{(G - 1)^2}{G} \operatorname{var}_b \theta_b

    and the interval is Student's, of B - 1 degrees of freedom. It is of the same number of other images, not of very
    many: a rank grows with the images, and a resample of the bootstrap, in which images repeat, has a smaller one.

    Source: Efron & Tibshirani (1993), "An Introduction to the Bootstrap", sections 11.2 and 11.5; Wu (1986),
    "Jackknife, Bootstrap and Other Resampling Methods in Regression Analysis", on leaving out several at a time.

    Args:
        metric: Its value alone is asked for.
        moments: With the features of some of the images; there are 16 blocks of these, or as many as images.

    Raises:
        ValueError: The features are too few, or do not vary enough.
    """
    value = metric.value(moments)
    if moments.sample is None or moments.num_images < 3:
        raise ValueError("an error is told by leaving out images, of which two at least are left")
    count = min(_BLOCKS, len(moments.sample))
    size = len(moments.sample) // count
    blocks = moments.sample[: count * size].split(size)
    others = torch.stack([metric.value(_without(moments, block)) for block in blocks])
    groups = moments.num_images / size
    influence = (groups - 1) * math.sqrt(count / groups) * (value - others)
    return Health(estimate_by_blocks(float(value), standard_error(influence), count), influence)


def estimate_by_blocks(value: float, error: float, num_blocks: int) -> Estimate:
    """Return a number with Student's 95 % interval, of an error that so many blocks say."""
    half = float(stdtrit(num_blocks - 1, (1 + LEVEL) / 2)) * error
    return Estimate(value, error, value - half, value + half)


def write_health(path: Path, found: Mapping[str, Health]) -> None:
    """Write metrics of features, by name."""
    arrays: dict[str, np.ndarray] = {}
    for name, (estimate, influence) in found.items():
        arrays |= {f"{name}|estimate": np.asarray(estimate[:4]), f"{name}|influence": influence.cpu().numpy()}
    write_arrays(path, arrays, summed=True)


def read_health(path: Path) -> dict[str, Health]:
    """Read metrics of features, by name.

    Raises:
        UserError: The file is broken; the message names it.
    """
    arrays = read_arrays(path, hint="; remove it, and it is computed again", summed=True)
    names = [name.removesuffix("|estimate") for name in arrays if name.endswith("|estimate")]
    return {
        name: Health(Estimate(*map(float, arrays[f"{name}|estimate"])), torch.from_numpy(arrays[f"{name}|influence"]))
        for name in names
    }


def health_differences(ours: Path, theirs: Path, *, same_reference: bool) -> dict[str, Estimate]:
    """Return the differences of the metrics of features that two runs share, ours minus theirs.

    Args:
        ours: A layer's directory of a run.
        theirs: Another's.
        same_reference: Whether both are of the same images, which then are left out of both at a time.

    Raises:
        UserError: A file is broken; the message names it.
    """
    if not all((run / HEALTH_ARRAYS).is_file() for run in (ours, theirs)):
        return {}
    own, other = (read_health(run / HEALTH_ARRAYS) for run in (ours, theirs))
    return {name: _difference(one, other[name], same_reference) for name, one in own.items() if name in other}


def _difference(ours: Health, theirs: Health, same_reference: bool) -> Estimate:
    blocks = min(len(ours.influence), len(theirs.influence))
    if same_reference and len(ours.influence) == len(theirs.influence):
        error = standard_error(ours.influence - theirs.influence)
    else:
        error = math.hypot(ours.estimate.standard_error, theirs.estimate.standard_error)
    return estimate_by_blocks(ours.estimate.mean - theirs.estimate.mean, error, blocks)


def cautions_of_health(num_images: int, num_features: int) -> list[str]:
    """Return what is to be said of effective ranks of so many images and features."""
    if num_images >= ENOUGH_IMAGES * num_features:
        return []
    most = f" and is {num_images} at most" if num_images < num_features else ""
    return [
        f"health: {num_images} images are few for {num_features} features: RankMe grows with the images{most}, and "
        f"alpha_req may be too large; compare them on the same images, or with {ENOUGH_IMAGES * num_features} "
        f"(reference.path)."
    ]


def _without(moments: Moments, block: Tensor) -> Moments:
    """Return the moments of all images but those of a block, by their features (n, D)."""
    mean, covariance, count = moments[:3]
    centred = block.to(mean) - mean
    left = count - len(block)
    shift = centred.sum(dim=0)
    scatter = covariance * (count - 1) - centred.T @ centred - torch.outer(shift, shift) / left
    return Moments(mean - shift / left, scatter / (left - 1), left)
