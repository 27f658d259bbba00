from collections.abc import Mapping
from typing import Any

import pytest
import torch

from solo_invariance.backbones import Backbone
from solo_invariance.measure import ResizeCrop
from solo_invariance.measure.functional.whitening import hold_out, whiten, whitening_from_statistics
from solo_invariance.measure.record import cautions_of_reference, identity_of

_CONFIG: Mapping[str, Any] = {
    "backbone": {"checkpoint": None, "name": None},
    "reference": {"path": "one"},
    "seed": 0,
    "out": "here",
    "batch_size": 8,
}
_USUAL: Mapping[str, Any] = {"config": _CONFIG, "geometry": ResizeCrop(36, 32), "contents": ["a", "b"], "own": {}}


@pytest.mark.parametrize(
    "change",
    [
        {"config": {**_CONFIG, "reference": {"path": "other"}}},
        {"config": {**_CONFIG, "seed": 1}},
        {"geometry": ResizeCrop(40, 32)},
        {"geometry": ResizeCrop(36, 36)},
        {"contents": ["other", "b"]},
        {"contents": ["a", "other"]},  # the reference images
        {"own": {"transforms": {"mine": "of 3 degrees"}}},
    ],
)
def test_a_run_is_known_by_all_that_its_numbers_depend_on(tiny_backbone: Backbone, change) -> None:
    usual = identity_of(backbone=tiny_backbone, **_USUAL)
    assert identity_of(backbone=tiny_backbone, **{**_USUAL, **change}) != usual


@pytest.mark.parametrize("change", [{"out": "there"}, {"batch_size": 4}])
def test_where_results_go_and_how_fast_they_come_is_no_part_of_it(tiny_backbone: Backbone, change) -> None:
    usual = identity_of(backbone=tiny_backbone, **_USUAL)
    assert identity_of(backbone=tiny_backbone, **{**_USUAL, "config": {**_CONFIG, **change}}) == usual


@pytest.mark.parametrize(
    ("count", "holds_out", "shared", "enough", "effect"),
    [
        (19, True, True, 20, "mostly too high"),
        (10, True, True, 20, "distances by a quarter"),
        (9, True, True, 20, "distances are far too small to be used"),
        (20, True, True, None, ""),
        (19, False, False, 20, "mostly too low"),
        (20, False, False, None, ""),
        (159, False, True, 160, "look less invariant"),
        (160, False, True, None, ""),
    ],
)
def test_how_many_reference_images_are_enough(
    count: int, holds_out: bool, shared: bool, enough: int | None, effect: str
) -> None:
    reference = {"num_images": count, "num_files": count}
    found = cautions_of_reference(reference, 10, holds_out=holds_out, shares_images=lambda: shared)
    if enough is None:
        assert found == []
    else:
        (caution,) = found
        assert caution.startswith(f"{count} reference images are few for 10 features: ")
        assert effect in caution
        assert caution.endswith(f"; {enough} would be enough (reference.path).")


@pytest.mark.parametrize(("count", "least", "most"), [(32, 0.0, 0.1), (64, 0.75, 1.0), (128, 0.95, 1.05)])
def test_distances_by_fewer_reference_images_than_features_are_as_the_caution_says(
    count: int, least: float, most: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 64, dtype=torch.float64, generator=generator)
    views = images + 0.3 * torch.randn(count, 64, dtype=torch.float64, generator=generator)
    by = whitening_from_statistics(images.mean(0), images.T.cov(), count, shrink=True)
    pairs = torch.stack([whiten(images, by), whiten(views, by)], 1)
    found = hold_out(pairs, pairs[:, :1], by) * by.length(1)
    share = (found[:, 1] - found[:, 0]).norm(dim=1).mean() / (views - images).norm(dim=1).mean()  # white as they are
    assert least <= float(share) <= most


def test_pictures_that_repeat_are_what_is_few_and_not_their_files() -> None:
    reference = {"num_images": 20000, "num_files": 20000}
    about = {"holds_out": True, "shares_images": lambda: False}
    (caution,) = cautions_of_reference(reference, 128, repeats=50, **about)
    assert caution.startswith("20000 reference images repeat 50 pictures, which are few for 128 features: ")
    assert caution.endswith("; 256 different ones would be enough (reference.path).")
    assert cautions_of_reference(reference, 128, repeats=300, **about) == []
