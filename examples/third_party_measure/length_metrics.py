"""The metric ``length_ratio``: what a view does to a feature's length, which the cosine does not see."""

import torch
from torch import Tensor

from solo_invariance.measure.metrics import ViewMetric


class LengthRatio(ViewMetric):
    """Length of the view's whitened feature over that of the clean one; 1 is invariant."""

    def score(self, clean: Tensor, views: Tensor, coordinates: Tensor | None, images: Tensor | None) -> Tensor:
        """Return the ratios (N, K) of clean features (N, D) and views' (N, K, D)."""
        return torch.linalg.vector_norm(views, dim=-1) / torch.linalg.vector_norm(clean, dim=-1, keepdim=True)
