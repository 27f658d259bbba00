"""Features averaged over views of an image that a family draws: invariance at test time in place of training."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from solo_invariance.errors import UserError
from solo_invariance.families.family import Family
from solo_invariance.families.operations.operation import Parameters


@dataclass(frozen=True)
class DrawnViews:
    """Views of an image over which a backbone's features are averaged.

    The draws are the same for all images: the same crops, say, are cut from each. So the averaged features are a
    function of the image alone, whatever batch, worker or process it comes in, and two images, or an image and a
    changed one, do not differ by what was drawn for them.

    Args:
        family: Whose operations make the views, from the square that the network sees.
        num_views: How many.
        seed: Of the draws.

    Raises:
        UserError: There is no view.
    """

    family: Family
    num_views: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_views < 1:
            raise UserError(f"backbone.views.num_views={self.num_views}: expected at least 1")

    @cached_property
    def _parameters(self) -> list[Parameters]:
        return self.family.draw(self.num_views, torch.Generator().manual_seed(self.seed))

    def of(self, images: Tensor) -> Iterator[Tensor]:
        """Yield each view of images (N, 3, S, S) in [0, 1], in the same size and range."""
        for view in range(self.num_views):
            drawn = [
                {name: value[view : view + 1].expand(len(images), *value.shape[1:]) for name, value in one.items()}
                for one in self._parameters
            ]
            yield self.family.apply(images, drawn, images.shape[-1])

    def describe(self) -> dict[str, Any]:
        """Return what the averaged features depend on, as plain data."""
        described = self.family.describe()
        return {
            "family": described["name"],
            "operations": described["operations"],
            "num_views": self.num_views,
            "seed": self.seed,
        }
