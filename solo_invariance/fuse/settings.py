"""How to fuse."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from solo_invariance.features.extract import ExtractionSettings


@dataclass(frozen=True)
class FuseSettings:
    """How to fuse.

    Args:
        width: D of the fused features, which ``projected`` and ``auto`` read.
        options: Of the mode's own, by name.
        max_members: How many members ``auto`` may choose, None for any number.
        folds: Of the cross-validation by which ``auto`` chooses members, and ``weighted`` their weights.
        reference_images: How many of a folder's images a fusion is fitted to, drawn by the seed.
        seed: Of folds and draws.
        extraction: How features are computed.
        cache: Whether features are kept, for other fusions and for ``transfer``.
    """

    width: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    max_members: int | None = None
    folds: int = 5
    reference_images: int = 5000
    seed: int = 0
    extraction: ExtractionSettings = field(default_factory=ExtractionSettings)
    cache: bool = True
