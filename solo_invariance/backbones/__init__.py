"""Backbones: any checkpoint or model name, as one kind of module."""

from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.backbone import Backbone, Provenance
from solo_invariance.backbones.input_spec import InputSpec
from solo_invariance.backbones.layers import LayerFeatures
from solo_invariance.backbones.load import load_backbone
from solo_invariance.backbones.mean_embedding import mean_embedding
from solo_invariance.backbones.random_init import random_init_of
from solo_invariance.backbones.side_by_side import SideBySide
from solo_invariance.backbones.sources import DescribedNetwork
from solo_invariance.config.backbone import BackboneConfig, ViewsConfig

__all__ = [
    "Architecture",
    "Backbone",
    "BackboneConfig",
    "DescribedNetwork",
    "InputSpec",
    "LayerFeatures",
    "Provenance",
    "SideBySide",
    "ViewsConfig",
    "load_backbone",
    "mean_embedding",
    "random_init_of",
]
