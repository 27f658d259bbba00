"""Similarity of whitened features under a transform."""

from torch import Tensor

from solo_invariance.measure.functional.similarity import invariance_similarity
from solo_invariance.measure.metrics.view_metric import ViewMetric


class InvarianceSimilarity(ViewMetric):
    """Cosine of the whitened clean feature and the whitened views' features, averaged over images.

    The functional twin is ``functional.invariance_similarity``, with the formula and its source.

    Example:
        >>> import torch
        >>> metric = InvarianceSimilarity()
        >>> metric.update(torch.tensor([[1.0, 0.0]]), torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]))
        >>> metric.compute()
        tensor([1., 0.])
    """

    higher_is_better = True

    def score(self, clean: Tensor, views: Tensor, coordinates: Tensor | None, images: Tensor | None) -> Tensor:
        """Return the similarities (N, K)."""
        return invariance_similarity(clean, views)
