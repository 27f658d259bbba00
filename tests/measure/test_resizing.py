"""Resizing, against Pillow and torchvision."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as F
from PIL import Image

from solo_invariance.measure.transforms.resizing import Axis, resize


@pytest.mark.parametrize(
    ("size", "out"),
    [((375, 500), (256, 341)), ((500, 333), (384, 256)), ((106, 192), (224, 224)), ((900, 700), (73, 57))],
)
@pytest.mark.parametrize("levels", [2, 256])
def test_some_pixels_of_resized_images_have_pillows_bytes(size, out, levels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, levels, (*size, 3)) * (255 // (levels - 1))
    image = Image.fromarray(pixels.astype(np.uint8))
    expected = np.asarray(image.resize(out[::-1], Image.Resampling.BILINEAR))[11:51, 7:57]
    rows, columns = Axis(size[0], out[0], 11, 40), Axis(size[1], out[1], 7, 50)
    (top, bottom), (left, right) = rows.span, columns.span
    values = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    seen = values[..., top:bottom, left:right]
    ours = resize(seen, rows, columns, eight_bits=True)[0].permute(1, 2, 0).mul(255)
    assert np.array_equal(ours.round().byte().numpy(), expected)
    exact = F.resize(values, list(out), antialias=True)[..., 11:51, 7:57]
    torch.testing.assert_close(resize(seen, rows, columns, eight_bits=False), exact, atol=1e-5, rtol=0)
