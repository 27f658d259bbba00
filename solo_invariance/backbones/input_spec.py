"""The input that a network was trained on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from solo_invariance.config.backbone import INPUT_CHECKS, INTERPOLATIONS
from solo_invariance.data.framing import resize_for
from solo_invariance.known_datasets import IMAGENET


@dataclass(frozen=True)
class InputSpec:
    """The input that a network was trained on.

    Args:
        crop_size: Side of its images, in pixels.
        mean: Channel means that they are normalised with, in [0, 1] units.
        std: Channel standard deviations that they are normalised with, in [0, 1] units.
        interpolation: How they are resized: ``bilinear``, ``bicubic`` or ``nearest``; antialiased, but for the last.
        crop_pct: ``crop_size`` as a fraction of the short side that images are resized to before the crop; None for
            the paper's 7/8.
    """

    crop_size: int = 224
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    interpolation: str = "bilinear"
    crop_pct: float | None = None

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "InputSpec":
        """Return the specification that ``asdict`` made plain; older ones lack ``interpolation`` and ``crop_pct``.

        Raises:
            ValueError: A value is not what it should be.
        """
        given: dict[str, Any] = {key: values[key] for key in INPUT_CHECKS if values.get(key) is not None}
        for key, value in given.items():
            if (expected := INPUT_CHECKS[key](value)) is not None:
                raise ValueError(f"{key} is {value!r}, expected {expected}")
        return cls(**given | {key: tuple(given[key]) for key in ("mean", "std") if key in given})

    def resize_for(self, crop_size: int) -> int:
        """Return the short side, in pixels, that images are resized to before a crop of such a side is taken.

        Example:
            >>> InputSpec().resize_for(224), InputSpec(crop_pct=0.9).resize_for(224)
            (256, 248)
        """
        # As timm rounds; the bit more is for fractions that whole numbers were divided to.
        return resize_for(crop_size) if self.crop_pct is None else math.floor(crop_size / self.crop_pct + 1e-6)


def known_interpolation(name: str) -> str:
    """Return how images are resized that another library resizes in a way of its own: bicubic, where that is none of
    ours."""
    return name if name in INTERPOLATIONS else "bicubic"
