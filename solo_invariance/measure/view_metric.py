"""What the metrics over views of images have in common."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class ViewMetric(Metric):
    """A number for each image and each of its K views, averaged over images to a curve over the views' parameters.

    Subclasses implement ``score``. The state is one float an image and view.
    """

    is_differentiable = False
    full_state_update = False
    values: list[Tensor] | Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("values", [], dist_reduce_fx="cat")

    def score(self, clean: Tensor, views: Tensor) -> Tensor:
        """Return (N, K) of whitened features, clean (N, D) and views (N, K, D)."""
        raise NotImplementedError

    def update(self, clean: Tensor, views: Tensor) -> None:
        """Add images by their whitened features, clean (N, D) and views (N, K, D)."""
        if clean.ndim != 2 or views.ndim != 3 or views.shape[::2] != clean.shape:
            raise ValueError(
                f"expected clean (N, D) and views (N, K, D), got {tuple(clean.shape)}, {tuple(views.shape)}"
            )
        assert isinstance(self.values, list)
        self.values.append(self.score(clean, views))

    def per_image(self) -> Tensor:
        """Return the numbers (N, K) of the images seen so far."""
        return torch.cat(self.values) if isinstance(self.values, list) else self.values

    def compute(self) -> Tensor:
        """Return the curve (K,): the mean over images."""
        return self.per_image().mean(dim=0)
