"""How to shape a backbone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from solo_invariance.data.reading import ReadingPolicy
from solo_invariance.features.feature_stream import Precision


@dataclass(frozen=True)
class ShapeSettings:
    """How to shape a backbone.

    Args:
        k: Number of steps of each transform, where it has a choice.
        options: Of the mode's own, by name.
        reference_images: How many of a folder's images are looked at, drawn by the seed.
        held_out: The share of them that a shaper is not fitted to, and that what it reaches is told by.
        batch_size: Views in one forward pass, None for what suits the device; changes no numbers (to floating point).
        precision: Of the forward passes; ``bf16`` and ``fp16`` are autocast's.
        reading: How images are read.
        seed: Of draws, and of which images are held out.
    """

    k: int = 8
    options: Mapping[str, Any] = field(default_factory=dict)
    reference_images: int = 1000
    held_out: float = 0.2
    batch_size: int | None = None
    precision: Precision = "fp32"
    reading: ReadingPolicy = field(default_factory=ReadingPolicy)
    seed: int = 0
