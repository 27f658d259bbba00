"""Operations beyond the colour jitter: tone, light, occlusion and degradation."""

import io
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
import torchvision.transforms.v2.functional as F
from kornia.augmentation import RandomPlanckianJitter
from PIL import Image
from skimage import data
from torch import Tensor

from solo_invariance.families import (
    JPEG,
    ColorTemperature,
    Equalize,
    Erasing,
    GaussianNoise,
    MotionBlur,
    Posterize,
    SmoothBrightness,
    SmoothShadow,
    Solarize,
)
from solo_invariance.families.operations.appearance import PhotometricOperation, equalize, posterize, solarize
from solo_invariance.families.operations.corruption import compress_jpeg, line_kernels
from solo_invariance.families.operations.illumination import black_body_gains
from solo_invariance.families.operations.noise import normal_noise, uniform_noise
from solo_invariance.families.operations.occlusion import inside


@pytest.fixture
def pixels() -> Tensor:
    """Every one of the 256 values in each channel, uint8 (4, 3, 16, 16)."""
    generator = torch.Generator().manual_seed(0)
    planes = [torch.randperm(256, generator=generator).reshape(16, 16) for _ in range(12)]
    return torch.stack(planes).reshape(4, 3, 16, 16).byte()


def test_solarize_is_torchvisions(pixels: Tensor) -> None:
    thresholds = [0, 100, 128, 255]
    expected = torch.cat([F.solarize(image[None], t) for image, t in zip(pixels, thresholds, strict=True)])
    views = solarize(pixels.float() / 255, torch.tensor(thresholds) / 255)
    torch.testing.assert_close(views * 255, expected.float(), atol=1e-3, rtol=0)
    default = Solarize(p=1.0)
    views = default.apply(pixels.float() / 255, default.draw(4, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(views * 255, F.solarize(pixels, 128).float(), atol=1e-3, rtol=0)


def test_posterize_is_torchvisions(pixels: Tensor) -> None:
    bits = [1, 3, 6, 8]
    expected = torch.cat([F.posterize(image[None], b) for image, b in zip(pixels, bits, strict=True)])
    # Geometry leaves values a hair beside the whole ones; they count as the whole ones.
    for offset in (0.0, -0.3, 0.3):
        images = ((pixels.float() + offset) / 255).clamp(0, 1)
        views = posterize(images, torch.tensor(bits))
        torch.testing.assert_close(views[:3] * 255, expected[:3].float(), atol=1e-3, rtol=0)
        torch.testing.assert_close(views[3] * 255, expected[3].float(), atol=0.31, rtol=0)
    drawn = Posterize(bits=(3, 6)).draw(2000, torch.Generator().manual_seed(0))["bits"]
    counts = torch.bincount(drawn)[3:].double()
    assert len(counts) == 4
    assert float(((counts - 500) ** 2 / 500).sum()) < 11.3  # the 1 % critical value for 3 degrees of freedom


def test_equalize_is_torchvisions(photo: Tensor) -> None:
    dark = (photo * 0.3).mul(255).round().byte()
    expected = F.equalize(dark).float()
    torch.testing.assert_close(equalize((dark.float() + 0.2) / 255) * 255, expected, atol=1e-3, rtol=0)
    operation = Equalize(p=1.0)
    views = operation.apply(dark.float() / 255, operation.draw(1, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(views * 255, expected, atol=1e-3, rtol=0)


def test_colour_temperature_is_the_planckian_locus() -> None:
    table = RandomPlanckianJitter(mode="blackbody").pl
    kelvin = torch.arange(3000.0, 15001.0, 500.0)
    gains = black_body_gains(kelvin)
    torch.testing.assert_close(gains[:, [0, 2]], table / table[7])
    torch.testing.assert_close(black_body_gains(torch.tensor([6500.0])), torch.ones(1, 3))
    between = black_body_gains(torch.tensor([3250.0]))
    torch.testing.assert_close(between[0], (gains[0] + gains[1]) / 2)
    grey = torch.full((2, 3, 4, 4), 0.4)
    views = ColorTemperature().apply(
        grey, {"applied": torch.ones(2, dtype=torch.bool), "kelvin": torch.tensor([3500.0, 12000.0])}
    )
    assert views[0, 0, 0, 0] > 0.42 > 0.38 > views[0, 2, 0, 0]
    assert views[1, 0, 0, 0] < 0.39
    assert views[1, 2, 0, 0] > 0.42
    torch.testing.assert_close(views[:, 1], grey[:, 1])


def test_temperatures_are_drawn_evenly_in_their_reciprocal(kolmogorov_smirnov) -> None:
    drawn = ColorTemperature(kelvin=(4000.0, 10000.0)).draw(3000, torch.Generator().manual_seed(0))["kelvin"]
    assert drawn.min() >= 4000 - 0.01
    assert drawn.max() <= 10000 + 0.01
    assert kolmogorov_smirnov(1 / drawn, torch.linspace(1 / 10000, 1 / 4000, 3000)) < 1


def test_smooth_brightness_multiplies_by_a_smooth_field_of_its_stops() -> None:
    operation = SmoothBrightness(stops=(0.5, 0.5), cells=2, p=1.0)
    drawn = operation.draw(400, torch.Generator().manual_seed(0))
    assert float(drawn["exposure"].std()) == pytest.approx(0.5, rel=0.05)
    images = torch.full((400, 3, 32, 32), 0.1)
    stops = (operation.apply(images, drawn) / images).log2()
    torch.testing.assert_close(stops[:, 0], stops[:, 2])  # the colour stays
    torch.testing.assert_close(
        stops[:, 0, 0, 0], drawn["exposure"][:, 0, 0, 0].clamp(max=math.log2(10)), atol=1e-4, rtol=0
    )
    steps = (stops[:, 0, :, 1:] - stops[:, 0, :, :-1]).abs()
    assert steps.max() < 0.3
    assert (
        SmoothBrightness(p=1.0).apply(torch.ones(1, 3, 8, 8), SmoothBrightness().draw(1, torch.Generator())).max() <= 1
    )


def test_a_shadow_darkens_a_part_by_its_darkness() -> None:
    operation = SmoothShadow(darkness=(0.6, 0.6), softness=0.05, p=1.0)
    drawn = operation.draw(300, torch.Generator().manual_seed(0))
    light = operation.apply(torch.ones(300, 3, 32, 32), drawn)
    torch.testing.assert_close(light[:, 0], light[:, 1])
    assert light.min() == pytest.approx(0.4, abs=1e-3)
    assert light.max() == pytest.approx(1.0, abs=1e-3)
    share = (light[:, 0] < 0.7).float().mean(dim=(1, 2))
    assert float(share.mean()) == pytest.approx(0.5, abs=0.06)
    assert share.min() < 0.1
    assert share.max() > 0.9
    border = ((light[:, 0] > 0.45) & (light[:, 0] < 0.95)).float().mean()
    assert border < 0.15


@pytest.mark.parametrize("fill", ["mean", "noise", 0.25])
def test_erasing_fills_the_box_and_nothing_else(fill, photo: Tensor) -> None:
    images = F.resize(F.center_crop(photo, [256, 256]), [32, 32], antialias=True).expand(3, -1, -1, -1)
    box = torch.tensor([[0.25, 0.5, 0.5, 0.25]]).expand(3, 4)
    applied = torch.tensor([True, False, True])
    drawn = {"applied": applied, "box": box, "seed": torch.tensor([1, 2, 3])}
    views = Erasing(fill=fill).apply(images, drawn)
    erased = torch.zeros(32, 32, dtype=torch.bool)
    erased[16:24, 8:24] = True
    assert torch.equal(views[1], images[1])
    assert torch.equal(views[:, :, ~erased], images[:, :, ~erased])
    content = views[applied][:, :, erased]
    if fill == "mean":
        expected = images[applied].mean(dim=(2, 3))[:, :, None].expand_as(content)
        torch.testing.assert_close(content, expected)
    elif fill == "noise":
        assert not torch.equal(content[0], content[1])
        assert float(content.std()) == pytest.approx(1 / 12**0.5, abs=0.03)
    else:
        assert (content == 0.25).all()


def test_boxes_that_do_not_fit_erase_nothing() -> None:
    drawn = Erasing(scale=(0.9, 1.0), ratio=(10.0, 20.0), p=1.0).draw(50, torch.Generator().manual_seed(0))
    assert not drawn["applied"].any()


def test_fill_takes_words_and_numbers_from_configurations() -> None:
    assert Erasing(fill=0.5).with_numbers({"fill": "mean"}) == Erasing(fill="mean")
    assert Erasing(fill="mean").with_numbers({"fill": 0.5}) == Erasing(fill=0.5)


def test_boxes_of_pixels() -> None:
    assert inside(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), 5, 7).all()
    assert not inside(torch.tensor([[0.4, 0.4, 0.0, 0.0]]), 5, 7).any()
    assert inside(torch.tensor([[0.5, 0.0, 0.5, 1.0]]), 4, 4)[0, 0].int().tolist() == [[0, 0, 1, 1]] * 4


def test_noise_is_standard_independent_and_its_seeds_own(kolmogorov_smirnov) -> None:
    seeds = torch.tensor([0, 1, 2, 2**32 - 1, 1])
    noise = normal_noise(seeds, (3, 64, 64))
    assert torch.equal(noise[1], noise[4])
    sample = noise[:4].double()
    reference = torch.randn(40000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert kolmogorov_smirnov(sample.flatten()[:40000], reference) < 1
    assert sample.isfinite().all()
    limit = 4 / (3 * 64 * 64) ** 0.5
    for first, second in ((0, 1), (1, 2), (2, 3)):
        assert abs(float((sample[first] * sample[second]).mean())) < limit
    for shift in ((0, 0, 1), (0, 1, 0), (1, 0, 0)):
        assert abs(float((sample[0] * sample[0].roll(shift, dims=(0, 1, 2))).mean())) < limit
    even = uniform_noise(torch.tensor([7]), (50000,))
    assert even.min() > 0
    assert even.max() < 1
    assert kolmogorov_smirnov(even[0], torch.linspace(0, 1, 50000)) < 1


def test_noise_is_exact_integer_arithmetic() -> None:
    """The same from one version, and one device, to the next: a reference in Python's own integers."""

    def scramble(value: int) -> int:
        value = ((value ^ (value >> 16)) * 0x21F0AAAD) % 2**32
        value = ((value ^ (value >> 15)) * 0x735A2D97) % 2**32
        return value ^ (value >> 15)

    for seed in (0, 3, 2**32 - 2):
        noise = uniform_noise(torch.tensor([seed]), (50,))[0].double()
        expected = [((scramble(scramble(place) ^ scramble(seed + 1)) >> 9) + 0.5) / 2**23 for place in range(50)]
        assert torch.allclose(noise, torch.tensor(expected, dtype=torch.float64), atol=0, rtol=0)


def test_gaussian_noise_has_its_standard_deviation() -> None:
    operation = GaussianNoise(std=(0.05, 0.05), p=1.0)
    images = torch.full((8, 3, 64, 64), 0.5)
    noise = operation.apply(images, operation.draw(8, torch.Generator().manual_seed(0))) - images
    assert float(noise.std()) == pytest.approx(0.05, rel=0.02)
    assert abs(float(noise.mean())) < 1e-3
    black = operation.apply(torch.zeros_like(images), operation.draw(8, torch.Generator().manual_seed(0)))
    assert black.min() == 0


def test_lines_of_motion_blur() -> None:
    kernels = line_kernels(torch.tensor([5.0, 5.0, 1.0, 0.0, 5.0, 7.0]), torch.tensor([0.0, 90, 30, 77, 45, 135]), 4)
    torch.testing.assert_close(kernels.sum(dim=(1, 2)), torch.ones(6))
    row = torch.tensor([0, 0, 0.2, 0.2, 0.2, 0.2, 0.2, 0, 0])
    torch.testing.assert_close(kernels[0, 4], row)
    torch.testing.assert_close(kernels[1, :, 4], row, atol=1e-6, rtol=0)
    for nothing in kernels[2:4]:
        assert nothing[4, 4] == pytest.approx(1.0, abs=0.3)
    torch.testing.assert_close(kernels[4], kernels[4].T)
    # Counter-clockwise from the horizontal, rows counted downwards: 45 degrees go up to the right.
    assert kernels[4, 2, 6] > 0
    assert kernels[4, 6, 6] == 0
    assert kernels[5, 6, 6] > 0


def test_motion_blur_is_a_convolution_with_its_line(photo: Tensor) -> None:
    image = F.center_crop(photo, [64, 64])
    drawn = {"applied": torch.ones(1, dtype=torch.bool), "length": torch.tensor([5 / 64]), "degrees": torch.zeros(1)}
    expected = nnf.avg_pool2d(nnf.pad(image, (2, 2, 0, 0), mode="reflect"), (1, 5), stride=1)
    torch.testing.assert_close(MotionBlur().apply(image, drawn), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("quality", [1, 10, 30, 50, 75, 95, 100])
@pytest.mark.parametrize("size", [(64, 64), (50, 37)])
def test_jpeg_is_libjpegs(quality: int, size: tuple[int, int]) -> None:
    errors, changes = [], []
    for image in _parts_of_photographs(size):
        file = io.BytesIO()
        Image.fromarray(image[0].permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        expected = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None].float()
        ours = compress_jpeg(image.float() / 255, torch.tensor([float(quality)])) * 255
        errors.append(float((ours - expected).abs().mean()))
        changes.append(float((expected - image.float()).abs().mean()))
    # Three quarters of a level on average, and a fraction of what the compression changes.
    assert np.mean(errors) < min(0.75, 0.5 * np.mean(changes))


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 95])
def test_rounding_errors_do_not_decide_what_jpeg_rounds(quality: int) -> None:
    """In double precision, whose errors are others, nearly every value comes out the same, as on another device."""
    for image in _parts_of_photographs((160, 160)):
        single = compress_jpeg(image.float() / 255, torch.tensor([float(quality)]))
        double = compress_jpeg(image.double() / 255, torch.tensor([float(quality)], dtype=torch.float64))
        assert float(((single - double).abs() > 1e-4).double().mean()) < 1e-3


def _parts_of_photographs(size: tuple[int, int]) -> list[Tensor]:
    photographs = (data.astronaut(), data.coffee(), data.chelsea(), data.rocket())
    corners = ((40, 60), (150, 100))
    return [
        torch.from_numpy(image[top : top + size[0], left : left + size[1]].copy()).permute(2, 0, 1)[None]
        for image in photographs
        for top, left in corners
    ]


def test_jpeg_qualities_mix_in_a_batch(photo: Tensor) -> None:
    image = F.center_crop(photo, [32, 32])
    together = compress_jpeg(image.expand(3, -1, -1, -1), torch.tensor([5.0, 50.0, 95.0]))
    for index, quality in enumerate((5.0, 50.0, 95.0)):
        torch.testing.assert_close(together[index], compress_jpeg(image, torch.tensor([quality]))[0], atol=1e-5, rtol=0)
    errors = (together - image).abs().mean(dim=(1, 2, 3))
    assert errors[0] > errors[1] > errors[2]
    drawn = JPEG(quality=(20.0, 80.0)).draw(500, torch.Generator().manual_seed(0))["quality"]
    assert drawn.min() >= 20
    assert drawn.max() <= 80
    assert torch.equal(drawn, drawn.round())


@pytest.mark.parametrize(
    "kind",
    [
        Solarize,
        Posterize,
        Equalize,
        ColorTemperature,
        SmoothBrightness,
        SmoothShadow,
        Erasing,
        GaussianNoise,
        MotionBlur,
        JPEG,
    ],
)
def test_what_is_not_chosen_stays(kind: type[PhotometricOperation], canvas: Tensor) -> None:
    images = canvas.float().div(255).expand(6, -1, -1, -1)
    never, sometimes = kind(p=0.0), kind(p=0.5)  # type: ignore[call-arg]
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(never.apply(images, never.draw(6, generator)), images)
    drawn = sometimes.draw(6, generator)
    before = images.clone()
    views = sometimes.apply(images, drawn)
    assert torch.equal(images, before)
    assert 0 < int(drawn["applied"].sum()) < 6
    changed = (views != images).flatten(1).any(dim=1)
    assert torch.equal(changed, drawn["applied"])
    assert views.min() >= 0
    assert views.max() <= 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Solarize(threshold=(0.0, 2.0)), r"solarize\.threshold.* at or below 1"),
        (lambda: Posterize(bits=(0, 4)), r"posterize\.bits.* at or above 1"),
        (lambda: Posterize(bits=(2.5, 4)), r"posterize\.bits=\[2\.5, 4\]: expected whole numbers"),  # type: ignore[arg-type]
        (lambda: ColorTemperature(kelvin=(1000.0, 6500.0)), r"color_temperature\.kelvin.* at or above 3000"),
        (lambda: SmoothBrightness(stops=(-1.0, 0.0)), r"smooth_brightness\.stops"),
        (lambda: SmoothShadow(softness=0.0), r"smooth_shadow\.softness=0\.0: expected a number of at least 0\.001"),
        (lambda: SmoothShadow(darkness=(0.5, 1.5)), r"smooth_shadow\.darkness"),
        (lambda: Erasing(fill="black"), r"erasing\.fill=black: expected mean, noise or a value in \[0, 1\]"),
        (lambda: Erasing(fill=2.0), r"erasing\.fill=2\.0"),
        (lambda: GaussianNoise(std=(0.1, 0.0)), "upside down"),
        (lambda: MotionBlur(length=(0.0, 0.9)), r"motion_blur\.length"),
        (lambda: JPEG(quality=(0.0, 50.0)), r"jpeg\.quality"),
        (lambda: JPEG(p="often"), r"jpeg\.p=often: expected a probability"),  # type: ignore[arg-type]
    ],
)
def test_wrong_numbers_are_refused(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
