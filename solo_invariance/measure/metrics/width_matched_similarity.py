"""Similarity of features that were projected to a width that all backbones share, and whitened there."""

from torch import Tensor

from solo_invariance.measure.functional.similarity import width_matched_similarity
from solo_invariance.measure.metrics.view_metric import ProjectionMetric


class WidthMatchedSimilarity(ProjectionMetric):
    """Cosine in a width that all backbones share, so that narrow and wide ones, members and fusions can be compared.

    The functional twin is ``functional.width_matched_similarity``, with the formula.

    Args:
        projections: Maps from whitened features to whitened projections, (R, d, D), of
            ``functional.width_matched_projections``; a measurement gives them.

    Example:
        >>> import torch
        >>> metric = WidthMatchedSimilarity(torch.tensor([[[1.0, 0.0]]]))
        >>> metric.update(torch.tensor([[1.0, 5.0]]), torch.tensor([[[2.0, 0.0], [-1.0, 5.0]]]))
        >>> metric.compute()
        tensor([ 1., -1.])
    """

    higher_is_better = True

    def score(self, clean: Tensor, views: Tensor, coordinates: Tensor | None, images: Tensor | None) -> Tensor:
        """Return the similarities (N, K)."""
        return width_matched_similarity(clean, views, self.projections, self.held_out, self.whitening)
