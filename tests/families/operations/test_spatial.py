import math

import pytest
import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor
from torchvision.transforms import (
    ElasticTransform,
    RandomAffine,
    RandomErasing,
    RandomPerspective,
    RandomResizedCrop,
    RandomRotation,
)

from solo_invariance.families import (
    Elastic,
    Erasing,
    HorizontalFlip,
    Perspective,
    ResizedCrop,
    Rotation,
    Scale,
    Shear,
    Translation,
    VerticalFlip,
)
from solo_invariance.families.operations.operation import Parameters
from solo_invariance.families.operations.resampling import _warp_antialiased, displacement_at, resample
from solo_invariance.families.operations.spatial import GeometricOperation, homography

BILINEAR = F.InterpolationMode.BILINEAR


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def warp(operation: GeometricOperation, images: Tensor, parameters: Parameters) -> Tensor:
    step = operation.step({name: value.expand(len(images), *value.shape[1:]) for name, value in parameters.items()})
    return resample(images, [step], images.shape[-1], axis_aligned=False)


def mirrored(images: Tensor, transform) -> Tensor:
    """What torchvision's transform gives where the image goes on as its reflection."""
    side = images.shape[-1]
    return F.center_crop(transform(F.pad(images, [side] * 4, padding_mode="symmetric")), [side, side])


@pytest.mark.parametrize("box", [(0, 0, 40, 40), (3, 5, 20, 30), (10, 0, 9, 7), (0, 20, 40, 20), (39, 39, 1, 1)])
@pytest.mark.parametrize("size", [5, 16, 50])
def test_resized_crop_is_torchvisions(box: tuple[int, int, int, int], size: int) -> None:
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    top, left, height, width = box
    expected = F.resized_crop(images, top, left, height, width, [size, size], antialias=True)
    parameters = {"box": torch.tensor([[left, top, width, height]]).expand(2, 4) / 40}
    views = resample(images, [ResizedCrop().step(parameters)], size, axis_aligned=True)
    torch.testing.assert_close(views, expected, atol=1e-5, rtol=0)


def _assert_boxes_alike(boxes: Tensor, theirs: Tensor, kolmogorov_smirnov) -> None:
    """Boxes (N, 4) left, top, width, height; torchvision's top, left, height, width; all as fractions."""
    top, left, height, width = theirs.unbind(dim=1)
    pairs = {
        "left": (boxes[:, 0], left),
        "top": (boxes[:, 1], top),
        "area": (boxes[:, 2] * boxes[:, 3], height * width),
        "ratio": (boxes[:, 2] / boxes[:, 3], width / height),
    }
    for name, (ours, reference) in pairs.items():
        assert kolmogorov_smirnov(ours, reference) < 1, name


def test_box_distribution_is_torchvisions(kolmogorov_smirnov) -> None:
    crop = ResizedCrop(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3))
    boxes = crop.draw(4000, torch.Generator().manual_seed(0))["box"].double()
    torch.manual_seed(0)
    image = torch.zeros(1, 1000, 1000)
    theirs = torch.tensor([RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)])
    _assert_boxes_alike(boxes, theirs.double() / 1000, kolmogorov_smirnov)


def test_boxes_stay_inside_and_impossible_ratios_fall_back_to_the_largest_central_box() -> None:
    boxes = ResizedCrop(scale=(0.9, 1.0), ratio=(3.0, 4.0)).draw(50, torch.Generator().manual_seed(0))["box"]
    torch.testing.assert_close(boxes, torch.tensor([0, 1 / 3, 1, 1 / 3]).expand(50, 4))
    boxes = ResizedCrop().draw(1000, torch.Generator().manual_seed(0))["box"]
    assert (boxes >= 0).all()
    assert ((boxes[:, :2] + boxes[:, 2:]) <= 1 + 1e-6).all()


def test_flip_after_crop_is_one_sampling_of_both() -> None:
    images = torch.rand(3, 3, 32, 32)
    box = {"box": torch.tensor([[0.25, 0.5, 0.5, 0.25]]).expand(3, 4)}
    flip = {"applied": torch.tensor([True, False, True])}
    cropped = resample(images, [ResizedCrop().step(box)], 16, axis_aligned=True)
    both = resample(images, [ResizedCrop().step(box), HorizontalFlip().step(flip)], 16, axis_aligned=True)
    expected = torch.where(flip["applied"][:, None, None, None], cropped.flip(-1), cropped)
    torch.testing.assert_close(both, expected, atol=1e-5, rtol=0)


def test_general_warp_agrees_with_the_separable_path_where_nothing_shrinks() -> None:
    images = torch.rand(1, 3, 24, 24)
    matrix = homography(torch.diag_embed(torch.tensor([[0.5, 0.5]])), shift=torch.tensor([[0.1, -0.2]]))
    separable = resample(images, [matrix], 24, axis_aligned=True)
    general = resample(images, [matrix], 24, axis_aligned=False)
    # The separable path cuts the box out first; the general one sees beyond its border.
    torch.testing.assert_close(separable[..., 2:-2, 2:-2], general[..., 2:-2, 2:-2], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": (1.0, 0.2)}, "upside down"),
        ({"scale": (0.0, 1.0)}, r"resized_crop\.scale"),
        ({"scale": (0.2, 1.5)}, "ends at or below 1"),
        ({"ratio": (-1.0, 2.0)}, r"resized_crop\.ratio"),
        ({"scale": 0.5}, r"resized_crop\.scale=0\.5: expected a range"),
        ({"scale": (math.nan, 1.0)}, "finite"),
        ({"ratio": (0.5, math.inf)}, "finite"),
    ],
)
def test_wrong_ranges_are_refused(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResizedCrop(**arguments)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: HorizontalFlip(p=1.5), r"horizontal_flip\.p=1\.5: expected a probability in \[0, 1\]"),
        (lambda: VerticalFlip(p=-0.1), r"vertical_flip\.p=-0\.1: expected a probability"),
        (lambda: Rotation(degrees=(30.0, -30.0)), r"rotation\.degrees=\[30, -30\]: the range is upside down"),
        (lambda: Rotation(degrees=(-400.0, 0.0)), r"rotation\.degrees.* at or above -360"),
        (lambda: Translation(x=(0.0, 2.0)), r"translation\.x.* at or below 1"),
        (lambda: Scale(factor=(0.0, 1.0)), r"scale\.factor.* above 0"),
        (lambda: Shear(y=(-90.0, 0.0)), r"shear\.y.* at or above -80"),
        (lambda: Perspective(distortion=1.0), r"perspective\.distortion=1\.0: expected a number in \[0, 0\.95\]"),
        (lambda: Elastic(magnitude=(0.0, 2.0)), r"elastic\.magnitude.* at or below 0\.5"),
        (lambda: Elastic(cells=2.5), r"elastic\.cells=2\.5: expected a whole number"),  # type: ignore[arg-type]
        (lambda: Elastic(p=math.nan), r"elastic\.p=nan: expected a probability"),
        (lambda: Elastic(p=True), r"elastic\.p=True: expected a probability"),
    ],
)
def test_wrong_numbers_are_refused(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("degrees", [-170.0, -30.0, 0.0, 12.5, 90.0])
def test_rotation_is_torchvisions(images: Tensor, degrees: float) -> None:
    expected = mirrored(images, lambda large: F.rotate(large, degrees, interpolation=BILINEAR))
    views = warp(Rotation(), images, {"degrees": torch.tensor([degrees])})
    torch.testing.assert_close(views, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shift", [(0.1, 0.0), (-0.25, 0.15)])
def test_translation_is_torchvisions(images: Tensor, shift: tuple[float, float]) -> None:
    pixels = [round(fraction * 40) for fraction in shift]

    def move(large: Tensor) -> Tensor:
        return F.affine(large, 0.0, pixels, 1.0, [0.0, 0.0], interpolation=BILINEAR)

    views = warp(Translation(), images, {"shift": torch.tensor([shift])})
    torch.testing.assert_close(views, mirrored(images, move), atol=1e-4, rtol=0)


@pytest.mark.parametrize("factor", [1.0, 1.3, 3.0])
def test_magnification_is_torchvisions(images: Tensor, factor: float) -> None:
    def zoom(large: Tensor) -> Tensor:
        return F.affine(large, 0.0, [0, 0], factor, [0.0, 0.0], interpolation=BILINEAR)

    views = warp(Scale(), images, {"factor": torch.tensor([factor])})
    torch.testing.assert_close(views, mirrored(images, zoom), atol=1e-4, rtol=0)


@pytest.mark.parametrize("degrees", [(10.0, 0.0), (0.0, -20.0), (15.0, 15.0)])
def test_shear_is_torchvisions_where_nothing_shrinks(photo: Tensor, degrees: tuple[float, float]) -> None:
    # Shearing shrinks along one axis, where ours is antialiased and torchvision's is not: a smooth image shows neither.
    smooth = F.gaussian_blur(F.center_crop(photo, [128, 128]), [31, 31], [5.0, 5.0])

    def shear(large: Tensor) -> Tensor:
        return F.affine(large, 0.0, [0, 0], 1.0, list(degrees), interpolation=BILINEAR)

    views = warp(Shear(), smooth, {"degrees": torch.tensor([degrees])})
    torch.testing.assert_close(views, mirrored(smooth, shear), atol=4e-3, rtol=0)


def test_perspective_is_torchvisions(photo: Tensor) -> None:
    smooth = F.gaussian_blur(F.center_crop(photo, [128, 128]), [31, 31], [5.0, 5.0])
    drawn = Perspective(distortion=0.4, p=1.0).draw(1, torch.Generator().manual_seed(1))
    corners = ((drawn["corners"][0] + 1) * 64).tolist()
    start = [[0, 0], [128, 0], [128, 128], [0, 128]]
    expected = F.perspective(smooth, start, corners, interpolation=BILINEAR)
    inside = F.perspective(torch.ones_like(smooth), start, corners, interpolation=BILINEAR) == 1
    views = warp(Perspective(), smooth, drawn)
    assert inside.float().mean() > 0.4
    torch.testing.assert_close(views[inside], expected[inside], atol=4e-3, rtol=0)


def test_elastic_is_torchvisions(photo: Tensor) -> None:
    images = F.gaussian_blur(F.center_crop(photo, [128, 128]), [31, 31], [5.0, 5.0])
    drawn = Elastic(magnitude=(0.02, 0.02), p=1.0).draw(1, torch.Generator().manual_seed(1))
    x = (torch.arange(128) * 2 + 1) / 128 - 1
    points = torch.stack(torch.meshgrid(x, x, indexing="xy"), dim=-1)[None]
    displacement = displacement_at(points, drawn["displacement"])
    expected = F.elastic(images, displacement, interpolation=BILINEAR)
    inside = F.elastic(torch.ones_like(images), displacement, interpolation=BILINEAR) > 1 - 1e-6
    views = warp(Elastic(), images, drawn)
    assert inside.float().mean() > 0.8
    torch.testing.assert_close(views[inside], expected[inside], atol=5e-3, rtol=0)


def test_elastic_displaces_by_its_magnitude_smoothly() -> None:
    elastic = Elastic(magnitude=(0.01, 0.01), cells=4, p=1.0)
    field = elastic.draw(500, torch.Generator().manual_seed(0))["displacement"]
    assert float(field.std()) / 2 == pytest.approx(0.01, rel=0.03)
    assert Elastic(p=0.0).draw(5, torch.Generator())["displacement"].abs().max() == 0
    # At its defaults torchvision's moves pixels by 0.4 % of a side of 224, as the docstring says.
    theirs = ElasticTransform.get_params([50.0, 50.0], [5.0, 5.0], [224, 224])
    assert float(theirs.std()) / 2 == pytest.approx(0.0038, abs=0.0004)


def test_operations_compose_to_one_sampling_in_their_order(images: Tensor) -> None:
    turned, moved = {"degrees": torch.full((2,), 25.0)}, {"shift": torch.tensor([[0.2, 0.1]]).expand(2, 2)}
    steps = [Rotation().step(turned), Translation().step(moved)]
    first_turned = resample(images, steps, 40, axis_aligned=False)
    first_moved = resample(images, steps[::-1], 40, axis_aligned=False)

    def turn_and_move(large: Tensor) -> Tensor:
        return F.affine(large, -25.0, [8, 4], 1.0, [0.0, 0.0], interpolation=BILINEAR)

    torch.testing.assert_close(first_turned, mirrored(images, turn_and_move), atol=1e-4, rtol=0)
    assert (first_turned - first_moved).abs().mean() > 0.05


def test_displacements_between_homographies_keep_their_place() -> None:
    images = torch.rand(1, 3, 32, 32)
    lattice = torch.zeros(1, 2, 3, 3)
    lattice[:, 0] = 0.25  # everything looks 4 pixels to the right
    quarter = Rotation().step({"degrees": torch.tensor([90.0])})
    shifted_then_turned = resample(images, [lattice, quarter], 32, axis_aligned=False)
    expected = torch.rot90(images.roll(-4, dims=-1), 1, dims=(2, 3))
    torch.testing.assert_close(shifted_then_turned[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4], atol=1e-4, rtol=0)


@pytest.mark.parametrize("factor", [0.5, 0.25])
@pytest.mark.parametrize("degrees", [0.0, 30.0])
def test_shrinking_does_not_alias(factor: float, degrees: float) -> None:
    checkerboard = ((torch.arange(64)[:, None] + torch.arange(64)) % 2).float().expand(1, 3, 64, 64)
    steps = [
        Rotation().step({"degrees": torch.tensor([degrees])}),
        Scale().step({"factor": torch.tensor([factor])}),
    ]
    view = resample(checkerboard, steps, 64, axis_aligned=False)
    assert (view - 0.5).abs().max() < 0.13


_SQUEEZE = homography(torch.diag_embed(torch.tensor([[4.0, 1.0]])))


def _lattice(seed: int, magnitude: float = 0.1) -> Tensor:
    return magnitude * torch.randn(1, 2, 5, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("steps", "tolerance"),
    [
        ([Shear().step({"degrees": torch.tensor([[60.0, 0.0]])})], 0.05),
        ([Shear().step({"degrees": torch.tensor([[0.0, 60.0]])})], 0.05),
        ([_SQUEEZE, _lattice(0, 0.04)], 0.05),
        ([_lattice(0, 0.04), _SQUEEZE], 0.05),
        ([_lattice(1, 0.15)], 0.05),
        (
            [Perspective().step({"corners": torch.tensor([[[-0.5, -1.0], [0.5, -1.0], [1.0, 1.0], [-1.0, 1.0]]])})],
            0.022,
        ),
    ],
    ids=["shear x", "shear y", "squeezed, bent", "bent, squeezed", "bent", "perspective"],
)
def test_as_many_points_are_sampled_as_the_map_needs_along_each_axis(steps: list[Tensor], tolerance: float) -> None:
    """Against the mean of 24 x 24 points a pixel, on the image that aliases most."""
    checkerboard = ((torch.arange(96)[:, None] + torch.arange(96)) % 2).float().expand(1, 3, 96, 96)
    view = resample(checkerboard, steps, 96, axis_aligned=False)
    exact = _warp_antialiased(checkerboard, steps, 96, 24, 24)
    assert (view - exact).square().mean().sqrt() < tolerance


def test_a_lattice_bends_along_its_own_axes() -> None:
    """The separable path of a lattice that acts on the output's own grid, against the general one."""
    images = torch.rand(1, 3, 48, 48)
    lattice = _lattice(2, 0.05)
    lattice[:, :, :, 0] *= 3  # not symmetric in x and y
    x = (torch.arange(48) * 2 + 1) / 48 - 1
    points = torch.stack(torch.meshgrid(x, x, indexing="xy"), dim=-1)[None]
    samples = []
    for down in (-0.5, 0.5):
        shifted = points + torch.tensor([0.0, down / 48])
        grid = shifted + displacement_at(shifted, lattice)
        samples.append(torch.nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False))
    views = _warp_antialiased(images, [lattice], 48, across=1, down=2)
    torch.testing.assert_close(views, (samples[0] + samples[1]) / 2, atol=1e-4, rtol=0)


def test_antialiased_warp_agrees_with_the_exact_filter_where_it_shrinks(photo: Tensor) -> None:
    square = F.center_crop(photo, [256, 256])
    matrix = homography(torch.eye(2)[None])
    for size in (96, 50):
        exact = resample(square, [matrix], size, axis_aligned=True)
        general = resample(square, [matrix], size, axis_aligned=False)
        plain = F.resize(square, [size, size], antialias=False)
        error = (general - exact).square().mean().sqrt()
        assert error < 0.02
        assert error < 0.5 * (plain - exact).square().mean().sqrt()


def test_an_images_sampling_does_not_depend_on_its_neighbours() -> None:
    images = torch.rand(6, 3, 48, 48)
    factors = torch.tensor([0.2, 0.4, 0.6, 1.0, 1.5, 3.0])
    together = resample(images, [Scale().step({"factor": factors})], 24, axis_aligned=False)
    for index in range(6):
        step = Scale().step({"factor": factors[index : index + 1]})
        alone = resample(images[index : index + 1], [step], 24, axis_aligned=False)
        torch.testing.assert_close(alone[0], together[index], atol=1e-6, rtol=0)


def _theirs(draw, n: int = 3000) -> Tensor:
    torch.manual_seed(0)
    return torch.tensor([draw() for _ in range(n)], dtype=torch.float64)


def test_drawn_parameters_are_distributed_as_torchvisions(kolmogorov_smirnov) -> None:
    generator, n = torch.Generator().manual_seed(0), 3000
    side = [1000, 1000]
    pairs = {
        "rotation": (
            Rotation(degrees=(-30.0, 60.0)).draw(n, generator)["degrees"],
            _theirs(lambda: RandomRotation.get_params([-30.0, 60.0])),
        ),
        "translation": (
            Translation(x=(-0.1, 0.1)).draw(n, generator)["shift"][:, 0],
            _theirs(lambda: RandomAffine.get_params([0.0, 0.0], [0.1, 0.1], None, None, side)[1][0] / 1000),
        ),
        "scale": (
            Scale(factor=(0.5, 1.5)).draw(n, generator)["factor"],
            _theirs(lambda: RandomAffine.get_params([0.0, 0.0], None, [0.5, 1.5], None, side)[2]),
        ),
        "shear": (
            Shear(y=(-10.0, 20.0)).draw(n, generator)["degrees"][:, 1],
            _theirs(lambda: RandomAffine.get_params([0.0, 0.0], None, None, [-5.0, 5.0, -10.0, 20.0], side)[3][1]),
        ),
        "perspective": (
            Perspective(distortion=0.5, p=1.0).draw(n, generator)["corners"][:, 2, 0],
            _theirs(lambda: RandomPerspective.get_params(1000, 1000, 0.5)[1][2][0] / 500 - 1),
        ),
    }
    for name, (ours, theirs) in pairs.items():
        assert kolmogorov_smirnov(ours, theirs) < 1, name


def test_erased_boxes_are_distributed_as_torchvisions(kolmogorov_smirnov) -> None:
    drawn = Erasing(scale=(0.02, 0.33), ratio=(0.3, 3.3), p=1.0).draw(3000, torch.Generator().manual_seed(0))
    boxes = drawn["box"][drawn["applied"]]
    image = torch.zeros(1, 1000, 1000)
    theirs = _theirs(lambda: RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3))[:4])
    _assert_boxes_alike(boxes, theirs / 1000, kolmogorov_smirnov)


def test_probabilities_are_the_share_that_is_changed() -> None:
    generator = torch.Generator().manual_seed(0)
    for p in (0.0, 0.3, 1.0):
        shares = {
            "rotation": Rotation(p=p).draw(4000, generator)["degrees"] != 0,
            "translation": Translation(p=p).draw(4000, generator)["shift"][:, 0] != 0,
            "scale": Scale(p=p).draw(4000, generator)["factor"] != 1,
            "shear": Shear(p=p).draw(4000, generator)["degrees"][:, 0] != 0,
            "perspective": Perspective(p=p).draw(4000, generator)["corners"][:, 0, 0] != -1,
            "elastic": Elastic(p=p).draw(4000, generator)["displacement"].flatten(1).abs().amax(dim=1) != 0,
            "flip": VerticalFlip(p=p).draw(4000, generator)["applied"],
        }
        for name, changed in shares.items():
            assert float(changed.float().mean()) == pytest.approx(p, abs=0.03), name


def test_vertical_flip_turns_the_image_upside_down() -> None:
    images = torch.rand(2, 3, 16, 16)
    step = VerticalFlip().step({"applied": torch.tensor([True, False])})
    views = resample(images, [step], 16, axis_aligned=True)
    torch.testing.assert_close(views[0], images[0].flip(-2), atol=1e-6, rtol=0)
    torch.testing.assert_close(views[1], images[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("period", "stays"),
    [
        (4, False),  # eight points a pixel are two input pixels apart: two to a period, which cancel
        (2, True),  # one to a period, always at the same place
    ],
)
def test_an_output_pixel_is_the_mean_of_eight_points_along_an_axis_at_most(period: int, stays: bool) -> None:
    """Of stripes that are seen at a sixteenth of their size, and shifted so that the points are pixels' centres."""
    columns = torch.arange(256.0)
    stripes = torch.cos(2 * torch.pi * columns / period).expand(1, 3, 256, 256)
    shift = torch.eye(3)[None].clone()
    shift[0, :2, 2] = 1 / 256  # half an input pixel
    view = resample(stripes, [shift], 16, axis_aligned=False)
    seen = view[..., 2:-2, 2:-2].abs()
    torch.testing.assert_close(seen, torch.full_like(seen, float(stays)), atol=1e-4, rtol=0)


def test_a_crops_ratio_is_of_its_width_to_its_height() -> None:
    drawn = ResizedCrop(scale=(0.1, 0.3), ratio=(1.5, 2.0)).draw(100, torch.Generator().manual_seed(0))
    _, _, width, height = drawn["box"].T
    assert 1.499 < float((width / height).min()) < float((width / height).max()) < 2.001


def test_images_are_warped_alike_however_few_fit_into_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    images, generator = torch.rand(5, 3, 24, 24), torch.Generator().manual_seed(0)
    operation = Perspective(p=1.0)
    steps = [operation.step(operation.draw(5, generator))]
    together = _warp_antialiased(images, steps, 16, across=2, down=3)
    monkeypatch.setattr("solo_invariance.families.operations.resampling._MOST_POINTS", 2 * 16 * 16 * 6)
    assert torch.equal(_warp_antialiased(images, steps, 16, across=2, down=3), together)
