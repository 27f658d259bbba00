"""Features averaged over views of an image that a family draws: invariance at test time in place of training."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from solo_invariance.backbones.resize_crop import ResizeCrop
from solo_invariance.errors import UserError
from solo_invariance.families.family import Family
from solo_invariance.families.from_config import family_from_config
from solo_invariance.families.operations.operation import Parameters
from solo_invariance.plugins import load_plugin


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

    def average(self, features: Sequence[Tensor]) -> Tensor:
        """Return the mean (N, D) of the features of the views, (N, D) a view."""
        return torch.stack(list(features)).mean(0)

    def content(self) -> dict[str, Any]:
        """Return what ``views_from`` makes the same views of, as plain data."""
        return {"family": self.family.describe(), "num_views": self.num_views, "seed": self.seed}

    def describe(self) -> dict[str, Any]:
        """Return what the averaged features depend on, as plain data."""
        described = self.family.describe()
        return {
            "family": described["name"],
            "operations": described["operations"],
            "num_views": self.num_views,
            "seed": self.seed,
        }


class Steps(NamedTuple):
    """The steps of a transform, over which features are averaged.

    Args:
        parameters: A row of P numbers for each of K steps.
        weights: How much each stands for, K numbers that sum to 1.
    """

    parameters: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class OrbitViews:
    """What transforms make of an image, at given steps: the mean over it is the same, whichever of it was given.

    It is so exactly where the steps are a group that maps the square onto itself, such as a flip or quarter turns, and
    nearly so where they are a grid of what is continuous. Of several transforms, each step of one goes with each of the
    others, which are applied in the order that they are named in.

    Args:
        transforms: Their names, among the plugins ``solo_invariance.transforms``, and their steps.

    Raises:
        UserError: There is no transform, or none of such a name, or its steps are not K rows of one length, at least
            one, with as many weights that sum to 1, all of them finite.
    """

    transforms: Mapping[str, Steps]

    def __post_init__(self) -> None:
        if not self.transforms:
            raise UserError("an orbit needs a transform, transforms=[h_flip]")
        for name, steps in self.transforms.items():
            load_plugin("transforms", name)
            rows, weights = steps.parameters, torch.tensor(steps.weights, dtype=torch.float64)
            numbers = [number for row in rows for number in row]
            if (
                not rows
                or len({len(row) for row in rows}) > 1
                or not all(map(math.isfinite, numbers))
                or len(weights) != len(rows)
                or not bool((weights >= 0).all())
                or not math.isclose(float(weights.sum()), 1, abs_tol=1e-6)
            ):
                raise UserError(f"the steps of {name}: expected rows of finite numbers, and weights of sum 1")

    @property
    def num_views(self) -> int:
        """How many views are made of an image."""
        return math.prod(len(steps.weights) for steps in self.transforms.values())

    def of(self, images: Tensor) -> Iterator[Tensor]:
        """Yield each view of images (N, 3, S, S) in [0, 1], in the same size and range."""
        geometry = ResizeCrop(images.shape[-1], images.shape[-1])
        loaded = [load_plugin("transforms", name) for name in self.transforms]
        for rows in product(*(steps.parameters for steps in self.transforms.values())):
            view = images
            for transform, row in zip(loaded, rows, strict=True):
                view = transform.apply(view, torch.tensor(row).expand(len(images), -1), geometry)
            yield view

    def average(self, features: Sequence[Tensor]) -> Tensor:
        """Return the mean (N, D) of the features of the views, (N, D) a view, each by its weight."""
        weights = [math.prod(parts) for parts in product(*(steps.weights for steps in self.transforms.values()))]
        return torch.einsum("v,vnd->nd", features[0].new_tensor(weights), torch.stack(list(features)))

    def content(self) -> dict[str, Any]:
        """Return what ``views_from`` makes the same views of, as plain data."""
        return {
            "transforms": [
                {"name": name, "parameters": [*map(list, steps.parameters)], "weights": [*steps.weights]}
                for name, steps in self.transforms.items()
            ]
        }

    def describe(self) -> dict[str, Any]:
        """Return what the averaged features depend on, as plain data."""
        return {**self.content(), "num_views": self.num_views}


Views = DrawnViews | OrbitViews
"""Over which a backbone's features may be averaged."""


def views_from(content: Mapping[str, Any]) -> Views:
    """Return the views that plain data describe, a stranger's, perhaps.

    Raises:
        UserError: They do not.
        Exception: They lack something, or something in them is not what it should be.
    """
    if "transforms" in content:
        steps = {
            str(one["name"]): Steps(tuple(tuple(map(float, row)) for row in one["parameters"]), tuple(one["weights"]))
            for one in content["transforms"]
        }
        return OrbitViews(steps)
    family = family_from_config(dict(content["family"]), where="views.")
    return DrawnViews(family, int(content["num_views"]), int(content["seed"]))
