"""Fusing backbones with complementary invariances into one: ``fuse([a, b], mode)``, see ``fuse.run.fuse``."""

from solo_invariance.backbones.fusion import Fusion, FusionHead, FusionPlugin
from solo_invariance.callable_package import make_callable
from solo_invariance.fuse.combine import add, average, concatenate
from solo_invariance.fuse.fusing import fit_fusion
from solo_invariance.fuse.heads import Projected, Standardized, Weighted
from solo_invariance.fuse.run import fuse
from solo_invariance.fuse.settings import FuseSettings

__all__ = [
    "FuseSettings",
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
    "fuse",
]

make_callable(__name__, "solo_invariance.fuse.run:fuse")
