"""Metrics that are fitted to a few views of each image."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_invariance.measure.functional.parameter_readout import check_pairs
from solo_invariance.measure.metrics.view_metric import ViewMetric


class SampledViewMetric(ViewMetric):
    """A metric that is fitted to features, and so keeps them: of each image, those of a few views.

    Which views, depends on the image's id and the seed, not on batches, their order, or processes.

    Args:
        seed: Of the views that are kept, and of the halves and folds.
        views_per_image: How many of an image's views are kept; they are spread evenly over the parameters.
    """

    name_of_states = ("clean", "views", "coordinates", "images")
    per_parameter = False
    max_rows: int | None = 1000
    clean: list[Tensor] | Tensor
    views: list[Tensor] | Tensor
    coordinates: list[Tensor] | Tensor
    images: list[Tensor] | Tensor

    def __init__(self, seed: int = 0, views_per_image: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.views_per_image = views_per_image

    @staticmethod
    def applies(coordinates: Tensor) -> bool:
        """Return whether any coordinate (K, C) varies: else there is nothing to fit."""
        return bool((coordinates != coordinates[0]).any())

    def update(
        self, clean: Tensor, views: Tensor, coordinates: Tensor | None = None, images: Tensor | None = None
    ) -> None:
        """Add images; arguments as ``ViewMetric.update``, with all of them needed.

        Raises:
            ValueError: ``coordinates`` or ``images`` is missing, the shapes do not fit, or numbers are not finite.
        """
        if coordinates is None or images is None:
            missing = "coordinates (N, K, C)" if coordinates is None else "images (N,)"
            raise ValueError(f"this metric needs the views' parameters, image by image: expected {missing}, got none")
        check_pairs(clean, views, coordinates, images)
        chosen = choose_views(images, views.shape[1], self.views_per_image, self.seed)
        rows = torch.arange(len(images))[:, None]
        states = {
            "clean": clean.float(),
            "views": views[rows, chosen].float(),
            "coordinates": coordinates[rows, chosen].float().to(views.device),
            "images": images.to(views.device),
        }
        self.add_states(states)


def choose_views(images: Tensor, num_views: int, keep: int, seed: int) -> Tensor:
    """Return which views of each image to keep, one of each equal part of them, ascending, (N, at most ``keep``).

    Args:
        images: Ids, (N,); with the seed, all that the choice depends on.
        num_views: K.
        keep: How many parts.
        seed: Of the choice.

    Example:
        >>> import torch
        >>> choose_views(torch.tensor([3, 4, 3]), num_views=100, keep=4, seed=0).div(25, rounding_mode="floor")
        tensor([[0, 1, 2, 3],
                [0, 1, 2, 3],
                [0, 1, 2, 3]])
    """
    keep = min(keep, num_views)
    edges = np.arange(keep + 1) * num_views // keep
    generators = (np.random.default_rng([seed, image % 2**64]) for image in images.tolist())
    return torch.from_numpy(np.stack([generator.integers(edges[:-1], edges[1:]) for generator in generators]))
