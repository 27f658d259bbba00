"""Backbones: any checkpoint or model name, as one kind of module."""

from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.backbone import Backbone, InputSpec, LayerFeatures, Provenance
from solo_invariance.backbones.load import load_backbone
from solo_invariance.config import BackboneConfig

__all__ = ["Architecture", "Backbone", "BackboneConfig", "InputSpec", "LayerFeatures", "Provenance", "load_backbone"]
