"""The loss that keeps features sensitive: against closed forms, and against features that hold what was drawn."""

import pytest
import torch
from torch import Tensor

from solo_invariance.errors import UserError
from solo_invariance.families import (
    ColorJitter,
    Family,
    FamilyViews,
    HorizontalFlip,
    Rotation,
    SensitivityLoss,
    default,
    dorsal,
    strong_dorsal,
    ventral,
)
from solo_invariance.families.crops import generator_of


def _drawn(families: list[Family], n: int, seed: int = 0) -> list[dict[str, dict[str, Tensor]]]:
    generator = generator_of((seed,))
    return [dict(zip(one.names, one.draw(n, generator), strict=True)) for one in families]


def _silent(loss: SensitivityLoss) -> SensitivityLoss:
    """Make the networks predict 0, whatever the features."""
    for network in loss.networks.values():
        for parameter in network[-1].parameters():  # type: ignore[index]
            parameter.data.zero_()
    return loss


@pytest.mark.parametrize("name", default.names)
def test_to_say_nothing_is_chance_whatever_the_units(name: str) -> None:
    loss = _silent(SensitivityLoss([name], [default, default], 4))
    found = loss([torch.randn(3000, 4)] * 2, _drawn([default, default], 3000, seed=1))
    assert float(found[name].detach()) == pytest.approx(1, abs=0.06)


def test_its_value_is_that_of_the_numbers_by_hand() -> None:
    family = Family("turns", (Rotation((-40, 40)),))
    loss = _silent(SensitivityLoss(["rotation"], [family, family], 2))
    with torch.no_grad():
        loss.networks["rotation"][-1].bias.fill_(0.5)  # type: ignore[index, operator]
    degrees = torch.tensor([30.0, -10.0]), torch.tensor([10.0, 20.0])
    found = loss([torch.zeros(2, 2)] * 2, [{"rotation": {"degrees": one}} for one in degrees])
    # The difference of two numbers from -40 to 40 has a mean square of 80² / 6.
    scale = (80**2 / 6) ** 0.5
    expected = ((20 / scale - 0.5) ** 2 + (-30 / scale - 0.5) ** 2) / 2
    assert float(found["rotation"].detach()) == pytest.approx(expected, rel=0.05)


def test_numbers_count_where_both_views_have_them() -> None:
    jitter = ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.5)
    family = Family("jitter", (jitter,))
    loss = _silent(SensitivityLoss(["color_jitter"], [family, family], 2))
    drawn = _drawn([family, family], 6)
    for view, applied in zip(drawn, ([1, 1, 0, 0, 1, 0], [1, 0, 1, 0, 1, 0]), strict=True):
        view["color_jitter"]["applied"] = torch.tensor(applied, dtype=torch.bool)
    features = [torch.zeros(6, 2)] * 2
    before = loss(features, drawn)["color_jitter"]
    for index in (1, 2, 3, 5):
        drawn[0]["color_jitter"]["hue"][index] += 100
    drawn[0]["color_jitter"]["order"] += 7  # no quantity
    assert torch.equal(loss(features, drawn)["color_jitter"], before)
    drawn[0]["color_jitter"]["hue"][4] += 0.1
    assert not torch.equal(loss(features, drawn)["color_jitter"], before)
    never = [{"color_jitter": {**view["color_jitter"], "applied": torch.zeros(6, dtype=torch.bool)}} for view in drawn]
    assert (
        float(loss(features, never)["color_jitter"].detach()) == 0
    )  # neither view: nothing differs, and nothing is to be told


def test_features_that_hold_what_was_drawn_are_read_and_others_are_not() -> None:
    family = Family("turns", (Rotation((-40, 40)), HorizontalFlip()))
    loss = SensitivityLoss(["rotation", "horizontal_flip"], [family, family], 3, hidden=32)
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.01)

    def features(drawn: list[dict[str, dict[str, Tensor]]]) -> list[Tensor]:
        n = len(drawn[0]["rotation"]["degrees"])
        return [torch.stack([one["rotation"]["degrees"] / 40, *torch.randn(2, n)], dim=1) for one in drawn]

    for step in range(400):
        drawn = _drawn([family, family], 64, seed=step)
        optimiser.zero_grad()
        torch.stack([*loss(features(drawn), drawn).values()]).sum().backward()
        optimiser.step()
    drawn = _drawn([family, family], 1000, seed=1000)
    found = loss(features(drawn), drawn)
    assert float(found["rotation"].detach()) < 0.1
    assert float(found["horizontal_flip"].detach()) > 0.9


def test_gradients_reach_the_features_of_both_views() -> None:
    views = FamilyViews("default", crop_size=32)
    features = [torch.randn(5, 4, requires_grad=True) for _ in range(2)]
    loss = SensitivityLoss(["resized_crop"], views.pipeline.large, 4)
    loss(features, views.pipeline.by_name(views.draw(5)))["resized_crop"].backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in features)


def test_its_weights_follow_from_the_seed_and_leave_the_global_state() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    losses = [SensitivityLoss(["resized_crop"], [ventral, ventral], 4, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(2), expected)
    first, again, other = (next(iter(loss.parameters())) for loss in losses)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_an_operation_that_is_there_twice_has_a_name_of_its_own() -> None:
    twice = Family("twice", (Rotation((-5, 5)), HorizontalFlip(), Rotation((0, 40))))
    assert twice.names == ("rotation", "horizontal_flip", "rotation_2")
    loss = SensitivityLoss(["rotation_2"], [twice, twice], 2)
    assert float(loss._scales["rotation_2"]) == pytest.approx((40**2 / 6) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("operations", "families", "message"),
    [
        (["color_jiter"], [default, default], "color_jiter: the family default draws .*did you mean 'color_jitter'"),
        (["resized_crop"], [default, dorsal], "resized_crop: the family dorsal draws color_jitter"),
        (["grayscale"], [strong_dorsal, strong_dorsal], "grayscale: two views never differ by it"),
        (["resized_crop"], [default], "two views"),
    ],
)
def test_what_no_view_can_be_sensitive_to_is_refused(operations, families, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SensitivityLoss(operations, families, 4)
