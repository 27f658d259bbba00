"""Transforms and metrics by the names of their plugins."""

from typing import Any

from solo_invariance.config.measure import METRICS_EXAMPLE, TRANSFORMS_EXAMPLE
from solo_invariance.errors import UserError
from solo_invariance.measure.measurement import METRICS
from solo_invariance.measure.metrics.health import FeatureMetric
from solo_invariance.measure.metrics.prototypes import prototype_of
from solo_invariance.measure.metrics.view_metric import ViewMetric
from solo_invariance.measure.transforms.transform import Transform
from solo_invariance.plugins import load_plugin, names_chosen


def transforms_named(chosen: Any) -> dict[str, Transform]:
    """Return the transforms that are chosen, by name, in that order.

    Args:
        chosen: Names, or ``all``.

    Raises:
        UserError: There is no such transform, or the choice is neither.

    Example:
        >>> list(transforms_named(["rotation", "hue"]))
        ['rotation', 'hue']
    """
    return {name: _transform(name) for name in names_chosen("transforms", chosen, TRANSFORMS_EXAMPLE)}


def metrics_named(chosen: Any) -> dict[str, ViewMetric | FeatureMetric]:
    """Return the metrics that are chosen, by name, after the paper's two: these cost nothing, and reports show them.

    Args:
        chosen: Names, or ``all``.

    Raises:
        UserError: There is no such metric, or the choice is neither.

    Example:
        >>> list(metrics_named(["mrr"]))
        ['similarity', 'width_matched_similarity', 'distance', 'mrr']
    """
    names = dict.fromkeys([*METRICS, *names_chosen("metrics", chosen, METRICS_EXAMPLE)])
    return {name: _metric(name) for name in names}


def _transform(name: str) -> Transform:
    transform = load_plugin("transforms", name)
    if not isinstance(transform, Transform):
        raise UserError(f"transforms: the plugin {name!r} is {transform!r}, expected a Transform")
    return transform


def _metric(name: str) -> ViewMetric | FeatureMetric:
    metric = load_plugin("metrics", name)
    try:
        return prototype_of(name, metric)
    except TypeError as error:
        expected = "a subclass of ViewMetric or of FeatureMetric"
        raise UserError(f"metrics: the plugin {name!r} is {metric!r}, expected {expected}") from error
