"""Backbones: any checkpoint or model name, as one kind of module."""

from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.backbone import Backbone, InputSpec, Provenance
from solo_invariance.backbones.layers import LayerFeatures
from solo_invariance.backbones.load import load_backbone
from solo_invariance.backbones.random_init import random_init_of
from solo_invariance.backbones.side_by_side import SideBySide
from solo_invariance.config.backbone import BackboneConfig

__all__ = [
    "Architecture",
    "Backbone",
    "BackboneConfig",
    "InputSpec",
    "LayerFeatures",
    "Provenance",
    "SideBySide",
    "load_backbone",
    "random_init_of",
]
