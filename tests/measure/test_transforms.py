import pytest
import torch
import torchvision.transforms.functional as F
from PIL import Image

from solo_invariance.measure import Geometry
from solo_invariance.measure.transforms import centre_crop
from solo_invariance.plugins import discover, load_plugin

GEOMETRY = Geometry(256, 224)


def _crop(image: torch.Tensor) -> torch.Tensor:
    return F.center_crop(image, [224, 224])


def _eight_bits(image: torch.Tensor) -> torch.Tensor:
    return (image * 255).round().byte()


# What torchvision does for the same parameters; the official code calls these.
REFERENCE = {
    "rotation": lambda x, angle: _crop(F.rotate(x, angle)),
    "translation": lambda x, a, b, shear: _crop(F.affine(x, 0.0, [a, b], 1.0, shear)),
    "scale": lambda x, factor, shear: _crop(F.affine(x, 0.0, [0, 0], factor, shear)),
    "shear": lambda x, a, b: _crop(F.affine(x, 0.0, [0, 0], 1.0, [a, b])),
    "resized_crop": lambda x, t, left, h, w: F.resized_crop(
        x, int(t), int(left), int(h), int(w), [224, 224], antialias=True
    ),
    "h_flip": lambda x, on: _crop(F.hflip(x) if on else x),
    "v_flip": lambda x, on: _crop(F.vflip(x) if on else x),
    "brightness": lambda x, factor: _crop(F.adjust_brightness(x, factor)),
    "contrast": lambda x, factor: _crop(F.adjust_contrast(x, factor)),
    "saturation": lambda x, factor: _crop(F.adjust_saturation(x, factor)),
    "hue": lambda x, turns: _crop(F.adjust_hue(x, turns)),
    "blur": lambda x, sigma: _crop(F.gaussian_blur(x, [23, 23], [sigma, sigma])),
    "sharpness": lambda x, factor: _crop(F.adjust_sharpness(x, factor)),
    "posterize": lambda x, bits: _crop(F.posterize(_eight_bits(x), int(bits)) / 255),
    "grayscale": lambda x, on: _crop(F.rgb_to_grayscale(x, 3) if on else x),
    "invert": lambda x, on: _crop(F.invert(x) if on else x),
    "equalize": lambda x, on: _crop(F.equalize(_eight_bits(x)) / 255 if on else x),
}


@pytest.mark.parametrize("protocol", ["paper", "clean"])
@pytest.mark.parametrize("name", REFERENCE)
def test_same_parameters_same_image_as_torchvision(name: str, protocol, photo: torch.Tensor) -> None:
    transform = load_plugin("transforms", name)
    grid = transform.grid(16, GEOMETRY, protocol)
    views = transform.apply(photo.expand(len(grid), -1, -1, -1), grid, GEOMETRY)
    expected = torch.cat([REFERENCE[name](photo, *row) for row in grid.tolist()])
    difference = (views - expected).abs()
    # Where a nearest pixel lies on the border of two, rounding decides: a few pixels in a thousand, but many at a
    # scale of exactly 1/4.
    assert (difference > 1e-3).float().mean() < {"scale": 2e-2, "rotation": 3e-3}.get(name, 1e-3)
    assert difference.mean() < {"scale": 1e-3, "rotation": 3e-4}.get(name, 1e-4)


# The same on 8-bit images, which are Pillow's; they are resized after they were transformed.
PILLOW = {
    **REFERENCE,
    "posterize": lambda x, bits: F.posterize(x, int(bits)),
    "equalize": lambda x, on: F.equalize(x) if on else x,
}
# The share of values that single precision puts a level off, where Pillow computes in whole numbers or in double.
ROUNDED = {"saturation": 2e-3, "grayscale": 2e-3, "blur": 5e-4, "hue": 1e-4}


def _seen(image: Image.Image) -> Image.Image:
    return F.center_crop(F.resize(image, 256), 224)


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (720, 540), (150, 210), (256, 299), (256, 256)])
@pytest.mark.parametrize("name", PILLOW)
def test_same_bytes_as_the_official_code(name: str, size, photo: torch.Tensor, monkeypatch) -> None:
    monkeypatch.setattr(f"{__name__}._crop", lambda image: image)
    transform, image = load_plugin("transforms", name), F.resize(F.to_pil_image(photo[0]), size)
    grid = transform.grid(256 if name == "resized_crop" else 16, GEOMETRY, "paper")[::3]
    levels = F.pil_to_tensor(image)[None]
    views = transform.apply_in_eight_bits((levels / 255).expand(len(grid), -1, -1, -1), grid, GEOMETRY)
    finish = {"resized_crop": lambda view: view}.get(name, _seen)
    official = {**PILLOW, "resized_crop": lambda x, *box: F.resized_crop(x, *box, [224, 224])}
    expected = [F.pil_to_tensor(finish(official[name](image, *row))) for row in grid.tolist()]
    torch.testing.assert_close(views, _eight_bits(views) / 255)
    levels_off = (_eight_bits(views).int() - torch.stack(expected)).abs()
    assert (levels_off > 0).float().mean() <= ROUNDED.get(name, 0)
    assert (levels_off > 1).float().mean() <= ROUNDED.get(name, 0) / 10


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (150, 210)])
def test_the_centre_crop_has_pillows_bytes(size, photo: torch.Tensor) -> None:
    image = F.resize(F.to_pil_image(photo[0]), size)
    assert torch.equal(centre_crop(F.pil_to_tensor(image)[None], GEOMETRY)[0], F.pil_to_tensor(_seen(image)))
    levels = F.pil_to_tensor(image)[None] / 255
    expected = F.center_crop(F.resize(levels, 256, antialias=True), 224)
    torch.testing.assert_close(centre_crop(levels, GEOMETRY), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", PILLOW)
def test_one_image_expanded_is_transformed_as_many_are(name: str, photo: torch.Tensor) -> None:
    """What does not depend on the parameter is computed once where all views are of one image."""
    transform = load_plugin("transforms", name)
    grid = transform.grid(4, GEOMETRY, "paper")
    image = photo.expand(len(grid), -1, -1, -1)
    for apply in (transform.apply, transform.apply_in_eight_bits):
        torch.testing.assert_close(apply(image, grid, GEOMETRY), apply(image.contiguous(), grid, GEOMETRY))


def test_every_transform_of_the_paper_is_there() -> None:
    assert {plugin.name for plugin in discover("transforms")} >= {*REFERENCE, "deform"}


@pytest.mark.parametrize(
    ("name", "first", "last", "count"),
    [
        ("rotation", [0.0], [360 - 360 / 256], 256),
        ("translation", [-16.0, -16.0, 1.0], [14.0, 14.0, 1.0], 256),
        ("scale", [0.25, 1.0], [2.0, 1.0], 256),
        ("shear", [-160.0, -160.0], [140.0, 140.0], 256),
        ("resized_crop", [0, 0, 192, 192], [64, 64, 64, 64], 256),
        ("deform", [10.0, 0.0, 50.0, 0.0], [50.0, 255.0, 50.0, 0.0], 256),
        ("brightness", [0.25], [5.0], 256),
        ("hue", [-0.5], [0.5], 256),
        ("blur", [1e-5], [20.0], 256),
        ("sharpness", [1.0], [30.0], 256),
        ("posterize", [1.0], [7.0], 7),
        ("equalize", [0.0], [1.0], 2),
    ],
)
def test_grids_are_the_papers(name: str, first, last, count: int) -> None:
    grid = load_plugin("transforms", name).grid(256, GEOMETRY, "paper")
    assert len(grid) == count
    torch.testing.assert_close(grid[0], torch.tensor(first, dtype=torch.float32), atol=1e-4, rtol=0)
    torch.testing.assert_close(grid[-1], torch.tensor(last, dtype=torch.float32), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "name", ["rotation", "translation", "shear", "h_flip", "sharpness", "blur", "grayscale", "deform"]
)
def test_the_identity_is_found_and_changes_nothing(name: str, photo: torch.Tensor) -> None:
    transform = load_plugin("transforms", name)
    grid = transform.grid(16, GEOMETRY, "clean")
    identity = transform.identity(grid)
    assert identity is not None
    view = transform.apply(photo, grid[identity : identity + 1], GEOMETRY)
    torch.testing.assert_close(view, _crop(photo), atol=1e-4, rtol=0)


def test_identity_is_none_where_the_grid_has_none() -> None:
    for name in ("brightness", "scale", "hue", "posterize"):
        transform = load_plugin("transforms", name)
        assert transform.identity(transform.grid(16, GEOMETRY, "clean")) is None


@pytest.mark.parametrize(("name", "low", "high"), [("rotation", 0.0, 360.0), ("hue", -0.5, 0.5)])
def test_coordinates_have_no_jump_where_the_parameter_comes_round(name: str, low: float, high: float) -> None:
    ends = load_plugin("transforms", name).coordinates(torch.tensor([[low], [high], [(low + high) / 2]]))
    torch.testing.assert_close(ends[0], ends[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(ends[2], -ends[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(ends.norm(dim=1), torch.ones(3))


def test_coordinates_leave_out_what_is_no_parameter() -> None:
    for name, width in (("translation", 2), ("scale", 1), ("deform", 1), ("shear", 2), ("resized_crop", 4)):
        transform = load_plugin("transforms", name)
        grid = transform.grid(16, Geometry(), "paper")
        assert transform.coordinates(grid).shape == (len(grid), width)


def test_only_the_papers_shear_keeps_the_identity_from_changing_nothing() -> None:
    for protocol, exact in (("clean", True), ("paper", False)):
        for name in ("translation", "scale"):
            transform = load_plugin("transforms", name)
            grid = transform.grid(64, Geometry(), protocol)
            assert transform.is_exact(grid, transform.identity(grid) or 0) == exact
    rotation = load_plugin("transforms", "rotation")
    assert rotation.is_exact(rotation.grid(8, Geometry(), "paper"), 0)
