"""Statistics of a backbone's features on clean reference images that an earlier run computed."""

from collections.abc import Mapping

import numpy as np
import torch

from solo_invariance.backbones import Backbone, SideBySide
from solo_invariance.data.images import ImageSource
from solo_invariance.features.cache import FeatureCache
from solo_invariance.features.digests import digest_of_backbone, digests_of
from solo_invariance.measure.settings import MeasureSettings
from solo_invariance.measure.statistics.feature_statistics import Moments
from solo_invariance.results.files import fingerprint_of


def key_of_moments(backbone: Backbone | SideBySide, reference: ImageSource, settings: MeasureSettings) -> str:
    """Return what the moments are known by: all that they depend on, but for floating point.

    Raises:
        UserError: An image cannot be read; the message names it.
    """
    members = [backbone] if isinstance(backbone, Backbone) else list(backbone.backbones)
    return fingerprint_of(
        {
            "format": 1,
            "kind": "moments",
            "backbones": [digest_of_backbone(member) for member in members],
            "images": digests_of(reference, settings.reading.num_workers),
            "crop_size": settings.geometry.crop_size,
            "precision": settings.precision,
        }
    )


def find_moments(
    cache: FeatureCache, key: str, blocks: Mapping[str, int], num_images: int
) -> dict[str, Moments] | None:
    """Return the moments of each block, of which the names and widths are given; None where one is not there."""
    found = {}
    for block, width in blocks.items():
        rows = cache.find(fingerprint_of({"moments": key, "block": block}), (1 + width, width), np.float64)
        if rows is None:
            return None
        found[block] = Moments(rows[0], rows[1:], num_images)
    return found


def keep_moments(cache: FeatureCache, key: str, moments: Mapping[str, Moments]) -> None:
    """Keep the moments of each block."""
    for block, one in moments.items():
        rows = torch.cat([one.mean[None], one.covariance]).cpu()
        cache.keep(fingerprint_of({"moments": key, "block": block}), rows)
