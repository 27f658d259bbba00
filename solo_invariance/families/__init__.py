"""Augmentation families: data, a way to draw parameters and a way to apply them. ``families()`` lists them by name."""

from solo_invariance.callable_package import make_callable
from solo_invariance.families.canvas import Canvas, CanvasImage, default_canvas_size, sizes_of
from solo_invariance.families.catalogue import OPERATIONS, build_family, compose, with_operations
from solo_invariance.families.crops import CropEntry, CropPipeline
from solo_invariance.families.extended import (
    corruption,
    geometric,
    identity,
    occlusion,
    photometric,
    strong_dorsal,
)
from solo_invariance.families.family import Family, FamilyTransform
from solo_invariance.families.family_views import FamilyViews
from solo_invariance.families.named import families
from solo_invariance.families.operations.appearance import (
    ColorJitter,
    Equalize,
    GaussianBlur,
    Grayscale,
    OccasionalOperation,
    PhotometricOperation,
    Posterize,
    Solarize,
)
from solo_invariance.families.operations.corruption import JPEG, GaussianNoise, MotionBlur
from solo_invariance.families.operations.illumination import ColorTemperature, SmoothBrightness, SmoothShadow
from solo_invariance.families.operations.occlusion import Erasing
from solo_invariance.families.operations.operation import (
    Operation,
    Parameters,
    check_number,
    check_probability,
    check_range,
    draw_applied,
    uniform,
)
from solo_invariance.families.operations.spatial import (
    CentreCrop,
    Elastic,
    Framing,
    GeometricOperation,
    HorizontalFlip,
    Perspective,
    ResizedCrop,
    Rotation,
    Scale,
    Shear,
    Translation,
    VerticalFlip,
)
from solo_invariance.families.paper import default, dorsal, ventral
from solo_invariance.families.sensitivity import SensitivityLoss

__all__ = [
    "JPEG",
    "OPERATIONS",
    "Canvas",
    "CanvasImage",
    "CentreCrop",
    "ColorJitter",
    "ColorTemperature",
    "CropEntry",
    "CropPipeline",
    "Elastic",
    "Equalize",
    "Erasing",
    "Family",
    "FamilyTransform",
    "FamilyViews",
    "Framing",
    "GaussianBlur",
    "GaussianNoise",
    "GeometricOperation",
    "Grayscale",
    "HorizontalFlip",
    "MotionBlur",
    "OccasionalOperation",
    "Operation",
    "Parameters",
    "Perspective",
    "PhotometricOperation",
    "Posterize",
    "ResizedCrop",
    "Rotation",
    "Scale",
    "SensitivityLoss",
    "Shear",
    "SmoothBrightness",
    "SmoothShadow",
    "Solarize",
    "Translation",
    "VerticalFlip",
    "build_family",
    "check_number",
    "check_probability",
    "check_range",
    "compose",
    "corruption",
    "default",
    "default_canvas_size",
    "dorsal",
    "draw_applied",
    "families",
    "geometric",
    "identity",
    "occlusion",
    "photometric",
    "sizes_of",
    "strong_dorsal",
    "uniform",
    "ventral",
    "with_operations",
]

make_callable(__name__, "solo_invariance.families.named:families")
