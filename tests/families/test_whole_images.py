"""Views of photographs that are not square, against torchvision's pipeline on the photographs themselves."""

from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.v2.functional as F
from PIL import Image
from skimage import data
from torch import Tensor
from torchvision.transforms import RandomResizedCrop

from solo_invariance.families import (
    Canvas,
    ColorJitter,
    Family,
    GaussianBlur,
    HorizontalFlip,
    ResizedCrop,
    Rotation,
    compose,
    dorsal,
    identity,
    sizes_of,
    ventral,
    with_operations,
)

SHAPES = {"landscape": (500, 375), "portrait": (375, 500), "panorama": (600, 200)}
DRAWS = 3000


def _photograph(name: str, width: int, height: int) -> Image.Image:
    """A photograph's largest central part of some shape, resized to it."""
    image = Image.fromarray(getattr(data, name)())
    factor = min(image.width / width, image.height / height)
    kept = width * factor, height * factor
    left, top = (image.width - kept[0]) / 2, (image.height - kept[1]) / 2
    box = (left, top, left + kept[0], top + kept[1])
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box)


PHOTOGRAPHS = [
    _photograph(name, *shape)
    for name in ("astronaut", "coffee", "chelsea", "rocket")
    for shape in ((500, 375), (375, 500))
]


def _views(family: Family, images: list[Image.Image], size: int = 224, canvas: Canvas | None = None) -> Tensor:
    canvases = [(canvas or Canvas(256, sharp=True))(image) for image in images]
    sizes = sizes_of([one.extent for one in canvases])
    parameters = family.draw(len(images), torch.Generator().manual_seed(0), sizes)
    return family.apply(torch.stack([one.pixels for one in canvases]), parameters, size, sizes)


def _boxes(width: int, height: int, seed: int = 0) -> Tensor:
    """Our boxes in pixels of the image: left, top, width and height."""
    sizes = torch.tensor([[height, width]]).expand(DRAWS, 2)
    drawn = ventral.draw(DRAWS, torch.Generator().manual_seed(seed), sizes)[0]["box"]
    return (drawn * torch.tensor([width, height, width, height])).double()


def _torchvisions(width: int, height: int) -> Tensor:
    torch.manual_seed(5)
    image = torch.empty(3, height, width, device="meta")
    drawn = [_params(image) for _ in range(DRAWS)]
    top, left, high, wide = torch.tensor(drawn, dtype=torch.float64).unbind(dim=1)
    return torch.stack([left, top, wide, high], dim=1)


def _params(image: Tensor) -> list[int]:
    return list(RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]))


def _overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union."""
    start = torch.maximum(first[:, :2], second[:, :2])
    end = torch.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])
    shared = (end - start).clamp(min=0).prod(dim=1)
    return shared / (first[:, 2:].prod(dim=1) + second[:, 2:].prod(dim=1) - shared)


@pytest.mark.parametrize("shape", SHAPES)
def test_crops_are_boxes_of_the_whole_file_as_torchvisions(
    shape: str, kolmogorov_smirnov: Callable[..., float]
) -> None:
    width, height = SHAPES[shape]
    ours, theirs = _boxes(width, height), _torchvisions(width, height)
    generator = torch.Generator().manual_seed(2)
    # A whole number of pixels, as torchvision's have, must not decide.
    theirs = theirs + torch.rand(theirs.shape, generator=generator, dtype=torch.float64) - 0.5
    for name, found, expected in (
        ("area", ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]),
        ("ratio", ours[:, 2] / ours[:, 3], theirs[:, 2] / theirs[:, 3]),
        ("left", ours[:, 0], theirs[:, 0]),
        ("top", ours[:, 1], theirs[:, 1]),
        ("overlap", *(_overlap(*boxes.chunk(2)) for boxes in (ours, theirs))),
    ):
        # Edges of the image are common to many: torchvision's noise there is blurred alike in neither.
        assert abs(float(found.mean() - expected.mean())) < 4 * float(expected.std()) * (2 / len(found)) ** 0.5, name
        assert kolmogorov_smirnov(found, expected) < 1.2 or shape == "panorama", name
    outer = [((boxes[:, 0] < 4) | (boxes[:, 0] + boxes[:, 2] > width - 4)).double().mean() for boxes in (ours, theirs)]
    assert abs(float(outer[0] - outer[1])) < 0.04


def test_what_is_cut_out_is_the_box_of_the_file() -> None:
    image = PHOTOGRAPHS[0]
    sizes = torch.tensor([[375, 500]])
    canvas = Canvas(1000, sharp=True)(image)
    box = torch.tensor([[0.02, 0.1, 0.9, 0.5]])
    crop = Family("crop", (ResizedCrop(),))
    view = crop.apply(canvas.pixels[None], [{"box": box}], 96, sizes)[0]
    exact = F.resized_crop(image, top=37, left=10, height=188, width=450, size=[96, 96], antialias=True)
    expected = F.to_dtype(F.pil_to_tensor(exact), torch.float32, scale=True)
    assert (view - expected).square().mean().sqrt() < 0.03


@pytest.mark.parametrize("family", [dorsal, identity], ids=lambda family: family.name)
def test_a_family_that_does_not_crop_sees_the_unstretched_centre(family: Family) -> None:
    if family is dorsal:
        family = with_operations(dorsal, {name: {"p": 0.0} for name in ("color_jitter", "grayscale", "gaussian_blur")})
    for image, view in zip(PHOTOGRAPHS, _views(family, PHOTOGRAPHS, canvas=Canvas(512, sharp=True)), strict=True):
        framed = F.center_crop(F.resize(image, [224], antialias=True), [224, 224])
        expected = F.to_dtype(F.pil_to_tensor(framed), torch.float32, scale=True)
        assert (view - expected).square().mean().sqrt() < 0.02


def _gradient_energy(views: Tensor) -> Tensor:
    return sum((views.diff(dim=axis).square().sum(dim=(1, 2, 3)) for axis in (2, 3)), torch.zeros(len(views)))


def _kept(blurred: Callable[[float | None], Tensor]) -> list[float]:
    """The gradient energy that blur leaves, at a sigma of 0.5, 1 and 2 pixels of the file."""
    sharp = _gradient_energy(blurred(None))
    return [float((_gradient_energy(blurred(sigma)) / sharp).mean()) for sigma in (0.5, 1.0, 2.0)]


def _ours(sigma: float | None, canvas: Canvas | None = None) -> Tensor:
    numbers = {"p": 0.0} if sigma is None else {"p": 1.0, "sigma": sigma}
    changes = {"color_jitter": {"p": 0.0}, "grayscale": {"p": 0.0}, "gaussian_blur": numbers}
    return _views(with_operations(dorsal, changes), PHOTOGRAPHS, canvas=canvas)


def _official(sigma: float | None) -> Tensor:
    """Torchvision's blur of the file, then its resize and crop."""
    views = []
    for image in PHOTOGRAPHS:
        blurred = image if sigma is None else F.gaussian_blur(image, [23, 23], [sigma, sigma])
        views.append(F.pil_to_tensor(F.center_crop(F.resize(blurred, [224], antialias=True), [224, 224])))
    return torch.stack(views).float() / 255


def test_dorsals_blur_is_in_pixels_of_the_file() -> None:
    expected = _kept(_official)
    for canvas, limit in ((Canvas(256, sharp=True), 0.08), (Canvas(384, sharp=True), 0.025)):
        found = _kept(lambda sigma, canvas=canvas: _ours(sigma, canvas))
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < limit


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_a_blurred_view_is_the_view_of_the_blurred_file(sigma: float) -> None:
    """From a canvas that keeps nearly all of the file, pixel by pixel."""
    canvas = Canvas(600, sharp=True)
    sharp = (_ours(None, canvas) - _official(None)).square().mean().sqrt()
    off = (_ours(sigma, canvas) - _official(sigma)).square().mean().sqrt()
    assert off < sharp  # no less alike than they are without blur
    # And each as sharp, landscape or portrait.
    energy = _gradient_energy(_ours(sigma, canvas)) / _gradient_energy(_official(sigma))
    assert (energy - 1).abs().max() < 0.06


def test_after_a_crop_a_length_is_in_pixels_of_the_view() -> None:
    blur = Family("blur", (GaussianBlur(sigma=(2.0, 2.0), p=1.0),))
    crop = with_operations(ventral, {"resized_crop": {"scale": 1.0}, "horizontal_flip": {"p": 0.0}})
    views = _views(compose([crop, blur]), PHOTOGRAPHS)
    expected = F.gaussian_blur(_views(crop, PHOTOGRAPHS), [13, 13], [2.0, 2.0])
    torch.testing.assert_close(views, expected, atol=1e-5, rtol=0)


def test_before_a_crop_each_axis_is_blurred_by_its_own_scale() -> None:
    family = Family("zoom", (GaussianBlur(sigma=(2.0, 2.0), p=1.0), ResizedCrop()))
    drawn = family.draw(2, torch.Generator().manual_seed(0))
    image = torch.zeros(1, 3, 128, 128)
    image[:, :, 64, 64] = 1.0
    boxes = torch.tensor([[0.25, 0.0, 0.5, 1.0], [0.0, 0.25, 1.0, 0.5]])
    parameters = [drawn[0], {"box": boxes}]
    views = family.apply(image.expand(2, -1, -1, -1), parameters, 128)
    blurred = F.gaussian_blur(image, [13, 13], [2.0, 2.0])
    for view, (left, top, width, height) in zip(views, (boxes * 128).int().tolist(), strict=True):
        expected = F.resized_crop(blurred[0], top, left, height, width, [128, 128], antialias=True)
        assert (view - expected).abs().max() < 0.1 * expected.max()


def test_what_turns_before_a_crop_turns_the_centre_square() -> None:
    turned = Family("turned", (Rotation(degrees=(90.0, 90.0)), ResizedCrop(scale=(1.0, 1.0), ratio=(1.0, 1.0))))
    views = _views(turned, PHOTOGRAPHS)
    centre = _views(identity, PHOTOGRAPHS)
    assert (views - centre.rot90(1, (2, 3))).square().mean().sqrt() < 0.03
    mirrored = Family("mirrored", (HorizontalFlip(p=1.0), *ventral.operations))
    assert mirrored.draw(1, torch.Generator().manual_seed(0), torch.tensor([[100, 400]]))[1]["box"][0, 2] < 0.5


def test_an_images_view_does_not_depend_on_the_other_images_sizes() -> None:
    small = PHOTOGRAPHS[1].resize((40, 60))
    off = {"color_jitter": {"p": 0.0}, "grayscale": {"p": 0.0}}  # drawn for each image, as sigma is not
    strong = with_operations(dorsal, {"gaussian_blur": {"p": 1.0, "sigma": 1.5}, **off})
    alone = _views(strong, [PHOTOGRAPHS[0]], size=96)
    beside = _views(strong, [PHOTOGRAPHS[0], small], size=96)
    torch.testing.assert_close(alone[0], beside[0], atol=1e-5, rtol=0)


def test_square_images_of_known_size_are_what_they_are_without() -> None:
    canvases = torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for family in (ventral, dorsal, compose([ventral, Family("jitter", (ColorJitter(),))])):
        sizes = torch.full((6, 2), 64)
        drawn = [family.draw(6, torch.Generator().manual_seed(1), known) for known in (sizes, None)]
        views = [family.apply(canvases, drawn[0], 64, sizes), family.apply(canvases, drawn[1], 64)]
        assert torch.equal(*views)
    with pytest.raises(ValueError, match=r"sizes \(5, 2\): expected a height and a width for 6 images"):
        ventral.apply(canvases, ventral.draw(6, torch.Generator()), 64, sizes[:5])
