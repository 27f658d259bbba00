"""scikit-image's photographs."""

import numpy as np
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from solo_invariance.families import Canvas

_SMALL = ("astronaut", "coffee", "chelsea", "rocket")
NAMES = (*_SMALL, "retina", "hubble_deep_field")


def photograph(name: str) -> np.ndarray:
    """Return a photograph, uint8 (H, W, 3)."""
    return getattr(data, name)()


def canvases_of(batch: int, size: int, device: torch.device) -> Tensor:
    """Return canvases of photographs, uint8 (batch, 3, size, size)."""
    images = torch.stack([Canvas(size)(Image.fromarray(photograph(name))) for name in _SMALL])
    return images.repeat(-(-batch // len(images)), 1, 1, 1)[:batch].to(device)
