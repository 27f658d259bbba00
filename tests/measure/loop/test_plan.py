from dataclasses import replace

import numpy as np
import pytest
import torch

from solo_invariance.data.images import TensorImages
from solo_invariance.errors import UserError
from solo_invariance.measure import MeasureSettings, ResizeCrop
from solo_invariance.measure.loop.plan import Plan, choose_images, grids_of
from solo_invariance.measure.transforms import rotation
from solo_invariance.plugins import load_plugin
from solo_invariance.protocols import ProtocolName


def _plan(count: int = 40, seed: int = 0) -> Plan:
    source = TensorImages(torch.zeros(count, 3, 8, 8, dtype=torch.uint8))
    settings = MeasureSettings(budget="adaptive", k=64, num_images=count, seed=seed)
    return Plan({"rotation": rotation}, source, {}, settings, ResizeCrop(8, 8))


def test_the_paper_draws_images_with_replacement_and_the_clean_protocol_each_once() -> None:
    """Of n draws with replacement, 1 - 1 / e of n are distinct: 632 of 1000, give or take 10."""
    paper = choose_images(1000, MeasureSettings(protocol="paper", num_images=1000))
    clean = choose_images(1000, MeasureSettings(protocol="clean", num_images=1000))
    assert 592 < len({*paper}) < 672
    assert sorted(clean) == list(range(1000))


@pytest.mark.parametrize("seed", [0, 5])
def test_the_paper_draws_as_many_as_are_asked_for_of_however_few_by_seed_0(seed: int) -> None:
    """A thousand, by NumPy's first generator, as the official code."""
    drawn = choose_images(8, MeasureSettings(protocol="paper", seed=seed))
    assert drawn == np.random.RandomState(0).choice(8, 1000).tolist()
    assert len(choose_images(8, MeasureSettings(protocol="clean", num_images=30))) == 8


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_a_grid_of_what_changes_nothing_is_refused(protocol: ProtocolName) -> None:
    """Which k = 1 gives to those that begin there; others have one that changes something, or are on and off."""
    geometry = ResizeCrop(64, 56)
    refused, measured = {"blur", "rotation", "sharpness"}, {"hue", "brightness", "h_flip", "posterize"}
    transforms = {name: load_plugin("transforms", name) for name in refused | measured}
    settings = MeasureSettings(protocol=protocol, k=1)
    assert grids_of({name: transforms[name] for name in measured}, settings, geometry).keys() == measured
    for name in refused:
        with pytest.raises(UserError, match=rf"^k=1: the one parameter of {name} changes nothing"):
            grids_of({name: transforms[name], "hue": transforms["hue"]}, settings, geometry)
    assert len(grids_of(transforms, replace(settings, k=2), geometry)["rotation"]) == 2


def test_the_seed_says_which_images_are_chosen() -> None:
    first, second = (choose_images(1000, MeasureSettings(num_images=20, seed=seed)) for seed in (0, 1))
    assert first != second


def test_every_visit_shows_all_images_in_an_order_of_its_own() -> None:
    plan = _plan()
    visits = [[plan.item(40 * visit + place) for place in range(40)] for visit in range(4)]
    assert visits[0] == list(range(40))
    assert all(sorted(visit) == visits[0] for visit in visits)
    assert len({tuple(visit) for visit in visits}) == 4
    assert [plan.image(40 + place) for place in range(40)] == [plan.images[item] for item in visits[1]]


@pytest.mark.parametrize(("covered", "expected"), [(True, None), (False, 128 + 32)])
def test_a_grid_that_was_not_covered_is_gone_on_with(covered: bool, expected: int | None) -> None:
    """63 parameters but the identity, four at a time, are 16 rows, and twice as many cover them in any case."""
    certain, items = np.ones(128), np.arange(128) % 40
    assert _plan().more_rows("rotation", 128, certain, items, covered=covered) == expected
