from collections.abc import Mapping
from typing import Any

import pytest

from solo_invariance.backbones import Backbone
from solo_invariance.measure import ResizeCrop
from solo_invariance.measure.record import identity_of

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
