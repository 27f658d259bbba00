"""Features of images: computed once, kept, and shared by processes."""

from solo_invariance.features.cache import FeatureCache
from solo_invariance.features.digests import digests_of
from solo_invariance.features.extract import ExtractionSettings, extract_features, member_features

__all__ = ["ExtractionSettings", "FeatureCache", "digests_of", "extract_features", "member_features"]
