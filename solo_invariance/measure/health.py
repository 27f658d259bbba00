"""Label-free health of a backbone, by the moments of its features that a measurement has anyway."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from scipy.special import stdtrit
from torch import Tensor

from solo_invariance.bootstrap import LEVEL, Estimate
from solo_invariance.measure.loop.reference_error import standard_error
from solo_invariance.measure.metrics.health import AlphaReQ, FeatureMetric, RankMe
from solo_invariance.measure.statistics.feature_statistics import Moments

HEALTH: Mapping[str, FeatureMetric] = {"rankme": RankMe(1), "alpha_req": AlphaReQ(1)}
"""The metrics of features by the names of their plugins; a metric's value does not depend on what it has seen."""

ENOUGH_IMAGES = 10
"""How many images a feature it takes until effective ranks hardly grow with their number any more."""

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
        By name; a metric that says nothing of so few images or features is left out.

    Example:
        >>> import torch
        >>> from solo_invariance.measure import feature_statistics
        >>> numbers = health_of(feature_statistics(torch.randn(2000, 32)))
        >>> list(numbers), 31 < numbers["rankme"] < 32
        (['rankme', 'alpha_req'], True)
    """
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
    if moments.sample is None or len(moments.sample) < 2:
        raise ValueError("of single images nothing is kept")
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


def cautions_of_health(num_images: int, num_features: int) -> list[str]:
    """Return what is to be said of effective ranks of so many images and features."""
    if num_images >= ENOUGH_IMAGES * num_features:
        return []
    most = f" and is {num_images} at most" if num_images < num_features else ""
    return [
        f"health: {num_images} images are few for {num_features} features: RankMe grows with the images{most}, and "
        f"alpha_req is too large; compare them on the same images, or with {ENOUGH_IMAGES * num_features} "
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
