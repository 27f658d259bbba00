"""Fusing backbones with complementary invariances into one."""

from solo_invariance.backbones.fused import FusedBackbone
from solo_invariance.backbones.fused_checkpoint import (
    FusionPlugin,
    build_fusion,
    fused_from_content,
    is_head,
    save_fused,
)
from solo_invariance.backbones.fusion import Fusion, FusionHead
from solo_invariance.fuse.combine import add, average, concatenate
from solo_invariance.fuse.fusing import fuse
from solo_invariance.fuse.heads import Projected, Standardized, Weighted

__all__ = [
    "FusedBackbone",
    "Fusion",
    "FusionHead",
    "FusionPlugin",
    "Projected",
    "Standardized",
    "Weighted",
    "add",
    "average",
    "build_fusion",
    "concatenate",
    "fuse",
    "fused_from_content",
    "is_head",
    "save_fused",
]
