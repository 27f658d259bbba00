"""Occlusion: parts of the image are hidden."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from solo_invariance.families.operations.appearance import OccasionalOperation
from solo_invariance.families.operations.noise import draw_seeds, uniform_noise
from solo_invariance.families.operations.operation import Parameters, check_probability, check_range
from solo_invariance.families.operations.spatial import draw_boxes


@dataclass(frozen=True)
class Erasing(OccasionalOperation):
    """Hide a box of random area, aspect ratio and place.

    Args:
        scale: Range of the box's area, as a fraction of the image's, in (0, 1].
        ratio: Range of the box's height / width, as torchvision has it here; drawn uniformly in its logarithm.
        fill: What hides it: ``mean`` (the image's mean colour), ``noise`` (uniform, at every value), or a value in
            [0, 1].
        p: Probability, in [0, 1].

    The distribution is torchvision's ``RandomErasing`` (Zhong et al., 2020), which leaves the image alone where none of
    ten draws fits into it.
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {
        "scale": "fraction of the image's area",
        "ratio": "height / width",
        "fill": "colour, or value in [0, 1]",
    }
    no_quantities: ClassVar[frozenset[str]] = frozenset({"seed"})

    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    fill: str | float = "mean"
    p: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "scale", low=0.0, high=1.0, low_open=True)
        check_range(self, "ratio", low=0.0, low_open=True)
        check_probability(self)
        number = isinstance(self.fill, int | float) and not isinstance(self.fill, bool)
        if self.fill not in ("mean", "noise") and not (number and 0 <= float(self.fill) <= 1):
            raise ValueError(f"{self.name}.fill={self.fill}: expected mean, noise or a value in [0, 1]")

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``applied`` (N,) bool, ``box`` (N, 4), left, top, width and height as fractions, and ``seed`` (N,)."""
        drawn = super().draw(n, generator)
        box, fits = draw_boxes(n, self.scale, (1 / self.ratio[1], 1 / self.ratio[0]), generator)
        return {"applied": drawn["applied"] & fits, "box": box, "seed": draw_seeds(n, generator)}

    def change(self, images: Tensor, box: Tensor, seed: Tensor) -> Tensor:
        """Fill the boxes."""
        if self.fill == "mean":
            content = images.mean(dim=(2, 3), keepdim=True)
        elif self.fill == "noise":
            content = uniform_noise(seed, tuple(images.shape[1:]))
        else:
            content = torch.full_like(images[:, :1, :1, :1], float(self.fill))
        return torch.where(inside(box, images.shape[2], images.shape[3]), content, images)


def inside(box: Tensor, height: int, width: int) -> Tensor:
    """Return which pixels have their centre in a box.

    Args:
        box: (N, 4): left, top, width and height as fractions of the image.
        height: Of the image, in pixels.
        width: Of the image, in pixels.

    Returns:
        (N, 1, height, width) bool
    """

    def along(first: Tensor, length: Tensor, pixels: int) -> Tensor:
        centres = (torch.arange(pixels, device=box.device, dtype=box.dtype) + 0.5) / pixels
        return (centres >= first[:, None]) & (centres < (first + length)[:, None])

    columns, rows = along(box[:, 0], box[:, 2], width), along(box[:, 1], box[:, 3], height)
    return (rows[:, :, None] & columns[:, None, :])[:, None]
