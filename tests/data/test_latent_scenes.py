import math
import runpy
import sys
from collections.abc import Iterator

import pytest
import torch
from PIL import Image
from torch import Tensor

from solo_invariance.data.latent_scenes import rasteriser
from solo_invariance.data.latent_scenes.dataset import (
    LATENTS,
    SHAPES,
    VIEW_SETS,
    LatentScenes,
    contact_sheet,
    render,
    sample_latents,
    view_group_latents,
    view_groups,
)
from solo_invariance.data.latent_scenes.meshes import shape_meshes

NAMES = [latent.name for latent in LATENTS]
LOW = torch.tensor([latent.low for latent in LATENTS])
HIGH = torch.tensor([latent.high for latent in LATENTS])
THREE_QUARTER_VIEW = torch.tensor([0, 0, 1.3, -0.5, 0.1, 0.1, 0.7, 0.05, 0.15, 0.55])


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """These images are so small that threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def scenes(shape: str, num: int, **changed: float | Tensor) -> tuple[Tensor, Tensor]:
    """The three-quarter view `num` times, with some latents set to other values."""
    latents = THREE_QUARTER_VIEW.repeat(num, 1)
    for name, values in changed.items():
        latents[:, NAMES.index(name)] = torch.as_tensor(values)
    return torch.full((num,), SHAPES.index(shape)), latents


def changed_pixels(a: Tensor, b: Tensor) -> Tensor:
    """Fraction of the pixels that differ by more than a twentieth of the range in some channel."""
    return ((a.float() - b.float()).abs().amax(-3) > 12).float().mean((-2, -1))


def object_pixels(images: Tensor) -> Tensor:
    """Where a red object is, over a green floor in white light."""
    red, green, _ = images.float().unbind(1)
    return red > green


def test_latents_follow_seed_and_index_alone() -> None:
    classes, latents = sample_latents(torch.arange(500), seed=3)
    shuffled = torch.randperm(500, generator=torch.Generator().manual_seed(0))[:77]
    some_classes, some_latents = sample_latents(shuffled, seed=3)
    assert torch.equal(some_classes, classes[shuffled])
    assert torch.equal(some_latents, latents[shuffled])
    assert not torch.equal(sample_latents(torch.arange(500), seed=4)[1], latents)


def test_latents_are_uniform_in_their_ranges_and_independent() -> None:
    classes, latents = sample_latents(torch.arange(5_000), seed=-1)
    unit = (latents - LOW) / (HIGH - LOW)
    assert classes.dtype == torch.int64
    assert latents.dtype == torch.float32
    assert ((latents >= LOW) & (latents <= HIGH)).all()
    torch.testing.assert_close(
        unit.sort(0).values, torch.linspace(0, 1, 5_000)[:, None].expand(-1, 10), atol=0.03, rtol=0
    )
    torch.testing.assert_close(
        torch.bincount(classes) / 5_000, torch.full((len(SHAPES),), 1 / len(SHAPES)), atol=0.02, rtol=0
    )
    everything = torch.cat([classes[:, None].float(), unit], 1)
    torch.testing.assert_close(torch.corrcoef(everything.T), torch.eye(11), atol=0.06, rtol=0)


def test_an_image_is_the_same_in_any_batch_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = LatentScenes(30, size=24, seed=5)
    split = LatentScenes(7, size=24, seed=5, start=20)
    assert torch.equal(split.images, whole.images[20:27])
    assert torch.equal(split.targets, whole.targets[20:27])
    assert torch.equal(split.latents, whole.latents[20:27])
    alone = torch.cat([render(whole.targets[i : i + 1], whole.latents[i : i + 1], 24) for i in range(8)])
    assert torch.equal(alone, whole.images[:8])
    monkeypatch.setattr("solo_invariance.data.latent_scenes.renderer._SAMPLES_PER_CHUNK", 4 * 48**2)
    assert torch.equal(render(whole.targets, whole.latents, 24), whole.images)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("latent", LATENTS, ids=NAMES)
def test_every_latent_shows_over_its_whole_range(shape: str, latent) -> None:
    """No two of seven values look alike: the latent is not hidden, and no symmetry makes the range's ends meet."""
    upright = {"rotation_phi": 0.0, "rotation_theta": 0.0, "rotation_psi": 0.0}
    values = torch.linspace(latent.low, latent.high, 7)
    images = render(*scenes(shape, 7, **(upright | {latent.name: values})), size=32)
    difference = changed_pixels(images[:, None], images[None]) + torch.eye(7)
    assert difference.min() > 0.01


def test_shapes_are_told_apart() -> None:
    images = render(torch.arange(len(SHAPES)), THREE_QUARTER_VIEW.repeat(len(SHAPES), 1), size=32)
    difference = changed_pixels(images[:, None], images[None]) + torch.eye(len(SHAPES))
    assert difference.min() > 0.05


@pytest.mark.parametrize("shape", SHAPES)
def test_the_object_fills_the_frame_and_stays_in_it(shape: str) -> None:
    """At all corners of the range of positions, and in many poses."""
    corners = torch.cartesian_prod(*torch.stack([LOW, HIGH], 1)[:3]).repeat(4, 1)
    classes, latents = scenes(shape, len(corners), object_hue=0.0, background_hue=1 / 3, spotlight_hue=0.17)
    latents[:, :3] = corners
    latents[:, 3:7] = sample_latents(torch.arange(len(corners)), seed=0)[1][:, 3:7]
    seen = object_pixels(render(classes, latents, size=32))
    rows, columns = seen.any(2), seen.any(1)
    assert not rows[:, [0, -1]].any()
    assert not columns[:, [0, -1]].any()
    extent = torch.maximum(rows.sum(1), columns.sum(1)) / 32
    assert ((extent > 0.25) & (extent < 0.75)).all()
    assert 0.35 < extent.mean() < 0.6


def test_position_moves_the_object_as_documented() -> None:
    red = {"object_hue": 0.0, "background_hue": 1 / 3, "spotlight_hue": 0.17}
    grid = torch.arange(64.0)

    def place(name: str) -> tuple[Tensor, Tensor, Tensor]:
        latent = LATENTS[NAMES.index(name)]
        seen = object_pixels(
            render(*scenes("mug", 2, **red, **{name: torch.tensor([latent.low, latent.high])}))
        ).float()
        area = seen.sum((1, 2))
        return (seen.sum(1) @ grid) / area, (seen.sum(2) @ grid) / area, area

    column, row, area = place("position_x")
    assert column[1] - column[0] > 11
    assert abs(row[1] - row[0]) < 3
    column, row, area = place("position_y")
    assert area[1] < 0.9 * area[0]
    column, row, area = place("position_z")
    assert row[0] - row[1] > 6
    assert abs(column[1] - column[0]) < 1


def test_spotlight_from_the_right_lights_the_right_side() -> None:
    left, right = render(*scenes("mug", 2, spotlight_angle=torch.tensor([-math.pi / 2, math.pi / 2]))).float().mean(1)
    brighter_on_the_right = (right - left)[16:36, 20:44].mean(0)
    assert brighter_on_the_right[:10].mean() < 0 < brighter_on_the_right[-10:].mean()


def test_rotations_are_right_handed_about_fixed_axes_x_then_y_then_z() -> None:
    red = {"object_hue": 0.0, "background_hue": 1 / 3, "spotlight_hue": 0.17, "rotation_psi": 0.0}
    angles = {"rotation_phi": torch.tensor([0, 0.6, 0]), "rotation_theta": torch.tensor([0, 0, 0.6])}
    nose = object_pixels(render(*scenes("airplane", 3, **red, **angles)))[:, :, 42:].float()
    level, turned_left, dipped = (nose.sum(2) @ torch.arange(64.0)) / nose.sum((1, 2))
    assert turned_left < level - 3
    assert dipped > level + 3
    # In gimbal lock a turn about x is the opposite turn about z, in this order only.
    locked = {"rotation_phi": torch.tensor([0, -0.5, 0.5]), "rotation_psi": torch.tensor([0.5, 0, 0])}
    about_x, about_z, other_way = render(*scenes("chair", 3, rotation_theta=math.pi / 2, **locked))
    assert changed_pixels(about_x, about_z) < 0.005
    assert changed_pixels(about_x, other_way) > 0.1


def test_the_shadow_falls_away_from_the_spotlight() -> None:
    angles = torch.tensor([0, math.pi / 2, -math.pi / 2])
    front, right, left = render(*scenes("mug", 3, spotlight_angle=angles)).float().mean(1)[:, 47:51]
    assert (right[:, 12:18] < 0.7 * front[:, 12:18]).all()
    assert (left[:, 46:52] < 0.7 * front[:, 46:52]).all()


@pytest.mark.parametrize(("hue", "channel"), [(0.0, 0), (1 / 3, 1), (2 / 3, 2)])
def test_hues_are_turns_of_the_colour_circle(hue: float, channel: int) -> None:
    """Each hue wins its own part of the image, in ambient light and against a spotlight of another colour."""
    other = (hue + 1 / 3) % 1
    image = render(*scenes("mug", 1, object_hue=hue, background_hue=other, spotlight_hue=0.5))[0].float()
    assert image[:, 0, :].mean(1).argmax() == (channel + 1) % 3
    assert image[:, 24:40, 28:36].mean((1, 2)).argmax() == channel
    lit = [render(*scenes("mug", 1, spotlight_hue=value))[0].float().mean((1, 2)) for value in (hue, other)]
    assert (lit[0] / lit[1]).argmax() == channel


@pytest.mark.parametrize("name", VIEW_SETS)
def test_view_groups_hold_everything_else(name: str) -> None:
    varying = {
        "pose": ["rotation_phi", "rotation_theta", "rotation_psi"],
        "light_direction": ["spotlight_angle"],
        "light_hue": ["spotlight_hue"],
    }[name]
    classes, latents = view_group_latents(name, 5, 4, seed=2)
    spread = latents.amax(1) - latents.amin(1)
    moves = torch.tensor([latent in varying for latent in NAMES])
    assert (spread[:, moves] > 0).all()
    assert (spread[:, ~moves] == 0).all()
    assert (classes == classes[:, :1]).all()
    assert len(latents[:, 0].unique(dim=0)) == 5
    assert ((latents >= LOW) & (latents <= HIGH)).all()
    _, fewer = view_group_latents(name, 3, 2, seed=2)
    assert torch.equal(fewer, latents[:3, :2])
    images = view_groups(name, 5, 4, size=16, seed=2)
    assert images.shape == (5, 4, 3, 16, 16)
    assert torch.equal(images[3, 1], render(classes[3, 1:2], latents[3, 1:2], 16)[0])


def test_dataset_gives_images_and_classes() -> None:
    dataset = LatentScenes(4, size=16, transform=lambda image: image.float().mean().item())
    assert len(dataset) == 4
    assert dataset.classes == list(SHAPES)
    assert dataset.images.shape == (4, 3, 16, 16)
    assert dataset.images.dtype == torch.uint8
    assert dataset.images is dataset.images
    assert dataset[2] == (pytest.approx(dataset.images[2].float().mean().item()), int(dataset.targets[2]))
    assert torch.equal(LatentScenes(4, size=16)[2][0], dataset.images[2])


def test_render_takes_no_scenes() -> None:
    assert render(torch.empty(0, dtype=torch.int64), torch.empty(0, 10)).shape == (0, 3, 64, 64)


def nan_latents() -> Tensor:
    latents = THREE_QUARTER_VIEW.repeat(3, 1)
    latents[1, 4] = math.nan
    return latents


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: view_groups("posture", 1, 1), r"name is 'posture'; .* pose, light_direction, light_hue"),
        (lambda: view_groups("pose", 0, 1), "num_groups is 0; at least 1"),
        (lambda: view_groups("pose", 1, 0), "num_views is 0; at least 1"),
        (lambda: LatentScenes(0), "num_images is 0; at least 1"),
        (lambda: LatentScenes(1, start=-2), "start is -2; at least 0"),
        (lambda: LatentScenes(1, size=15), "size is 15; at least 16"),
        (lambda: render(torch.zeros(2, dtype=torch.int64), torch.zeros(2, 9)), r"latents .*\(2, 9\); \(N, 10\)"),
        (lambda: render(torch.zeros(3, dtype=torch.int64), torch.zeros(2, 10)), r"classes .*\(3,\); \(2,\)"),
        (lambda: render(torch.tensor([0, 8]), torch.zeros(2, 10)), "classes holds 8; 0 to 7"),
        (lambda: render(torch.zeros(3, dtype=torch.int64), nan_latents()), "latents of image 1 are not finite"),
    ],
)
def test_wrong_arguments_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_rasteriser_agrees_with_point_in_triangle_tests() -> None:
    """Against a naive loop: which triangles face the camera, cover a pixel's centre, and are nearest there."""
    screen = torch.rand(3, 3, 40, generator=torch.Generator().manual_seed(0))
    screen[:2] = screen[:2] * 24 - 4
    image = torch.arange(40) // 20
    expected = torch.full((2, 16, 16), -1)
    for i, row, column in torch.cartesian_prod(torch.arange(2), torch.arange(16), torch.arange(16)).tolist():
        nearest = 0.0
        for triangle in (image == i).nonzero().flatten().tolist():
            x, y, inverse_depth = screen[:, :, triangle].double()
            matrix = torch.stack([x, y, torch.ones(3)]).double()
            weights = torch.linalg.solve(matrix, torch.tensor([column + 0.5, row + 0.5, 1]).double())
            if matrix.det() < 0 and (weights >= 0).all() and weights @ inverse_depth > nearest:
                nearest = float(weights @ inverse_depth)
                expected[i, row, column] = triangle
    hits = rasteriser.nearest_triangles(screen, image, (2, 16, 16))
    found = torch.full((2, 16, 16), -1)
    found.view(-1)[hits.pixel] = hits.triangle
    assert (expected >= 0).float().mean() > 0.3
    assert torch.equal(found, expected)
    assert torch.equal(rasteriser.coverage(screen, image, (2, 16, 16)) == 1, expected >= 0)


@pytest.mark.parametrize("index", range(len(SHAPES)), ids=SHAPES)
def test_meshes_are_wound_outwards_and_fit_the_unit_sphere(index: int) -> None:
    mesh = shape_meshes()[index]
    face = torch.linalg.cross(mesh.corners[:, 1] - mesh.corners[:, 0], mesh.corners[:, 2] - mesh.corners[:, 0])
    assert ((face[:, None] * mesh.normals).sum(-1) > -1e-6).all()
    torch.testing.assert_close(mesh.corners.norm(dim=-1).max(), torch.tensor(1.0))
    torch.testing.assert_close(mesh.normals.norm(dim=-1), torch.ones(len(mesh.tones), 3))
    assert ((mesh.tones > 0) & (mesh.tones <= 1)).all()


def test_contact_sheet(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = contact_sheet(size=32, columns=2)
    assert sheet.size == (2 * (100 + 2 * 34), (len(SHAPES) + len(VIEW_SETS)) * 34)
    monkeypatch.setattr(sys, "argv", ["latent_scenes", str(tmp_path / "sheet.png")])
    runpy.run_module("solo_invariance.data.latent_scenes", run_name="__main__")
    with Image.open(tmp_path / "sheet.png") as written:
        assert written.height == (len(SHAPES) + len(VIEW_SETS)) * 66
