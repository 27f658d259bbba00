"""Two backbones measured on the same images: what is different, and how sure that is."""

from collections.abc import Mapping

import numpy as np
import torch

from solo_invariance.bootstrap import Estimate, Statistic, estimate_difference
from solo_invariance.errors import UserError


def paired_difference(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], metric: str, statistic: Statistic, seed: int
) -> Estimate:
    """Return the difference of a metric between two measurements, ours minus theirs, with a paired 95 % interval.

    Where both measured each image once, the images that both measured are compared.

    Args:
        ours: Arrays of ``Measured``, of one transform or view set.
        theirs: Likewise, of the other backbone.
        metric: Its name.
        statistic: The metric's ``value``.
        seed: Of the bootstrap.

    Raises:
        UserError: The images or the parameters are not the same.
    """
    for arrays in (ours, theirs):
        if f"{metric}_per_image" not in arrays:
            raise UserError(f"{metric} was measured by one of the two only")
    if "parameters" in ours and not np.array_equal(ours["parameters"], theirs.get("parameters", np.empty(0))):
        raise UserError("measured at other parameters (k, protocol or sizes differ)")
    own, other = ours[f"{metric}_per_image"], theirs[f"{metric}_per_image"]
    # A metric may have been given the first images only.
    first, second = _common(ours["names"][: len(own)], theirs["names"][: len(other)])
    return estimate_difference(torch.from_numpy(own[first]), torch.from_numpy(other[second]), statistic, seed)


def num_paired(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> int:
    """Return how many images two measurements have in common."""
    return len(_common(ours["names"], theirs["names"])[0])


def _common(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the same images in both."""
    if np.array_equal(ours, theirs):
        return np.arange(len(ours)), np.arange(len(theirs))
    if len(np.unique(ours)) < len(ours) or len(np.unique(theirs)) < len(theirs):
        raise UserError("measured on other images")
    names, first, second = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
    if len(names) < 2:
        raise UserError("measured on other images")
    return first, second
