"""Metrics over views of images: torchmetrics' ``Metric``, whose states can be written down in parts and resampled."""

from solo_invariance.measure.metrics.chance_corrected_similarity import ChanceCorrectedSimilarity
from solo_invariance.measure.metrics.distance import InvarianceDistance
from solo_invariance.measure.metrics.equivariance import Equivariance
from solo_invariance.measure.metrics.health import AlphaReQ, FeatureMetric, RankMe
from solo_invariance.measure.metrics.parameter_readout import ParameterReadout
from solo_invariance.measure.metrics.retrieval import RetrievalMRR, RetrievalRecall
from solo_invariance.measure.metrics.similarity import InvarianceSimilarity
from solo_invariance.measure.metrics.view_metric import Gallery, GalleryMetric, ProjectionMetric, ViewMetric
from solo_invariance.measure.metrics.width_matched_similarity import WidthMatchedSimilarity

__all__ = [
    "AlphaReQ",
    "ChanceCorrectedSimilarity",
    "Equivariance",
    "FeatureMetric",
    "Gallery",
    "GalleryMetric",
    "InvarianceDistance",
    "InvarianceSimilarity",
    "ParameterReadout",
    "ProjectionMetric",
    "RankMe",
    "RetrievalMRR",
    "RetrievalRecall",
    "ViewMetric",
    "WidthMatchedSimilarity",
]
