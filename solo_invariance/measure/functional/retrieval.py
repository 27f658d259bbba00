"""Retrieval of the clean image from its views."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from solo_invariance.features.neighbours import MOST_NEIGHBOURS, all_similarities
from solo_invariance.measure.functional.chance import _check_gallery
from solo_invariance.measure.functional.similarity import invariance_similarity


class Competitors(NamedTuple):
    """How many of the gallery's other images are more similar to a view than its own image, and how many as similar.

    Both are (N, K), float64.
    """

    ahead: Tensor
    tied: Tensor

    @property
    def rank(self) -> Tensor:
        """The expected rank of the image where ties are broken at random, (N, K), from 1."""
        return 1 + self.ahead + self.tied / 2

    @property
    def first(self) -> Tensor:
        """The probability that the image comes first where ties are broken at random, (N, K)."""
        return (self.ahead == 0) / (1 + self.tied)

    @property
    def reciprocal_rank(self) -> Tensor:
        """The expected reciprocal of the rank where ties are broken at random, (N, K), in (0, 1]."""
        # Each rank from 1 + ahead to 1 + ahead + tied is as likely; digamma(n + 1) is the sum of 1 / r up to n, and a
        # constant.
        sums = torch.digamma(self.ahead + self.tied + 2) - torch.digamma(self.ahead + 1)
        return torch.where(self.tied > 0, sums / (1 + self.tied), 1 / (1 + self.ahead))


def retrieval_rank(clean: Tensor, views: Tensor, gallery: Tensor, own: Tensor) -> Tensor:
    r"""Rank of the clean image where a view retrieves it from among other images, by cosine of whitened features.

    .. math:: r(x, p) = 1 + \#\{g \in G_x : c(g) > c(x)\} + \tfrac12 \#\{g \in G_x : c(g) = c(x)\}, \quad
        c(g) = \cos(z(T_p x), z(g))

    with :math:`G_x` the gallery without :math:`x`: the expectation where ties are broken at random, so that features
    that are all equal retrieve by chance.

    Args:
        clean: (N, D), whitened.
        views: (N, K, D), whitened.
        gallery: (G, D), whitened.
        own: Which of the gallery's rows show the image itself, and are left out, (N, G), bool; see ``same_image``.

    Returns:
        (N, K), float64, from 1 to one more than there are other images.

    Raises:
        ValueError: The shapes do not fit, or features are not finite.
        UserError: faiss is not installed.

    Example:
        >>> import torch
        >>> clean, views = torch.tensor([[1.0, 0.0]]), torch.tensor([[[1.0, 0.1], [0.0, 1.0], [-1.0, 0.1]]])
        >>> gallery = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> retrieval_rank(clean, views, gallery, torch.tensor([[True, False, False]]))
        tensor([[1., 3., 3.]], dtype=torch.float64)
        >>> retrieval_rank(clean, clean[:, None], clean.expand(4, 2), torch.zeros(1, 4, dtype=torch.bool))
        tensor([[3.]], dtype=torch.float64)
    """
    return competitors(clean, views, gallery, own).rank


def competitors(clean: Tensor, views: Tensor, gallery: Tensor, own: Tensor) -> Competitors:
    r"""Return which other images a view is as similar or more similar to than to its own, by cosine.

    All similarities are computed, by faiss (Douze et al. 2024, "The Faiss library"), in float32. Where two cosines are
    nearer than the rounding of float32, a margin of :math:`2 + \sqrt D` ulp of 1 (errors of sums grow so: Higham & Mary
    2019, "A New Approach to Probabilistic Rounding Error Analysis"), they are tied.

    Args:
        clean: (N, D), whitened.
        views: (N, K, D), whitened.
        gallery: (G, D), whitened. Searched on the views' GPU where they are on one and faiss has GPUs.
        own: Which of the gallery's rows show the image itself, and are left out, (N, G), bool.

    Raises:
        ValueError: The shapes do not fit, or features are not finite.
        UserError: faiss is not installed.
    """
    _check_gallery(views, gallery, own)
    # Cosines are finite where features are, and faiss would pass over those that are not.
    to_beat = invariance_similarity(clean.double(), views.double())
    if not to_beat.isfinite().all() or not gallery.isfinite().all():
        raise ValueError("retrieval: features of clean images, views or gallery are not finite (NaN or inf)")
    queries, bars, margin = _unit_vectors(views.flatten(0, 1)), to_beat.flatten().cpu()[:, None], _tie_margin(clean)
    counts = torch.zeros(2, len(queries), dtype=torch.float64)
    for shard, own_shard in zip(gallery.split(MOST_NEIGHBOURS), own.cpu().split(MOST_NEIGHBOURS, dim=1), strict=True):
        similarities, rows = all_similarities(queries, _unit_vectors(shard), views.device, "retrieval")
        others = ~own_shard.repeat_interleave(views.shape[1], dim=0).gather(1, rows)
        ahead = (similarities > bars + margin) & others
        at_least_tied = (similarities >= bars - margin) & others
        counts += torch.stack([ahead.sum(dim=1), (at_least_tied & ~ahead).sum(dim=1)])
    ahead, tied = counts.reshape(2, *to_beat.shape).to(views.device)
    return Competitors(ahead, tied)


def _tie_margin(features: Tensor) -> float:
    return (2 + features.shape[1] ** 0.5) * torch.finfo(torch.float32).eps


def _unit_vectors(features: Tensor) -> Tensor:
    return normalize(features.double(), dim=-1).float().cpu()
