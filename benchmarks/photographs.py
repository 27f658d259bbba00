"""scikit-image's photographs."""

import numpy as np
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from solo_invariance.families import Canvas, CanvasImage, sizes_of

_SMALL = ("astronaut", "coffee", "chelsea", "rocket")
NAMES = (*_SMALL, "retina", "hubble_deep_field")


def photograph(name: str) -> np.ndarray:
    """Return a photograph, uint8 (H, W, 3)."""
    return getattr(data, name)()


def canvases_of(batch: int, size: int, device: torch.device, whole: bool = False) -> Tensor:
    """Return canvases of photographs, uint8 (batch, 3, size, size): their centre squares, or the whole, stretched."""
    images = torch.stack([one.pixels for one in _canvases(size, whole)])
    return images.repeat(-(-batch // len(images)), 1, 1, 1)[:batch].to(device)


def file_sizes(batch: int, whole: bool) -> Tensor:
    """Return heights and widths (batch, 2) of what ``canvases_of`` shows, in pixels of the photographs."""
    sizes = sizes_of([one.extent for one in _canvases(1, whole)])
    return sizes.repeat(-(-batch // len(sizes)), 1)[:batch]


def _canvases(size: int, whole: bool) -> list[CanvasImage]:
    return [Canvas(size, whole=whole)(Image.fromarray(photograph(name))) for name in _SMALL]
