r"""The paper's synthetic transforms: for each a grid of parameters, and a way to apply them.

Grids and meanings: Ericsson, Gouk & Hospedales (2022) and its official code. Every transform takes one row of
parameters an image, so that images and parameters mix freely in a batch.
"""

from solo_invariance.measure.transforms.appearance import (
    blur,
    brightness,
    contrast,
    equalize,
    grayscale,
    hue,
    invert,
    posterize,
    saturation,
    sharpness,
)
from solo_invariance.measure.transforms.deformation import deform
from solo_invariance.measure.transforms.spatial import (
    h_flip,
    resized_crop,
    rotation,
    scale,
    shear,
    translation,
    v_flip,
)
from solo_invariance.measure.transforms.transform import Geometry, ResizeCrop, Transform, centre_crop

__all__ = [
    "Geometry",
    "ResizeCrop",
    "Transform",
    "blur",
    "brightness",
    "centre_crop",
    "contrast",
    "deform",
    "equalize",
    "grayscale",
    "h_flip",
    "hue",
    "invert",
    "posterize",
    "resized_crop",
    "rotation",
    "saturation",
    "scale",
    "sharpness",
    "shear",
    "translation",
    "v_flip",
]
