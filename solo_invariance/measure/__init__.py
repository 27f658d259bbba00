"""Measuring what a backbone became invariant to."""

from solo_invariance.measure.distance import InvarianceDistance
from solo_invariance.measure.evaluate import InvarianceMeasurement, Measured, MeasureSettings
from solo_invariance.measure.feature_statistics import FeatureStatistics, feature_statistics
from solo_invariance.measure.functional import Whitening, bootstrap_interval, whiten, whitening_from_statistics
from solo_invariance.measure.similarity import InvarianceSimilarity
from solo_invariance.measure.transforms import Geometry, Transform
from solo_invariance.measure.view_metric import ViewMetric

__all__ = [
    "FeatureStatistics",
    "Geometry",
    "InvarianceDistance",
    "InvarianceMeasurement",
    "InvarianceSimilarity",
    "MeasureSettings",
    "Measured",
    "Transform",
    "ViewMetric",
    "Whitening",
    "bootstrap_interval",
    "feature_statistics",
    "whiten",
    "whitening_from_statistics",
]
