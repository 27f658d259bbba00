"""Retrieval of the clean image from its views."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from solo_invariance.features.neighbours import MOST_NEIGHBOURS, all_similarities
from solo_invariance.measure.functional.chance import _check_gallery
from solo_invariance.measure.functional.similarity import invariance_similarity


def retrieval_rank(clean: Tensor, views: Tensor, gallery: Tensor, own: Tensor) -> Tensor:
    r"""Rank of the clean image where a view retrieves it from among other images, by cosine of whitened features.

    .. math:: r(x, p) = 1 + \#\{g \in G_x : \cos(z(T_p x), z(g)) > \cos(z(T_p x), z(x))\}

    with :math:`G_x` the gallery without :math:`x`. All similarities are computed, by faiss (Douze et al. 2024, "The
    Faiss library"), in float32. A tie does not count: where two cosines are nearer than the rounding of float32, a
    margin of :math:`2 + \sqrt D` ulp of 1 (errors of sums grow so: Higham & Mary 2019, "A New Approach to Probabilistic
    Rounding Error Analysis"), neither is more similar.

    Args:
        clean: (N, D), whitened.
        views: (N, K, D), whitened.
        gallery: (G, D), whitened. Searched on the views' GPU where they are on one and faiss has GPUs.
        own: Which of the gallery's rows show the image itself, and are left out, (N, G), bool; see ``same_image``.

    Returns:
        (N, K), int64, from 1 to one more than there are other images.

    Raises:
        ValueError: The shapes do not fit, or features are not finite.
        UserError: faiss is not installed.

    Example:
        >>> import torch
        >>> clean, views = torch.tensor([[1.0, 0.0]]), torch.tensor([[[1.0, 0.1], [0.0, 1.0], [-1.0, 0.1]]])
        >>> gallery = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> retrieval_rank(clean, views, gallery, torch.tensor([[True, False, False]]))
        tensor([[1, 3, 3]])
    """
    _check_gallery(views, gallery, own)
    # Cosines are finite where features are, and faiss would pass over those that are not.
    to_beat = invariance_similarity(clean.double(), views.double()) + _tie_margin(clean.shape[1])
    if not to_beat.isfinite().all() or not gallery.isfinite().all():
        raise ValueError("retrieval: features of clean images, views or gallery are not finite (NaN or inf)")
    queries, bars = _unit_vectors(views.flatten(0, 1)), to_beat.flatten().cpu()[:, None]
    counts = torch.zeros(len(queries), dtype=torch.int64)
    for shard, own_shard in zip(gallery.split(MOST_NEIGHBOURS), own.cpu().split(MOST_NEIGHBOURS, dim=1), strict=True):
        similarities, rows = all_similarities(queries, _unit_vectors(shard), views.device, "retrieval")
        others = ~own_shard.repeat_interleave(views.shape[1], dim=0).gather(1, rows)
        counts += ((similarities > bars) & others).sum(dim=1)
    return 1 + counts.reshape(to_beat.shape).to(views.device)


def _tie_margin(size: int) -> float:
    return (2 + size**0.5) * torch.finfo(torch.float32).eps


def _unit_vectors(features: Tensor) -> Tensor:
    return normalize(features.double(), dim=-1).float().cpu()
