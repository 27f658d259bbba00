"""Augmentation families: data, a way to draw parameters and a way to apply them."""

from solo_invariance.families.canvas import Canvas, default_canvas_size
from solo_invariance.families.crops import CropEntry, CropPipeline
from solo_invariance.families.family import Family
from solo_invariance.families.geometric import GeometricOperation, HorizontalFlip, ResizedCrop
from solo_invariance.families.operation import Operation, Parameters
from solo_invariance.families.paper import default, dorsal, ventral
from solo_invariance.families.photometric import ColorJitter, GaussianBlur, Grayscale, PhotometricOperation

__all__ = [
    "Canvas",
    "ColorJitter",
    "CropEntry",
    "CropPipeline",
    "Family",
    "GaussianBlur",
    "GeometricOperation",
    "Grayscale",
    "HorizontalFlip",
    "Operation",
    "Parameters",
    "PhotometricOperation",
    "ResizedCrop",
    "default",
    "default_canvas_size",
    "dorsal",
    "ventral",
]
