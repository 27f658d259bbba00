import itertools

import pytest
import torch
import torchvision.transforms.v2.functional as F

from solo_invariance.families import ColorJitter, GaussianBlur, Grayscale
from solo_invariance.families.operations.appearance import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    apply_where_,
    gaussian_blur,
    to_grayscale,
)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("ours", "theirs", "amounts", "tolerance"),
    [
        (adjust_brightness, F.adjust_brightness, [0.0, 0.6, 1.4, 5.0], 1e-6),
        (adjust_contrast, F.adjust_contrast, [0.0, 0.6, 1.4, 5.0], 5e-4),  # greyscale weights differ in the 4th digit
        (adjust_saturation, F.adjust_saturation, [0.0, 0.6, 1.4, 5.0], 5e-4),
        (adjust_hue, F.adjust_hue, [-0.5, -0.1, 0.1, 0.5], 1e-5),
    ],
)
def test_adjustments_are_torchvisions(images, ours, theirs, amounts, tolerance) -> None:
    expected = torch.cat([theirs(image[None], amount) for image, amount in zip(images, amounts, strict=True)])
    torch.testing.assert_close(ours(images, torch.tensor(amounts)), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("turns", [-0.5, -0.2, 0.0, 0.1, 1 / 3])
def test_hue_of_greys_primaries_and_ties_is_torchvisions(turns: float) -> None:
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 0.5, 1.0])] * 3)  # every colour of three levels
    images = corners.T.reshape(1, 3, 3, 9)
    expected = F.adjust_hue(images, turns)
    torch.testing.assert_close(adjust_hue(images, torch.tensor([turns])), expected, atol=1e-5, rtol=0)


def test_blur_and_grayscale_are_torchvisions(images) -> None:
    sigma = torch.tensor([0.1, 0.7, 1.3, 2.0])
    expected = torch.cat(
        [F.gaussian_blur(i[None], [13, 13], [s, s]) for i, s in zip(images, sigma.tolist(), strict=True)]
    )
    torch.testing.assert_close(gaussian_blur(images, sigma, 13), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(to_grayscale(images), F.rgb_to_grayscale(images, 3), atol=2e-4, rtol=0)


def test_jitter_applies_each_image_its_own_order(images) -> None:
    orders = list(itertools.permutations(range(4)))
    many = images[:1].expand(len(orders), -1, -1, -1)
    factors = {"brightness": 1.3, "contrast": 0.7, "saturation": 1.2, "hue": 0.08}
    parameters = {name: torch.full((len(orders),), value) for name, value in factors.items()}
    parameters |= {"applied": torch.ones(len(orders), dtype=torch.bool), "order": torch.tensor(orders)}
    views = ColorJitter().apply(many, parameters)
    adjustments = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue]
    for view, order in zip(views, orders, strict=True):
        expected = images[:1]
        for index in order:
            expected = adjustments[index](expected, list(factors.values())[index])
        torch.testing.assert_close(view[None], expected, atol=2e-3, rtol=0)


def test_jitter_draws_every_order_and_the_stated_ranges() -> None:
    drawn = ColorJitter(brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1, p=0.8).draw(
        6000, torch.Generator().manual_seed(0)
    )
    assert drawn["applied"].float().mean() == pytest.approx(0.8, abs=0.02)
    for name, low, high in (
        ("brightness", 0.6, 1.4),
        ("contrast", 0.0, 2.5),
        ("saturation", 0.8, 1.2),
        ("hue", -0.1, 0.1),
    ):
        assert drawn[name].min() >= low
        assert drawn[name].max() <= high
        assert drawn[name].mean() == pytest.approx((low + high) / 2, abs=(high - low) / 50)
    counts = torch.unique(drawn["order"], dim=0, return_counts=True)[1].double()
    assert len(counts) == 24
    chi_squared = float(((counts - 250) ** 2 / 250).sum())
    assert chi_squared < 41.6  # the 1 % critical value for 23 degrees of freedom


def test_probability_zero_and_one(images) -> None:
    generator = torch.Generator().manual_seed(0)
    never, always = Grayscale(p=0.0), Grayscale(p=1.0)
    assert torch.equal(never.apply(images, never.draw(4, generator)), images)
    assert torch.equal(always.apply(images, always.draw(4, generator)), to_grayscale(images))


def test_blur_leaves_the_images_that_were_not_chosen(images) -> None:
    parameters = {"applied": torch.tensor([True, False, True, False]), "sigma": torch.full((4,), 2.0)}
    views = GaussianBlur().apply(images, parameters)
    changed = (views != images).flatten(1).any(dim=1)
    assert changed.tolist() == [True, False, True, False]


def test_blur_of_images_smaller_than_the_kernel() -> None:
    images = torch.rand(1, 3, 4, 4)
    parameters = {"applied": torch.tensor([True]), "sigma": torch.tensor([2.0])}
    assert GaussianBlur().apply(images, parameters).shape == images.shape


def test_apply_where_computes_only_what_was_chosen(images) -> None:
    seen: list[int] = []

    def count(chosen: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
        seen.append(len(chosen))
        return chosen * amount[:, None, None, None]

    amounts = torch.tensor([2.0, 3.0, 4.0, 5.0])
    views = apply_where_(torch.tensor([False, True, False, True]), images.clone(), count, amounts)
    assert seen == [2]
    torch.testing.assert_close(views[1], images[1] * 3)
    torch.testing.assert_close(views[3], images[3] * 5)
    assert torch.equal(views[0], images[0])


@pytest.mark.parametrize("arguments", [{"hue": 0.6}, {"brightness": -0.1}, {"p": 2.0}])
def test_wrong_strengths_are_refused(arguments) -> None:
    with pytest.raises(ValueError, match=r"color_jitter\."):
        ColorJitter(**arguments)


def test_the_blurs_kernel_reaches_to_three_times_the_largest_sigma(images) -> None:
    parameters = {"applied": torch.ones(4, dtype=torch.bool), "sigma": torch.full((4,), 1.5)}
    views = GaussianBlur(sigma=(1.0, 2.0)).apply(images, parameters)
    torch.testing.assert_close(views, F.gaussian_blur(images, [13, 13], [1.5, 1.5]), atol=1e-5, rtol=0)


def test_colours_stay_where_the_jitter_is_not_applied(images) -> None:
    drawn = ColorJitter().draw(4, torch.Generator().manual_seed(0))
    drawn["applied"] = torch.tensor([True, False, True, False])
    views = ColorJitter().apply(images, drawn)
    assert torch.equal(views[1::2], images[1::2])
    assert not torch.equal(views[::2], images[::2])
