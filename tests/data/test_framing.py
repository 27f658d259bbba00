from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs
from torch import Tensor
from torchvision import transforms

from solo_invariance.data.decoding import Unreadable
from solo_invariance.data.framing import FramedImages, Framing, SquareCrops
from solo_invariance.data.images import TensorImages

SIZES = [(301, 173), (173, 301), (97, 97), (37, 51), (224, 300), (640, 225), (225, 224)]


def _with_mark(width: int, height: int, x: float, y: float) -> Tensor:
    """An image, uint8 (3, height, width), with a bright mark centred at x, y; 0 is the centre of the first pixel."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    spread = 0.02 * min(width, height)
    mark = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * spread**2))
    return torch.from_numpy(mark.round().astype(np.uint8)).expand(3, -1, -1).contiguous()


def _centre_of(image: Tensor) -> list[float]:
    mass = image[0].double()
    total = mass.sum()
    return [float((mass.sum(axis) * torch.arange(mass.shape[1 - axis])).sum() / total) for axis in (0, 1)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("size", [64, 224])
def test_a_point_is_where_the_mark_that_was_drawn_at_it_is(width: int, height: int, size: int) -> None:
    middle, short = torch.tensor([width / 2, height / 2]), min(width, height)
    for offset in ([0.0, 0.0], [0.23, -0.31], [-0.37, 0.11]):
        point = middle + short * torch.tensor(offset)
        framed = Framing(size).frame(_with_mark(width, height, *point.tolist()))
        assert framed.shape == (3, size, size)
        assert _centre_of(framed) == pytest.approx(Framing(size).points(point, width, height).tolist(), abs=0.05)


def test_points_of_any_shape_may_lie_outside_of_the_square() -> None:
    points = torch.tensor([[[0.0, 0.0], [199.0, 99.0]], [[-50.0, 49.5], [99.5, 49.5]]])
    framed = Framing(50).points(points, width=200, height=100)
    assert torch.equal(
        framed, torch.tensor([[[-25.25, -0.25], [74.25, 49.25]], [[-50.25, 24.5], [24.5, 24.5]]]).double()
    )


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_square_is_that_of_torchvision(width: int, height: int) -> None:
    photo = Image.fromarray(photographs.astronaut()).resize((width, height))
    expected = transforms.Compose([transforms.Resize(224), transforms.CenterCrop(224), transforms.PILToTensor()])(photo)
    assert torch.equal(Framing(224).frame(transforms.functional.pil_to_tensor(photo)), expected)


def test_what_cannot_be_read_is_passed_on(tmp_path: Path) -> None:
    class Broken(TensorImages):
        def __getitem__(self, index: int) -> Unreadable:  # type: ignore[override]
            return broken

    broken = Unreadable(tmp_path, "broken.png: not a readable image")
    source = Broken(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), name="scene")
    framed, crops = FramedImages(source, Framing(4)), SquareCrops(source, torch.tensor([[0, 0, 4]] * 2))
    assert framed[1] is crops[1] is broken
    assert (len(framed), framed.name_of(1)) == (len(crops), crops.name_of(1)) == (2, "scene 1")


@pytest.mark.parametrize(("left", "top", "side"), [(5, 3, 20), (-7, 2, 30), (20, -9, 40), (-5, -5, 90), (30, 40, 15)])
def test_square_crops_are_those_of_pillow_black_beyond_the_border(left: int, top: int, side: int) -> None:
    photo = Image.fromarray(photographs.astronaut()).resize((41, 53))
    crops = SquareCrops(
        TensorImages(transforms.functional.pil_to_tensor(photo)[None]), torch.tensor([[left, top, side]])
    )
    expected = transforms.functional.pil_to_tensor(photo.crop((left, top, left + side, top + side)))
    assert torch.equal(crops[0], expected)


def test_digests_differ_where_the_squares_do() -> None:
    images = TensorImages(torch.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8).to(torch.uint8))
    squares = torch.tensor([[0, 0, 4], [0, 0, 4]])
    views = [
        images,
        FramedImages(images, Framing(4)),
        FramedImages(images, Framing(5)),
        SquareCrops(images, squares),
        SquareCrops(images, squares + torch.tensor([1, 0, 0])),
        SquareCrops(images, squares + torch.tensor([0, 0, 1])),
        FramedImages(SquareCrops(images, squares), Framing(4)),
    ]
    digests = [view.digest(index) for view in views for index in range(2)]
    assert len({*digests}) == len(digests)
    assert FramedImages(images, Framing(4)).digest(0) == digests[2]
