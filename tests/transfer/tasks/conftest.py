from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from solo_invariance.data.framing import FramedImages, Framing
from solo_invariance.transfer.tasks import Split

Mark = Callable[[Path, tuple[int, int], tuple[float, float]], None]
Find = Callable[[Split, int, int], tuple[float, float]]


@pytest.fixture
def mark() -> Mark:
    """Save an image, black but for a bright mark: of which file, width and height, and x and y of the mark."""

    def save(path: Path, size: tuple[int, int], point: tuple[float, float]) -> None:
        columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
        spread = 0.02 * min(size)
        grey = 255 * np.exp(-((columns - point[0]) ** 2 + (rows - point[1]) ** 2) / (2 * spread**2))
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"quality": 100} if path.suffix == ".jpg" else {}
        Image.fromarray(grey.round().astype(np.uint8)).convert("RGB").save(path, **options)

    return save


@pytest.fixture
def find() -> Find:
    """Return x and y of the mark in what a network sees of a split's image, in a square of so many pixels."""

    def centre(split: Split, index: int, crop_size: int) -> tuple[float, float]:
        image = FramedImages(split.images, Framing(crop_size))[index]
        assert isinstance(image, torch.Tensor)
        assert image.shape == (3, crop_size, crop_size)
        mass = image[0].double() * (image[0] > 40)
        x, y = ((mass.sum(axis) * torch.arange(crop_size)).sum() / mass.sum() for axis in (0, 1))
        return float(x), float(y)

    return centre


@pytest.fixture
def grey() -> Callable[[Path, int], None]:
    """Save a small image of one grey value."""

    def save(path: Path, value: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (value,) * 3).save(path, **({"quality": 100} if path.suffix == ".jpg" else {}))

    return save
