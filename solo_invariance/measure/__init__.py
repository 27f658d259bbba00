"""Measuring what a backbone became invariant to: ``measure(backbone, images)``, see ``measure.run.measure``."""

from solo_invariance.bootstrap import Estimate, estimate, estimate_difference
from solo_invariance.callable_package import make_callable
from solo_invariance.measure.functional.whitening import Whitening, whiten, whitening_from_statistics
from solo_invariance.measure.health import health_of
from solo_invariance.measure.loop.groups import Group, ViewGroups, measure_groups
from solo_invariance.measure.loop.partial_results import PartialResultFiles, PartialResults
from solo_invariance.measure.loop.summary import Measured
from solo_invariance.measure.loop.whitened import WhitenedBackbone
from solo_invariance.measure.measurement import InvarianceMeasurement
from solo_invariance.measure.metrics.distance import InvarianceDistance
from solo_invariance.measure.metrics.health import AlphaReQ, FeatureMetric, RankMe
from solo_invariance.measure.metrics.similarity import InvarianceSimilarity
from solo_invariance.measure.metrics.view_metric import Gallery, GalleryMetric, ViewMetric
from solo_invariance.measure.run import InvarianceResults, measure
from solo_invariance.measure.settings import MeasureSettings
from solo_invariance.measure.statistics.feature_statistics import FeatureStatistics, Moments, feature_statistics
from solo_invariance.measure.transforms.transform import Geometry, ResizeCrop, Transform

__all__ = [
    "AlphaReQ",
    "Estimate",
    "FeatureMetric",
    "FeatureStatistics",
    "Gallery",
    "GalleryMetric",
    "Geometry",
    "Group",
    "InvarianceDistance",
    "InvarianceMeasurement",
    "InvarianceResults",
    "InvarianceSimilarity",
    "MeasureSettings",
    "Measured",
    "Moments",
    "PartialResultFiles",
    "PartialResults",
    "RankMe",
    "ResizeCrop",
    "Transform",
    "ViewGroups",
    "ViewMetric",
    "WhitenedBackbone",
    "Whitening",
    "estimate",
    "estimate_difference",
    "feature_statistics",
    "health_of",
    "measure",
    "measure_groups",
    "whiten",
    "whitening_from_statistics",
]

make_callable(__name__, "solo_invariance.measure.run:measure")
