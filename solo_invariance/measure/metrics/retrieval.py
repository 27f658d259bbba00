"""Retrieval of the clean image from a view of it, among other images."""

from torch import Tensor

from solo_invariance.measure.functional.chance import same_image
from solo_invariance.measure.functional.retrieval import Competitors, competitors
from solo_invariance.measure.metrics.view_metric import GalleryMetric


class _Retrieval(GalleryMetric):
    """What the ranks of the clean images say; ties are broken at random, and the numbers are expectations.

    Needs faiss, which the extras ``cpu`` and ``gpu`` bring.
    """

    higher_is_better = True

    def competitors(self, clean: Tensor, views: Tensor, images: Tensor | None) -> Competitors:
        """Return how many images compete with each view's own."""
        return competitors(clean, views, self.gallery_features, same_image(images, self.gallery_images))


class RetrievalRecall(_Retrieval):
    """Recall at 1: the share of images that their view retrieves first, from among the gallery's other images.

    The rank is by ``functional.retrieval_rank``, with the formula; a rank of 1 is a hit, and an image that ties for it
    with t others is 1 / (t + 1) of one. A view of an unrelated image scores 1 / (G + 1) with G other images, and so do
    features that are all equal; a view that changes nothing scores 1.

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
        """Return 1 where the clean image is first, a share of it where it ties, and 0 elsewhere, (N, K)."""
        return self.competitors(clean, views, images).first.to(views)


class RetrievalMRR(_Retrieval):
    """Mean reciprocal rank of the clean image, retrieved from its view among the gallery's other images.

    The rank is by ``functional.retrieval_rank``, with the formula; where images tie, the mean is over the ranks that
    they share. See Voorhees (1999), "The TREC-8 Question Answering Track Report", on scoring by the reciprocal of the
    rank.

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
        return self.competitors(clean, views, images).reciprocal_rank.to(views)
