"""Views are distributed as torchvision's: two-sample tests of what comes out, many draws of the same photograph."""

from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.v2 as T
from torch import Tensor

from solo_invariance.families import (
    ColorJitter,
    Equalize,
    Erasing,
    Family,
    GaussianBlur,
    GaussianNoise,
    Grayscale,
    HorizontalFlip,
    Perspective,
    Posterize,
    ResizedCrop,
    Rotation,
    Solarize,
    VerticalFlip,
    default,
    dorsal,
    strong_dorsal,
    ventral,
)

DRAWS = 800
SIZE = 64


def _jitter(strength: float, hue: float) -> T.Transform:
    return T.RandomApply([T.ColorJitter(strength, strength, strength, hue)], p=0.8)


_crop = T.RandomResizedCrop(SIZE, scale=(0.2, 1.0), antialias=True)
_blur = T.GaussianBlur(13, (0.1, 2.0))
_inside = T.CenterCrop(24)  # of what torchvision fills with zeros and ours with the reflection

PAIRS = {
    "resized_crop": (ResizedCrop(), _crop),
    "horizontal_flip": (HorizontalFlip(), T.RandomHorizontalFlip()),
    "vertical_flip": (VerticalFlip(), T.RandomVerticalFlip()),
    "rotation": (Rotation(degrees=(-40.0, 40.0)), T.RandomRotation(40, T.InterpolationMode.BILINEAR)),
    "perspective": (Perspective(distortion=0.3, p=1.0), T.RandomPerspective(0.3, p=1.0)),
    "color_jitter": (ColorJitter(), _jitter(0.4, 0.1)),
    "grayscale": (Grayscale(), T.RandomGrayscale(0.2)),
    "gaussian_blur": (GaussianBlur(), T.RandomApply([_blur], p=0.5)),
    "solarize": (Solarize(p=0.3), T.RandomSolarize(128 / 255, p=0.3)),
    "posterize": (Posterize(bits=(3, 3), p=0.4), T.RandomPosterize(3, p=0.4)),
    "equalize": (Equalize(p=0.4), T.RandomEqualize(p=0.4)),
    "erasing": (Erasing(fill=0.5, p=0.6), T.RandomErasing(p=0.6, value=0.5)),
    "gaussian_noise": (GaussianNoise(std=(0.1, 0.1), p=1.0), T.GaussianNoise(sigma=0.1)),
    "default": (
        default,
        T.Compose([_crop, _jitter(0.4, 0.1), T.RandomGrayscale(0.2), T.RandomApply([_blur]), T.RandomHorizontalFlip()]),
    ),
    "ventral": (ventral, T.Compose([_crop, T.RandomHorizontalFlip()])),
    "dorsal": (dorsal, T.Compose([_jitter(0.4, 0.1), T.RandomGrayscale(0.2), T.RandomApply([_blur])])),
    "strong_dorsal": (
        strong_dorsal,
        T.Compose([_jitter(0.8, 0.2), T.RandomGrayscale(1.0), _blur, T.RandomSolarize(128 / 255, p=0.2)]),
    ),
}


def _statistics(views: Tensor) -> dict[str, Tensor]:
    """One number a view each: means and deviations by channel, sharpness, balance of the halves, histogram."""
    channels = {f"mean of channel {c}": views[:, c].mean(dim=(1, 2)) for c in range(3)}
    channels |= {f"deviation of channel {c}": views[:, c].std(dim=(1, 2)) for c in range(3)}
    grey = views.mean(dim=1)
    left, right = grey.chunk(2, dim=2)
    upper, lower = grey.chunk(2, dim=1)
    histogram = {
        f"share below {level}": (views < level).float().mean(dim=(1, 2, 3)) for level in (0.125, 0.375, 0.625, 0.875)
    }
    return {
        **channels,
        "saturation": (views.amax(dim=1) - views.amin(dim=1)).mean(dim=(1, 2)),
        "sharpness": (grey[..., 1:] - grey[..., :-1]).abs().mean(dim=(1, 2)),
        "left and right": (left - right).mean(dim=(1, 2)),
        "above and below": (upper - lower).mean(dim=(1, 2)),
        **histogram,
    }


@pytest.mark.parametrize("name", PAIRS)
def test_views_are_distributed_as_torchvisions(
    name: str, canvas: Tensor, kolmogorov_smirnov: Callable[[Tensor, Tensor], float]
) -> None:
    ours, theirs = PAIRS[name]
    family = ours if isinstance(ours, Family) else Family(name, (ours,))
    views = family.apply(canvas.expand(DRAWS, -1, -1, -1), family.draw(DRAWS, torch.Generator().manual_seed(1)), SIZE)
    torch.manual_seed(2)
    # On floats, torchvision's posterize keeps levels other than the 8-bit ones.
    image = canvas if name == "posterize" else canvas.float() / 255
    expected = torch.stack([T.functional.to_dtype(theirs(image), torch.float32, scale=True) for _ in range(DRAWS)])
    if name in ("rotation", "perspective"):
        views, expected = _inside(views), _inside(expected)
    # A hair of interpolation or rounding must not decide on which side of a step a value falls.
    reference, found = _statistics(expected), _statistics(views)
    if name == "perspective":
        del found["sharpness"]  # ours is antialiased where the view shrinks
    for statistic, values in found.items():
        noise = 2e-3 * torch.rand(2, DRAWS, generator=torch.Generator().manual_seed(3))
        # The critical value is for one test in a hundred; these are fourteen on the same views.
        assert kolmogorov_smirnov(values + noise[0], reference[statistic] + noise[1]) < 1.2, statistic


def test_the_test_tells_families_apart(canvas: Tensor, kolmogorov_smirnov) -> None:
    """A family whose jitter is half as strong again is distinguishable: the test above can fail."""
    strong = Family("strong", (ColorJitter(brightness=0.6, contrast=0.6, saturation=0.6, hue=0.15),))
    views = strong.apply(canvas.expand(DRAWS, -1, -1, -1), strong.draw(DRAWS, torch.Generator().manual_seed(1)), SIZE)
    torch.manual_seed(2)
    image = canvas.float() / 255
    theirs = PAIRS["color_jitter"][1]
    expected = _statistics(torch.stack([theirs(image) for _ in range(DRAWS)]))
    assert max(kolmogorov_smirnov(values, expected[name]) for name, values in _statistics(views).items()) > 1.2
