"""Similarity of whitened features under a transform, corrected for what other images score."""

import torch
from torch import Tensor

from solo_invariance.measure.functional.chance import chance_similarity, same_image
from solo_invariance.measure.functional.similarity import invariance_similarity
from solo_invariance.measure.metrics.view_metric import GalleryMetric


class ChanceCorrectedSimilarity(GalleryMetric):
    """Similarity of clean image and view, on a scale on which a view of another image has 0 and an invariant one 1.

    The functional twins are ``functional.chance_similarity`` and ``functional.correct_for_chance``, with the formulas
    and their source. Similarity and chance are averaged over images before the one is corrected for the other.

    Args:
        gallery: The images that chance is estimated from; each image itself is left out, so ``images`` is needed.

    Example:
        >>> import torch
        >>> from solo_invariance.measure.metrics import Gallery
        >>> gallery = Gallery(torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]]), torch.tensor([0, 1, 2]))
        >>> metric = ChanceCorrectedSimilarity(gallery)
        >>> views = torch.tensor([[[2.0, 0.0], [3.0, 4.0]]])
        >>> metric.update(torch.tensor([[1.0, 0.0]]), views, images=torch.tensor([0]))
        >>> metric.compute()
        tensor([ 1.0000, -3.0000])
    """

    higher_is_better = True

    def score(self, clean: Tensor, views: Tensor, coordinates: Tensor | None, images: Tensor | None) -> Tensor:
        """Return the similarity and what it is by chance, (N, K, 2)."""
        own = same_image(images, self.gallery_images)
        chance = chance_similarity(views, self.gallery_features, own)
        return torch.stack([invariance_similarity(clean, views), chance], dim=-1)

    @staticmethod
    def value(terms: Tensor) -> Tensor:
        """Return the corrected similarity (...) of terms (..., 2)."""
        # Not the function that refuses chance of 1: a bootstrap sample of few images may have it, and is left out.
        return (terms[..., 0] - terms[..., 1]) / (1 - terms[..., 1])
