"""Fusing backbones with complementary invariances into one."""

from solo_invariance.fuse.checkpoint import FusionPlugin, build_fusion, fuse, fused_from_content, is_head, save_fused
from solo_invariance.fuse.functional import Fusion, add, average, concatenate
from solo_invariance.fuse.fused import FusedBackbone
from solo_invariance.fuse.heads import FusionHead, Projected, Standardized, Weighted

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
