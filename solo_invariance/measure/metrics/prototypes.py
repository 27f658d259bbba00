"""Metrics of both kinds, of views and of features, as they are named and configured."""

from collections.abc import Mapping

from solo_invariance.measure.metrics.health import FeatureMetric
from solo_invariance.measure.metrics.view_metric import ViewMetric, prototypes_of

AnyMetric = ViewMetric | type[ViewMetric] | FeatureMetric | type[FeatureMetric]
"""What may be measured of a backbone: a metric of its invariance or of its features, a class or configured."""


def prototype_of(name: str, metric: AnyMetric) -> ViewMetric | FeatureMetric:
    """Return a metric that has seen nothing.

    Args:
        name: For the message.
        metric: A class stands for a metric of its defaults. It is left as it is.

    Raises:
        TypeError: It is no metric; the message names it.
    """
    if isinstance(metric, type) and issubclass(metric, FeatureMetric):
        return metric(1)  # its value does not depend on what it has seen, nor on the width of that
    return metric if isinstance(metric, FeatureMetric) else prototypes_of({name: metric})[name]


def of_views_and_features(
    metrics: Mapping[str, AnyMetric],
) -> tuple[dict[str, ViewMetric], dict[str, FeatureMetric]]:
    """Return the metrics of views and those of features, each configured and as yet without an image, by name.

    Raises:
        TypeError: One is neither; the message names it.
    """
    found = {name: prototype_of(name, metric) for name, metric in metrics.items()}
    views = {name: one for name, one in found.items() if isinstance(one, ViewMetric)}
    return views, {name: one for name, one in found.items() if isinstance(one, FeatureMetric)}
