"""Fusing backbones with complementary invariances into one."""

from solo_invariance.backbones.fusion import Fusion, FusionHead, FusionPlugin
from solo_invariance.fuse.combine import add, average, concatenate
from solo_invariance.fuse.fusing import fit_fusion
from solo_invariance.fuse.heads import Projected, Standardized, Weighted

__all__ = [
    "Fusion",
    "FusionHead",
    "FusionPlugin",
    "Projected",
    "Standardized",
    "Weighted",
    "add",
    "average",
    "concatenate",
    "fit_fusion",
]
