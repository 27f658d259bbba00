"""Measuring what a backbone became invariant to."""

from solo_invariance.measure.bootstrap import Estimate, estimate, estimate_difference
from solo_invariance.measure.distance import InvarianceDistance
from solo_invariance.measure.evaluate import InvarianceMeasurement, MeasureSettings
from solo_invariance.measure.feature_statistics import FeatureStatistics, Moments, feature_statistics
from solo_invariance.measure.functional import Whitening, whiten, whitening_from_statistics
from solo_invariance.measure.groups import Group, ViewGroups, measure_groups
from solo_invariance.measure.parts import PartFiles, Parts
from solo_invariance.measure.similarity import InvarianceSimilarity
from solo_invariance.measure.summary import Measured
from solo_invariance.measure.transforms import Geometry, Transform
from solo_invariance.measure.view_metric import Gallery, ViewMetric

__all__ = [
    "Estimate",
    "FeatureStatistics",
    "Gallery",
    "Geometry",
    "Group",
    "InvarianceDistance",
    "InvarianceMeasurement",
    "InvarianceSimilarity",
    "MeasureSettings",
    "Measured",
    "Moments",
    "PartFiles",
    "Parts",
    "Transform",
    "ViewGroups",
    "ViewMetric",
    "Whitening",
    "estimate",
    "estimate_difference",
    "feature_statistics",
    "measure_groups",
    "whiten",
    "whitening_from_statistics",
]
