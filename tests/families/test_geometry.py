import pytest
import torch
import torchvision.transforms.v2.functional as F
from torchvision.transforms import RandomResizedCrop

from solo_invariance.families import HorizontalFlip, ResizedCrop
from solo_invariance.families.geometry import homography
from solo_invariance.families.resampling import resample


@pytest.mark.parametrize("box", [(0, 0, 40, 40), (3, 5, 20, 30), (10, 0, 9, 7), (0, 20, 40, 20), (39, 39, 1, 1)])
@pytest.mark.parametrize("size", [5, 16, 50])
def test_resized_crop_is_torchvisions(box: tuple[int, int, int, int], size: int) -> None:
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    top, left, height, width = box
    expected = F.resized_crop(images, top, left, height, width, [size, size], antialias=True)
    parameters = {"box": torch.tensor([[left, top, width, height]]).expand(2, 4) / 40}
    views = resample(images, [ResizedCrop().step(parameters)], size, axis_aligned=True)
    torch.testing.assert_close(views, expected, atol=1e-5, rtol=0)


def test_box_distribution_is_torchvisions() -> None:
    crop = ResizedCrop(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3))
    boxes = crop.draw(4000, torch.Generator().manual_seed(0))["box"].double()
    torch.manual_seed(0)
    image = torch.zeros(1, 1000, 1000)
    theirs = torch.tensor([RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)])
    top, left, height, width = (theirs.double() / 1000).unbind(dim=1)
    pairs = {
        "left": (boxes[:, 0], left),
        "top": (boxes[:, 1], top),
        "area": (boxes[:, 2] * boxes[:, 3], height * width),
        "ratio": (boxes[:, 2] / boxes[:, 3], width / height),
    }
    for name, (ours, reference) in pairs.items():
        assert kolmogorov_smirnov(ours, reference) < 1.63 * (2 / 4000) ** 0.5, name  # the 1 % critical value


def kolmogorov_smirnov(first: torch.Tensor, second: torch.Tensor) -> float:
    values = torch.cat([first, second]).sort().values
    below = [torch.searchsorted(sample.sort().values, values, right=True) / len(sample) for sample in (first, second)]
    return float((below[0] - below[1]).abs().max())


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
        ({"scale": (0.2, 1.5)}, "ends at 1"),
        ({"ratio": (-1.0, 2.0)}, r"resized_crop\.ratio"),
    ],
)
def test_wrong_ranges_are_refused(arguments: dict[str, tuple[float, float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResizedCrop(**arguments)


def test_wrong_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"horizontal_flip\.p=1\.5: expected a probability in \[0, 1\]"):
        HorizontalFlip(p=1.5)
