"""Fusing backbones with complementary invariances into one."""

from solo_invariance.fuse.checkpoint import fuse, fused_from_content, save_fused
from solo_invariance.fuse.functional import Fusion, add, average, concatenate
from solo_invariance.fuse.fused import FusedBackbone

__all__ = ["FusedBackbone", "Fusion", "add", "average", "concatenate", "fuse", "fused_from_content", "save_fused"]
