from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision.transforms.v2.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from solo_invariance.data.decoding import decode_scaled
from solo_invariance.errors import UserError
from solo_invariance.families import (
    OPERATIONS,
    Canvas,
    CropEntry,
    CropPipeline,
    Family,
    PhotometricOperation,
    ResizedCrop,
    compose,
    corruption,
    default,
    default_canvas_size,
    dorsal,
    geometric,
    identity,
    occlusion,
    photometric,
    strong_dorsal,
    ventral,
    with_operations,
)

FAMILIES = [
    default,
    ventral,
    dorsal,
    geometric,
    photometric,
    occlusion,
    corruption,
    strong_dorsal,
    identity,
    compose([ventral, geometric, photometric, occlusion, corruption]),
    Family("everything", tuple(kind() for kind in OPERATIONS.values())),
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("crop_size", [32, 96, 224])
def test_views_have_the_crop_size_and_stay_in_range(family, crop_size) -> None:
    size = default_canvas_size(crop_size)
    canvases = torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8)
    views = family.apply(canvases, family.draw(3, torch.Generator().manual_seed(0)), crop_size)
    assert views.shape == (3, 3, crop_size, crop_size)
    assert views.dtype == torch.float32
    assert views.min() >= -1e-6
    assert views.max() <= 1 + 1e-6


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_replayed_parameters_give_the_same_views(family) -> None:
    canvases = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    parameters = family.draw(8, torch.Generator().manual_seed(3))
    assert torch.equal(family.apply(canvases, parameters, 32), family.apply(canvases, parameters, 32))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_an_images_view_does_not_depend_on_the_batch(family) -> None:
    canvases = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    parameters = family.draw(8, torch.Generator().manual_seed(3))
    whole = family.apply(canvases, parameters, 32)
    for index in range(8):
        alone = family.apply(
            canvases[index : index + 1], [{k: v[index : index + 1] for k, v in p.items()} for p in parameters], 32
        )
        torch.testing.assert_close(alone[0], whole[index], atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_nothing_is_asked_of_the_device(family, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device there are no values to wait for: whatever reads one from the device fails there."""

    def grid_sample(images: Tensor, grid: Tensor, **options: object) -> Tensor:
        assert images.device.type == grid.device.type == "meta"
        assert len(images) == len(grid)
        return images.new_empty(*images.shape[:2], *grid.shape[1:3])

    # PyTorch's own takes a fifth of a second there, hundreds of times.
    monkeypatch.setattr(torch.nn.functional, "grid_sample", grid_sample)
    for size, crop_size in ((64, 64), (73, 64)):
        canvases = torch.empty(4, 3, size, size, dtype=torch.uint8, device="meta")
        views = family.apply(canvases, family.draw(4, torch.Generator().manual_seed(0)), crop_size)
        assert views.device.type == "meta"
        assert views.shape == (4, 3, crop_size, crop_size)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_half_precision_is_in_and_out_not_between(family, dtype, canvas) -> None:
    canvases = canvas.expand(8, -1, -1, -1)
    parameters = family.draw(8, torch.Generator().manual_seed(0))
    exact = family.apply(canvases, parameters, 48)
    with torch.autocast("cpu", dtype=dtype):
        under_autocast = family.apply(canvases, parameters, 48)
    assert under_autocast.dtype == torch.float32
    assert torch.equal(under_autocast, exact)
    images = canvases.to(dtype) / 255
    views = family.apply(images, parameters, 48)
    assert views.dtype == dtype
    assert torch.equal(views, family.apply(images.float(), parameters, 48).to(dtype))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_image_gets_its_own_draw(family, canvas) -> None:
    views = family.apply(canvas.expand(12, -1, -1, -1), family.draw(12, torch.Generator().manual_seed(0)), 64)
    if family.operations:
        assert len({view.numpy().tobytes() for view in views}) > 6
    else:
        torch.testing.assert_close(views, canvas.expand(12, -1, -1, -1) / 255)


def test_ventral_keeps_the_colours_and_dorsal_the_places() -> None:
    red = torch.zeros(64, 3, 32, 32, dtype=torch.uint8)
    red[:, 0] = 200
    generator = torch.Generator().manual_seed(0)
    torch.testing.assert_close(
        ventral.apply(red, ventral.draw(64, generator), 32), red.float() / 255, atol=1e-5, rtol=0
    )
    square = torch.zeros(64, 3, 32, 32, dtype=torch.uint8)
    square[:, :, 4:12, 4:12] = 255
    views = dorsal.apply(square, dorsal.draw(64, generator), 32)
    corner, opposite = views[..., 4:12, 4:12].mean(dim=(1, 2, 3)), views[..., 20:28, 20:28].mean(dim=(1, 2, 3))
    assert (corner > opposite + 0.2).all()


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    default.apply(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), default.draw(2, torch.Generator().manual_seed(0)), 32)
    pipeline = CropPipeline((CropEntry(default, 32, 2),), (0.5,) * 3, (0.5,) * 3)
    pipeline(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), (0, 0, 0, 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_fingerprint_tells_what_a_family_does_not_what_it_is_called() -> None:
    assert replace(ventral, name="other").fingerprint() == ventral.fingerprint()
    assert len({family.fingerprint() for family in FAMILIES}) == len(FAMILIES)
    other = replace(ventral, operations=(ResizedCrop(scale=(0.1, 1.0)), *ventral.operations[1:]))
    assert other.fingerprint() != ventral.fingerprint()


def test_pipeline_makes_the_crops_in_the_entries_order_normalised() -> None:
    canvases = torch.full((4, 3, 64, 64), 255, dtype=torch.uint8)
    pipeline = CropPipeline((CropEntry(ventral, 64, 2), CropEntry(ventral, 24, 3)), (0.5, 0.4, 0.0), (0.5, 0.2, 1.0))
    crops = pipeline(canvases, (1, 0, 0, 0))
    assert [tuple(crop.shape[-2:]) for crop in crops] == [(64, 64)] * 2 + [(24, 24)] * 3
    expected = torch.tensor([1.0, 3.0, 1.0])[None, :, None, None].expand_as(crops[0])
    torch.testing.assert_close(crops[0], expected, atol=1e-4, rtol=0)


def test_crops_depend_on_seed_rank_epoch_and_batch_and_on_nothing_else() -> None:
    canvases = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    pipeline = CropPipeline((CropEntry(default, 32, 2),), (0.5,) * 3, (0.5,) * 3)
    crops = pipeline(canvases, (5, 0, 3, 7))
    assert all(torch.equal(a, b) for a, b in zip(crops, pipeline(canvases, (5, 0, 3, 7)), strict=True))
    last = pipeline(canvases, (5, 0, 3, 7), torch.channels_last)
    assert all(crop.is_contiguous(memory_format=torch.channels_last) for crop in last)
    assert all(torch.equal(a, b) for a, b in zip(crops, last, strict=True))
    assert not torch.equal(crops[0], crops[1])
    for other in ((6, 0, 3, 7), (5, 1, 3, 7), (5, 0, 4, 7), (5, 0, 3, 8)):
        assert not torch.equal(pipeline(canvases, other)[0], crops[0])


def test_canvas_of_photographs(photo) -> None:
    pixels = (photo[0].permute(1, 2, 0).numpy() * 255).round().astype("uint8")
    height, width = pixels.shape[:2]
    short = min(height, width)
    canvas, extent = Canvas(64, whole=False)(Image.fromarray(pixels))
    assert extent == f"{short}x{short}"
    assert canvas.shape == (3, 64, 64)
    assert canvas.dtype == torch.uint8
    square = F.center_crop(torch.from_numpy(pixels).permute(2, 0, 1), [256, 256])
    expected = F.resize(square.float(), [64, 64], antialias=True)
    # Pillow's filter sees the pixels beyond the square's border: the outermost columns differ.
    assert (canvas.float() - expected)[..., 1:-1].abs().max() <= 1.5
    whole, extent = Canvas(64)(Image.fromarray(pixels))
    assert extent == f"{height}x{width}"
    expected = F.resize(torch.from_numpy(pixels).permute(2, 0, 1).float(), [64, 64], antialias=True)
    assert (whole.float() - expected).abs().max() <= 1.5
    for kept in (True, False):
        assert Canvas(32, whole=kept)(Image.new("L", (50, 40), 7)).pixels.unique().tolist() == [7]
        tensor = Canvas(32, whole=kept)(torch.full((3, 40, 60), 9, dtype=torch.uint8))
        assert tensor.pixels.shape == (3, 32, 32)
        assert tensor.extent == ("40x60" if kept else "40x40")


def test_default_canvas_sizes() -> None:
    assert [default_canvas_size(size) for size in (32, 64, 96, 112, 224)] == [32, 64, 96, 128, 256]


@pytest.mark.parametrize("sharp", [False, True])
@pytest.mark.parametrize("size", [(1024, 1200), (1023, 777), (790, 1501)])
def test_large_jpegs_are_decoded_in_part_and_look_the_same(tmp_path, photo, size, sharp) -> None:
    pixels = F.resize(photo, list(size), antialias=True)[0].permute(1, 2, 0).mul(255).round().byte().numpy()
    path = str(tmp_path / "large.jpg")
    Image.fromarray(pixels).save(path, quality=92)
    drafted, file_size = decode_scaled(path, 384)
    assert drafted.size == tuple(-(-side // 2) for side in reversed(size))  # rounded up
    assert file_size == (size[1], size[0])
    full = Image.open(path)
    for whole in (True, False):
        canvas = Canvas(256, sharp, whole)
        loaded = canvas.load(path)
        assert canvas(loaded) is loaded
        assert loaded.extent == canvas(full).extent
        error = (loaded.pixels.float() - canvas(full).pixels.float()).square().mean().sqrt()
        assert error < 255 * 10 ** (-40 / 20)
    assert decode_scaled(path, 600)[0].size == full.size
    full.save(tmp_path / "large.png")
    assert decode_scaled(str(tmp_path / "large.png"), 384)[0].size == full.size


def test_a_sharp_canvas_keeps_more_of_the_photograph(photo) -> None:
    pixels = photo[0].permute(1, 2, 0).mul(255).round().byte().numpy()
    square = F.center_crop(photo, [256, 256])
    direct = F.resize(square, [112, 112], antialias=True)
    errors = []
    for sharp in (False, True):
        views = Canvas(128, sharp, whole=False)(Image.fromarray(pixels)).pixels[None].float() / 255
        errors.append(float((F.resize(views, [112, 112], antialias=True) - direct).square().mean()))
    assert errors[1] < 0.5 * errors[0]


def test_canvases_of_strange_files(tmp_path) -> None:
    canvas = Canvas(16)
    for name, image in {
        "grey.jpg": Image.new("L", (50, 40), 7),
        "cmyk.jpg": Image.new("CMYK", (50, 40)),
        "palette.png": Image.new("P", (50, 40)),
        "alpha.png": Image.new("RGBA", (50, 40)),
        "narrow.png": Image.new("RGB", (1, 500)),
        "deep.png": Image.new("I;16", (50, 40)),
    }.items():
        image.save(tmp_path / name)
        assert canvas.load(str(tmp_path / name)).pixels.shape == (3, 16, 16), name
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "grey.jpg").read_bytes()[:200])
    with pytest.raises(UserError, match=r"cut\.jpg: not a readable image"):
        canvas.load(str(tmp_path / "cut.jpg"))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 32, 40), "expected square ones"),
        (torch.zeros(2, 1, 32, 32), "expected square ones"),
        (torch.zeros(3, 32, 32), "expected square ones"),
        (torch.zeros(0, 3, 32, 32), "expected square ones"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.int64), "expected uint8"),
        (torch.zeros(4, 3, 32, 32), "were not drawn for 4 images"),
    ],
)
def test_wrong_images_are_refused(images: torch.Tensor, message: str) -> None:
    parameters = default.draw(2, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=message):
        default.apply(images, parameters, 32)
    with pytest.raises(ValueError, match="crop_size=0"):
        default.apply(torch.zeros(2, 3, 32, 32), parameters, 0)
    with pytest.raises(ValueError, match="5 parameters for 2 operations of ventral"):
        ventral.apply(torch.zeros(2, 3, 32, 32), parameters, 32)


def test_how_a_number_is_written_is_not_in_the_fingerprint() -> None:
    written = with_operations(dorsal, {"gaussian_blur": {"sigma": [0.1, 2]}})
    assert written.fingerprint() == dorsal.fingerprint()


def test_the_identity_is_a_copy() -> None:
    images = torch.rand(2, 3, 8, 8)
    assert identity.apply(images, [], 8).data_ptr() != images.data_ptr()


def test_an_operation_without_fields_has_no_fingerprint_and_is_refused() -> None:
    class Plain(PhotometricOperation):
        def draw(self, n, generator):
            return {}

        def apply(self, images, parameters):
            return images

    with pytest.raises(TypeError, match="Plain is no dataclass"):
        Family("plain", (Plain(),))


@pytest.mark.parametrize("kind", ["photograph", "tensor"])
@pytest.mark.parametrize("family", [ventral, dorsal, default], ids=lambda one: one.name)
def test_the_transform_of_one_image_is_what_training_does_to_it(family: Family, kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8, generator=generator)
    image = pixels if kind == "tensor" else Image.fromarray(pixels.permute(1, 2, 0).numpy())
    make_view = family.transform(crop_size=112)
    torch.manual_seed(3)
    views = [make_view(image) for _ in range(2)]
    torch.manual_seed(3)
    assert torch.equal(make_view(image), views[0])
    assert not torch.equal(*views)
    # The same draw, by way of the functions that training uses.
    torch.manual_seed(3)
    drawn = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    canvas, sizes = Canvas(128, sharp=True)(image), torch.tensor([[50, 70]])
    expected = family.apply(canvas.pixels[None], family.draw(1, drawn, sizes), 112, sizes)[0]
    assert torch.equal(views[0], expected)
    assert views[0].dtype == torch.float32


def test_a_transform_is_one_for_other_peoples_datasets(photo_folder: Path) -> None:
    folder = ImageFolder(str(photo_folder / "train"), ventral.transform(crop_size=32))
    first, again = (
        next(iter(DataLoader(folder, batch_size=4, num_workers=1, generator=torch.Generator().manual_seed(seed))))[0]
        for seed in (1, 1)
    )
    assert first.shape == (4, 3, 32, 32)
    assert torch.equal(first, again)
    with pytest.raises(ValueError, match=r"image \(3, 8, 8\) of torch.float32: expected \(3, H, W\), uint8"):
        ventral.transform()(torch.rand(3, 8, 8))
