"""Similarity and distance of whitened features."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from solo_invariance.measure.functional.whitening import Whitening, hold_out, hold_out_pairs


def invariance_similarity(clean: Tensor, views: Tensor) -> Tensor:
    r"""Cosine of the whitened clean feature and the whitened views' features.

    .. math:: s(x, p) = \frac{z(x)^\top z(T_p x)}{\lVert z(x) \rVert \lVert z(T_p x) \rVert}

    Args:
        clean: (N, D), whitened.
        views: (N, K, D), whitened, K views of each image.

    Returns:
        (N, K) in [-1, 1]; 1 says that the view changed nothing but the feature's length.

    Example:
        >>> import torch
        >>> clean = torch.tensor([[1.0, 0.0]])
        >>> views = torch.tensor([[[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
        >>> invariance_similarity(clean, views)
        tensor([[ 1.,  0., -1.]])
    """
    return cosine_similarity(clean[:, None], views, dim=-1)


def invariance_distance(clean: Tensor, views: Tensor) -> Tensor:
    r"""Mahalanobis distance of the clean feature and the views' features: Euclidean, since both are whitened.

    .. math:: d(x, p) = \sqrt{(f(x) - f(T_p x))^\top \Sigma^{-1} (f(x) - f(T_p x))}

    Args:
        clean: (N, D), whitened.
        views: (N, K, D), whitened.

    Returns:
        (N, K), not negative; 0 says that the view changed nothing.
    """
    return torch.linalg.vector_norm(clean[:, None] - views, dim=-1)


def width_matched_similarity(
    clean: Tensor,
    views: Tensor,
    projections: Tensor,
    held_out: Tensor | None = None,
    whitening: Whitening | None = None,
) -> Tensor:
    r"""Cosine of clean feature and views' features where both are projected to fewer dimensions and whitened there.

    .. math:: s_d(x, p) = \frac{1}{R} \sum_j \cos\bigl(P_j z(x), P_j z(T_p x)\bigr)

    with :math:`P_j` of ``whitening.width_matched_projections``. Whitening gives directions of little variance, which
    are the least invariant ones, the weight of all others, and a wide backbone has more of them: 64 random projections
    of 512 features are more similar than the 512 are, though they know less. At one number of dimensions d, the same
    for all, that is no matter: features, their random projections to d dimensions or more, and the features turned
    within a wider space have the same expectation.

    Args:
        clean: (N, D), whitened.
        views: (N, K, D), whitened.
        projections: (R, d, D).
        held_out: Which images were part of the mean and covariance and are taken out of them, (N,), bool; it is done
            in d dimensions, as ``clean`` and ``views`` still count them.
        whitening: Of ``clean`` and ``views``; needed with ``held_out``.

    Returns:
        (N, K) in [-1, 1]; 1 says that the view changed nothing but the feature's length.
    """
    projected = projected_pairs(torch.cat([clean[:, None], views], dim=1), projections, held_out, whitening)
    similarities = invariance_similarity(projected[:, :, 0].flatten(0, 1), projected[:, :, 1:].flatten(0, 1))
    return similarities.unflatten(0, (len(projections), -1)).mean(dim=0)


def projected_pairs(pairs: Tensor, projections: Tensor, held_out: Tensor | None, whitening: Whitening | None) -> Tensor:
    """Return whitened features of images and their views as projections whiten them.

    Args:
        pairs: (N, 1 + K, D), whitened: of each image, then of its views.
        projections: (R, d, D), of ``whitening.width_matched_projections``.
        held_out: Which images are taken out of the mean and covariance, (N,), bool, in d dimensions; None for none.
        whitening: Of ``pairs``; needed with ``held_out``.

    Returns:
        (R, N, 1 + K, d)
    """
    count, num_images = len(projections), len(pairs)
    projected = (pairs @ projections.flatten(0, 1).T).unflatten(2, (count, -1)).movedim(2, 0).flatten(0, 1)
    if held_out is not None and whitening is not None:
        projected = hold_out_pairs(projected, held_out.repeat(count), whitening)
    return projected.unflatten(0, (count, num_images))


def width_matched_group_similarity(
    views: Tensor,
    projections: Tensor,
    removed: Tensor | None = None,
    whitening: Whitening | None = None,
    *,
    include_diagonal: bool,
) -> Tensor:
    """Mean pairwise cosine of a group's views, projected to fewer dimensions and whitened there.

    Args:
        views: (G, V, D), whitened, V >= 2 views of each of G things.
        projections: (R, d, D), of ``whitening.width_matched_projections``, over which the cosines are averaged.
        removed: Whitened features (G, R', D) of images that are taken out of the mean and covariance, in d dimensions;
            ``views`` still count them. None for none.
        whitening: Of ``views``; needed with ``removed``.
        include_diagonal: Count each view's similarity with itself too, as the paper's code does.

    Returns:
        (G,)
    """
    projected = projected_groups(views, projections, removed, whitening)
    similarities = group_similarity(projected.flatten(0, 1), include_diagonal=include_diagonal)
    return similarities.unflatten(0, (len(projections), -1)).mean(dim=0)


def projected_groups(views: Tensor, projections: Tensor, removed: Tensor | None, whitening: Whitening | None) -> Tensor:
    """Return whitened features of groups of views as projections whiten them.

    Args:
        views: (G, V, D), whitened, V views of each of G things.
        projections: (R, d, D), of ``whitening.width_matched_projections``.
        removed: Whitened features (G, R', D) of images that are taken out of the mean and covariance, in d dimensions;
            None for none.
        whitening: Of ``views``; needed with ``removed``.

    Returns:
        (R, G, V, d)
    """
    projected = views @ projections.mT[:, None]
    if removed is None or whitening is None:
        return projected
    without = (removed @ projections.mT[:, None]).flatten(0, 1)
    return hold_out(projected.flatten(0, 1), without, whitening).unflatten(0, projected.shape[:2])


def group_similarity(views: Tensor, *, include_diagonal: bool) -> Tensor:
    """Mean pairwise cosine of a group's views.

    Args:
        views: (G, V, D), whitened, V >= 2 views of each of G things.
        include_diagonal: Count each view's similarity with itself too, as the paper's code does.

    Returns:
        (G,)
    """
    unit = normalize(views, dim=-1)
    return _pairwise_mean(unit @ unit.transpose(1, 2), 1.0, include_diagonal=include_diagonal)


def group_distance(views: Tensor) -> Tensor:
    """Mean Euclidean distance of a group's whitened views (G, V, D), over all pairs of two of them: (G,)."""
    distances = torch.cdist(views, views, compute_mode="donot_use_mm_for_euclid_dist")
    return _pairwise_mean(distances, 0.0, include_diagonal=False)


def _pairwise_mean(pairs: Tensor, diagonal: float, *, include_diagonal: bool) -> Tensor:
    count = pairs.shape[1]
    if include_diagonal:
        return pairs.mean(dim=(1, 2))
    return (pairs.sum(dim=(1, 2)) - diagonal * count) / (count * (count - 1))
