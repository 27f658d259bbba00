"""Retrieval of the clean image from a view of it, among other images."""

from torch import Tensor

from solo_invariance.measure.functional.chance import same_image
from solo_invariance.measure.functional.retrieval import retrieval_rank
from solo_invariance.measure.metrics.view_metric import GalleryMetric


class _Retrieval(GalleryMetric):
    """What the ranks of the clean images say; they are by ``functional.retrieval_rank``, with the formula.

    Needs faiss, which the extras ``cpu`` and ``gpu`` bring.
    """

    higher_is_better = True

    def ranks(self, clean: Tensor, views: Tensor, images: Tensor | None) -> Tensor:
        """Return the ranks (N, K), int64, from 1."""
        return retrieval_rank(clean, views, self.gallery_features, same_image(images, self.gallery_images))


class RetrievalRecall(_Retrieval):
    """Recall at 1: the share of images that their view retrieves first, from among the gallery's other images.

    The functional twin is ``functional.retrieval_rank``, with the formula; a rank of 1 is a hit. A view of an unrelated
    image scores 1 / (G + 1) with G other images, and a view that changes nothing 1.

    Args:
        gallery: The other images; each image itself is left out of it, so ``images`` is needed.

    Example:
        >>> import torch
        >>> from solo_invariance.measure.metrics import Gallery
        >>> gallery = Gallery(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
        >>> metric = RetrievalRecall(gallery)
        >>> metric.update(gallery.features, torch.tensor([[[2.0, 1.0]], [[2.0, 1.0]]]), images=gallery.images)
        >>> metric.compute()
        tensor(0.5000)
    """

    def score(self, clean: Tensor, views: Tensor, coordinates: Tensor | None, images: Tensor | None) -> Tensor:
        """Return 1 where the clean image is first and 0 elsewhere, (N, K)."""
        return (self.ranks(clean, views, images) == 1).to(views)


class RetrievalMRR(_Retrieval):
    """Mean reciprocal rank of the clean image, retrieved from its view among the gallery's other images.

    The functional twin is ``functional.retrieval_rank``, with the formula. See Voorhees (1999), "The TREC-8 Question
    Answering Track Report", on scoring by the reciprocal of the rank.

    Args:
        gallery: The other images; each image itself is left out of it, so ``images`` is needed.

    Example:
        >>> import torch
        >>> from solo_invariance.measure.metrics import Gallery
        >>> gallery = Gallery(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
        >>> metric = RetrievalMRR(gallery)
        >>> metric.update(gallery.features, torch.tensor([[[2.0, 1.0]], [[2.0, 1.0]]]), images=gallery.images)
        >>> metric.compute()
        tensor(0.7500)
    """

    def score(self, clean: Tensor, views: Tensor, coordinates: Tensor | None, images: Tensor | None) -> Tensor:
        """Return the reciprocal ranks (N, K), in (0, 1]."""
        return 1 / self.ranks(clean, views, images).to(views)
