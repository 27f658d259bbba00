"""Families beyond the paper's three: each asks for one more kind of invariance. Compose them as you like."""

from solo_invariance.families.family import Family
from solo_invariance.families.operations.appearance import (
    ColorJitter,
    Equalize,
    GaussianBlur,
    Grayscale,
    Posterize,
    Solarize,
)
from solo_invariance.families.operations.corruption import JPEG, GaussianNoise, MotionBlur
from solo_invariance.families.operations.illumination import ColorTemperature, SmoothBrightness, SmoothShadow
from solo_invariance.families.operations.occlusion import Erasing
from solo_invariance.families.operations.spatial import (
    Elastic,
    Perspective,
    Rotation,
    Scale,
    Shear,
)

geometric = Family(
    "geometric",
    (
        Rotation(degrees=(-30.0, 30.0)),
        Scale(factor=(0.75, 1.25)),
        Shear(x=(-15.0, 15.0), y=(-15.0, 15.0)),
        Perspective(distortion=0.4, p=0.5),
        Elastic(magnitude=(0.0, 0.03), cells=4, p=0.5),
    ),
    invariant_to="pose: angle, size, slant and bending",
)

photometric = Family(
    "photometric",
    (
        ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
        ColorTemperature(kelvin=(3500.0, 12000.0), p=0.5),
        SmoothBrightness(stops=(0.2, 0.8), cells=2, p=0.5),
        SmoothShadow(darkness=(0.3, 0.7), softness=0.15, cells=3, p=0.3),
        Equalize(p=0.1),
        Solarize(p=0.1),
        Posterize(bits=(3, 6), p=0.1),
    ),
    invariant_to="light: its colour, strength and shadows; tone curves",
)

occlusion = Family(
    "occlusion",
    (Erasing(scale=(0.05, 0.33), ratio=(0.3, 3.3), fill="mean", p=1.0),),
    invariant_to="parts being hidden",
)

corruption = Family(
    "corruption",
    (
        MotionBlur(length=(0.02, 0.08), p=0.5),
        GaussianNoise(std=(0.01, 0.1), p=0.5),
        JPEG(quality=(20.0, 80.0), p=0.5),
    ),
    invariant_to="image quality: noise, motion blur and compression",
)

strong_dorsal = Family(
    "strong_dorsal",
    (
        ColorJitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.8),
        Grayscale(p=1.0),
        GaussianBlur(sigma=(0.1, 2.0), p=1.0),
        Solarize(p=0.2),
    ),
    invariant_to="all colour, sharpness and tone",
)

identity = Family("identity", (), invariant_to="nothing: both views are the image")
