"""Deformation: the paper's, against albumentations, and the clean one, against what it says of itself."""

import numpy as np
import pytest
import torch
from torch import Tensor

from solo_invariance.measure import Geometry
from solo_invariance.measure.transforms import deform
from solo_invariance.measure.transforms.deformation import affine, affine_map, displace, smooth
from solo_invariance.measure.transforms.transform import Box

GEOMETRY = Geometry(64, 56)


def _views(image: Tensor, parameters: Tensor) -> Tensor:
    return deform.apply(image.expand(len(parameters), -1, -1, -1), parameters, GEOMETRY)


@pytest.fixture
def picture(photo: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(photo[..., :256], (96, 120), mode="bilinear", antialias=True)


def _official(picture: Tensor) -> np.ndarray:
    return (picture[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()


def test_the_papers_control_points_are_moved() -> None:
    moves = torch.tensor([[[5.0, -7.0], [20.0, 1.0], [-50.0, 50.0]]]).double()
    # Of 500 x 375: c = (187, 250), taken for (x, y), and s = 125.
    points = torch.tensor([[312.0, 375.0], [312.0, 125.0], [62.0, 125.0]]).double()
    moved = torch.cat([points + moves[0], torch.ones(3, 1)], dim=1)
    torch.testing.assert_close(moved @ affine_map(moves, 375, 500)[0].T, points)


def test_the_papers_steps_are_albumentations_for_the_same_draws(picture: Tensor) -> None:
    reference = pytest.importorskip(
        "albumentations.augmentations.geometric.functional", reason="needs albumentations 1.0.3, of the extra dev"
    )
    height, width = picture.shape[-2:]
    for seed in range(5):
        expected = reference.elastic_transform(
            _official(picture), 1, 10, 20, random_state=np.random.RandomState(seed), approximate=True
        )
        draw = np.random.RandomState(seed)
        moves = torch.from_numpy(draw.uniform(-20, 20, (1, 3, 2)))
        noise = torch.from_numpy(draw.rand(1, 2, height, width) * 2 - 1).float()
        moved = affine(picture, affine_map(moves, height, width), Box(0, 0, height, width))
        ours = displace(moved, smooth(noise, torch.tensor([10.0])))
        levels_off = np.abs(255 * ours[0].permute(1, 2, 0).numpy() - expected.astype(float))
        assert levels_off.mean() < 0.6  # OpenCV places pixels on a grid of 1/32
        assert np.quantile(levels_off, 0.99) < 4


def test_the_papers_deformations_are_distributed_as_albumentations(picture: Tensor) -> None:
    reference = pytest.importorskip("albumentations", reason="needs albumentations 1.0.3 (the extra dev)")
    transform = reference.ElasticTransform(sigma=10, always_apply=True, approximate=True)
    image = _official(picture)
    theirs = torch.stack([torch.from_numpy(transform(image=image)["image"]) for _ in range(400)]).permute(0, 3, 1, 2)
    geometry = Geometry(96, 96)
    rows = torch.cat([torch.tensor([[10.0, field, 50.0, row]]) for field in range(20) for row in range(20)])
    ours = deform.apply_in_eight_bits(picture.expand(400, -1, -1, -1), rows, geometry)
    theirs = theirs[..., 12:108] / 255  # the centre crop
    clean = picture[..., 12:108]
    changes = [(views - clean).abs().mean(dim=(1, 2, 3)) for views in (ours, theirs)]
    error = (changes[0].var() / 400 + changes[1].var() / 400).sqrt()
    assert (changes[0].mean() - changes[1].mean()).abs() < 4 * error
    assert error < 0.05 * changes[1].mean()
    assert changes[0].std() / changes[1].std() == pytest.approx(1, abs=0.2)
    # On average the picture stays where it is: the mean view is theirs, too.
    means_off = (ours.mean(dim=0) - theirs.mean(dim=0)).abs().mean()
    assert means_off < 1.5 * ((ours.var(dim=0) + theirs.var(dim=0)) / 400).sqrt().mean()


def test_the_papers_draws_are_new_for_every_field_and_row(picture: Tensor) -> None:
    grid = deform.grid(2, GEOMETRY, "paper")
    assert deform.identity(grid) is None
    views = [_views(picture, deform.parameters_of_row(grid, row)) for row in (0, 1)]
    different = torch.cat(views)
    for index in range(4):
        others = [other for other in range(4) if other != index]
        assert (different[others] - different[index]).abs().mean(dim=(1, 2, 3)).min() > 0.01
    assert torch.equal(views[1], _views(picture, deform.parameters_of_row(grid, 1)))


def test_the_papers_sigmas_are_whole_numbers() -> None:
    grid = deform.grid(256, GEOMETRY, "paper")
    assert grid[:, 0].tolist() == [10, 15, 21, 27, 32, 38, 44, 50] * 32


def test_a_clean_deformation_displaces_smoothly_by_as_many_pixels_as_it_says() -> None:
    columns, rows = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="xy")
    places = torch.stack([columns, rows, columns])[None]
    grid = deform.grid(9, GEOMETRY, "clean")
    assert grid[-1, 0] == 2  # 8 pixels of 224
    shift = _views(places, grid)[:, :2] - places[:, :2, 4:60, 4:60]
    lengths = shift.square().sum(dim=1).mean(dim=(1, 2)).sqrt()
    # Where pixels are looked for beyond the border, they are reflected, and not in their place.
    torch.testing.assert_close(lengths, grid[:, 0], atol=0.02, rtol=0.05)
    slopes = torch.cat([shift.diff(dim=axis).flatten(1).abs() for axis in (2, 3)], dim=1).amax(dim=1)
    assert (slopes <= 0.5 * grid[:, 0] + 1e-3).all()
    assert slopes.max() < 1  # nothing is folded over


def test_clean_fields_are_the_same_for_every_image(picture: Tensor) -> None:
    grid = deform.grid(4, GEOMETRY, "clean")
    assert torch.equal(deform.parameters_of_row(grid, 3), deform.parameters_of_row(grid, 8))
    assert deform.is_exact(grid, deform.identity(grid))
    same = grid[[3, 3, 2]]
    views = _views(picture[..., :64, :64], same)
    torch.testing.assert_close(views[0], views[1])
    assert (views[0] - views[2]).abs().mean() > 0.01
