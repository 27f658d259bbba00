"""Averages over orbits: exact for groups of the square, weighted by what steps stand for, and plain data."""

import json
import math

import pytest
import torch
from torch import Tensor, nn

from solo_invariance.backbones import Backbone
from solo_invariance.backbones.resize_crop import ResizeCrop
from solo_invariance.backbones.views import OrbitViews, Steps, views_from
from solo_invariance.errors import UserError
from solo_invariance.measure.named import transforms_named

HALVES = (0.5, 0.5)
FLIP = Steps(((0.0,), (1.0,)), HALVES)
THIRDS = (1 / 4, 1 / 2, 1 / 4)
TURNS = Steps(((0.0,), (90.0,), (180.0,), (270.0,)), (0.25,) * 4)


class _Looks(nn.Module):
    """Features that change with everything: a convolution that is nowhere symmetric, and all its positions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 6))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images)
        return features


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def _averaged(views: OrbitViews) -> Backbone:
    return Backbone.of(_Looks(), crop_size=16).averaged_over(views)


@pytest.mark.parametrize(
    ("steps", "moved"),
    [
        ({"h_flip": FLIP}, lambda x: x.flip(-1)),
        ({"rotation": TURNS}, lambda x: x.rot90(1, (-2, -1))),
        ({"h_flip": FLIP, "rotation": TURNS}, lambda x: x.flip(-1).rot90(3, (-2, -1))),
        ({"rotation": TURNS, "v_flip": FLIP}, lambda x: x.rot90(2, (-2, -1)).flip(-2)),
    ],
)
def test_a_group_of_the_square_makes_features_exactly_invariant(steps, moved, images: Tensor) -> None:
    averaged = _averaged(OrbitViews(steps))
    plain = Backbone.of(_Looks(), crop_size=16)
    assert (plain(moved(images)) - plain(images)).abs().max() > 0.01
    torch.testing.assert_close(averaged(moved(images)), averaged(images), atol=1e-6, rtol=0)
    assert averaged.views is not None
    assert averaged.views.num_views == math.prod(len(one.weights) for one in steps.values())


def test_the_mean_is_that_of_all_products_by_their_weights(images: Tensor) -> None:
    dark = Steps(((0.5,), (1.0,), (1.5,)), (0.25, 0.5, 0.25))
    plain = Backbone.of(_Looks(), crop_size=16)
    expected = sum(
        weight * plain((factor * (images.flip(-1) if flip else images)).clamp(0, 1)) / 2
        for flip in (False, True)
        for factor, weight in ((0.5, 0.25), (1.0, 0.5), (1.5, 0.25))
    )
    found = _averaged(OrbitViews({"h_flip": FLIP, "brightness": dark}))(images)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "k", "expected"),
    [
        ("rotation", 4, [1 / 4] * 4),  # a circle has no ends
        ("hue", 5, [1 / 8, 1 / 4, 1 / 4, 1 / 4, 1 / 8]),  # a circle that is cut open: both ends are one
        ("h_flip", 8, [1 / 2] * 2),
        ("posterize", 8, [1 / 7] * 7),
        ("resized_crop", 81, [a * b * c * d for a in THIRDS for b in THIRDS for c in THIRDS for d in THIRDS]),
    ],
)
def test_steps_stand_for_what_is_nearest_to_them(name: str, k: int, expected: list[float]) -> None:
    transform = transforms_named([name])[name]
    weights = transform.weights(transform.grid(k, ResizeCrop(18, 16), "clean"))
    assert weights.tolist() == pytest.approx(expected, abs=1e-6)


def test_unevenly_spaced_steps_stand_for_the_cells_around_them() -> None:
    transform = transforms_named(["brightness"])["brightness"]
    weights = transform.weights(torch.tensor([[0.0], [1.0], [3.0], [7.0]]))
    assert weights.tolist() == pytest.approx([0.5 / 7, 1.5 / 7, 3 / 7, 2 / 7])


@pytest.mark.parametrize("name", list(transforms_named("all")))
def test_the_steps_of_every_transform_have_weights(name: str) -> None:
    transform = transforms_named([name])[name]
    weights = transform.weights(transform.grid(9, ResizeCrop(18, 16), "clean"))
    assert float(weights.sum()) == pytest.approx(1)
    assert (weights > 0).all()


def test_a_step_that_changes_nothing_shows_the_image_itself(images: Tensor) -> None:
    views = OrbitViews({"brightness": Steps(((1.0,), (0.5,)), HALVES)})
    first, second = views.of(images)
    torch.testing.assert_close(first, images)
    torch.testing.assert_close(second, images / 2)


def test_they_are_plain_data_and_back(images: Tensor) -> None:
    views = OrbitViews({"h_flip": FLIP, "rotation": TURNS})
    again = views_from(json.loads(json.dumps(views.content())))
    assert again == views
    assert torch.equal(_averaged(again)(images), _averaged(views)(images))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "an orbit needs a transform"),
        ({"sepia": FLIP}, "there is no 'sepia'"),
        ({"h_flip": Steps((), ())}, "steps of h_flip"),
        ({"h_flip": Steps(((0.0,), (1.0,)), (0.5, 0.6))}, "weights of sum 1"),
        ({"h_flip": Steps(((0.0,), (1.0,)), (1.5, -0.5))}, "weights of sum 1"),
        ({"h_flip": Steps(((0.0,), (1.0, 2.0)), HALVES)}, "rows of finite numbers"),
        ({"h_flip": Steps(((0.0,), (math.nan,)), HALVES)}, "rows of finite numbers"),
    ],
)
def test_what_is_no_orbit_is_refused(content, message: str) -> None:
    with pytest.raises(UserError, match=message):
        OrbitViews(content)
