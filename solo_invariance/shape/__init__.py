"""Changing what a trained backbone ignores: ``shape(backbone, mode, transforms)``, see ``shape.run.shape``."""

from solo_invariance.backbones.shaping import FactorMoments, OrbitFeatures, Reached, Shaper, ShapingReference
from solo_invariance.callable_package import make_callable
from solo_invariance.shape.closed_forms import (
    Directions,
    Projection,
    covariance_with,
    erasing,
    ordered_directions,
    shrunk,
)
from solo_invariance.shape.moments import ColumnSums, TransformSums
from solo_invariance.shape.page import PageSettings, write_page
from solo_invariance.shape.run import Shaped, shape
from solo_invariance.shape.settings import ShapeSettings
from solo_invariance.shape.shapers import Centre, Dial, Erase, Orbit, pooled

__all__ = [
    "Centre",
    "ColumnSums",
    "Dial",
    "Directions",
    "Erase",
    "FactorMoments",
    "Orbit",
    "OrbitFeatures",
    "PageSettings",
    "Projection",
    "Reached",
    "ShapeSettings",
    "Shaped",
    "Shaper",
    "ShapingReference",
    "TransformSums",
    "covariance_with",
    "erasing",
    "ordered_directions",
    "pooled",
    "shape",
    "shrunk",
    "write_page",
]

make_callable(__name__, "solo_invariance.shape.run:shape")
