"""Distance of whitened features under a transform."""

from torch import Tensor

from solo_invariance.measure.functional.similarity import invariance_distance
from solo_invariance.measure.metrics.view_metric import ViewMetric


class InvarianceDistance(ViewMetric):
    """Mahalanobis distance of the clean feature and the views' features, averaged over images.

    The functional twin is ``functional.invariance_distance``, with the formula and its source.
    """

    higher_is_better = False

    def score(self, clean: Tensor, views: Tensor, coordinates: Tensor | None, images: Tensor | None) -> Tensor:
        """Return the distances (N, K)."""
        return invariance_distance(clean, views)
