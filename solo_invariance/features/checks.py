"""Whether features can be measured: finite, no larger than single precision can square, and not all alike."""

from collections.abc import Sequence

import torch
from torch import Tensor

from solo_invariance.data.images import ImageSource
from solo_invariance.errors import UserError

LARGEST = 1e18
"""The squares of larger features leave the range of single precision."""

# Times the rounding of single precision, of the mean: what varies by less is the same for all images.
_ROUNDING = 16 * torch.finfo(torch.float32).eps


def require_finite_features(features: Tensor, source: ImageSource, indices: Sequence[int]) -> None:
    """Raise UserError, naming the image, unless features are finite and of a size that can be squared.

    Args:
        features: Of images or of several views of each, (n, ...).
        source: The images.
        indices: Which of them these are.
    """
    sizes = features.flatten(1).abs().amax(dim=1)
    usable = sizes <= LARGEST
    if usable.all():
        return
    place = int((~usable).int().argmax())
    named, size = f"{source.name_of(indices[place])}: the backbone's features", float(sizes[place])
    if LARGEST < size < float("inf"):
        raise UserError(f"{named} reach {size:.0e}: its weights are too large, or have diverged")
    raise UserError(f"{named} are not finite (NaN or inf): its weights are so, or are too large")


def require_varied_features(mean: Tensor, variance: Tensor, num_images: int, what: str) -> None:
    """Raise UserError where every feature is the same for all images, up to rounding: nothing can be told from such.

    Args:
        mean: Over images, (D,).
        variance: Over images, (D,).
        num_images: How many images these are of.
        what: Whose features they are, for the message.
    """
    if num_images < 2 or bool((variance.double().sqrt() > _ROUNDING * mean.double().abs()).any()):
        return
    all_alike = f"all {len(mean)} features are the same for all {num_images} images"
    of_zeros = "" if mean.any() else " (zeros)"
    reason = "the weights are zero, were not loaded or have collapsed, or the images are all one picture"
    raise UserError(f"{what}: {all_alike}{of_zeros}: {reason}")
