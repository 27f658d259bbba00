"""Statistics of a backbone's features on clean reference images that an earlier run computed."""

from collections.abc import Mapping

import numpy as np
import torch

from solo_invariance.backbones import Backbone, SideBySide
from solo_invariance.data.decoding import DECODING
from solo_invariance.data.images import ImageSource
from solo_invariance.features.cache import FeatureCache
from solo_invariance.features.digests import digest_of_backbone, digests_of
from solo_invariance.features.feature_stream import Precision
from solo_invariance.measure.statistics.feature_statistics import Moments
from solo_invariance.measure.statistics.reference import SAMPLE
from solo_invariance.results.files import fingerprint_of


def key_of_moments(
    backbone: Backbone | SideBySide, reference: ImageSource, crop_size: int, precision: Precision, num_workers: int = 4
) -> str:
    """Return what the moments are known by: all that they depend on, but for floating point.

    Args:
        backbone: Gives the features.
        reference: The images.
        crop_size: Side of the crops that it is given, in pixels.
        precision: Of its forward passes.
        num_workers: Threads that hash the images.

    Raises:
        UserError: An image cannot be read; the message names it.
    """
    members = [backbone] if isinstance(backbone, Backbone) else list(backbone.backbones)
    return fingerprint_of(
        {
            "format": 2,
            "decoding": DECODING,
            "kind": "moments",
            "backbones": [digest_of_backbone(member) for member in members],
            "images": digests_of(reference, num_workers),
            "crop_size": crop_size,
            "precision": precision,
        }
    )


def find_moments(
    cache: FeatureCache, key: str, layers: Mapping[str, int], num_images: int
) -> dict[str, Moments] | None:
    """Return the moments of each layer, of which the names and widths are given; None where one is not there."""
    found = {}
    for layer, width in layers.items():
        shape = (1 + width + min(num_images, SAMPLE), width)
        rows = cache.find(fingerprint_of({"moments": key, "block": layer}), shape, np.float64)
        if rows is None:
            return None
        found[layer] = Moments(rows[0], rows[1 : 1 + width], num_images, rows[1 + width :].float())
    return found


def keep_moments(cache: FeatureCache, key: str, moments: Mapping[str, Moments]) -> None:
    """Keep the moments of each layer."""
    for layer, one in moments.items():
        sample = one.mean.new_empty(0, len(one.mean)) if one.sample is None else one.sample.to(one.mean)
        rows = torch.cat([one.mean[None], one.covariance, sample]).cpu()
        cache.keep(fingerprint_of({"moments": key, "block": layer}), rows)
