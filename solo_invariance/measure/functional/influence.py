"""The influence of reference images on similarities and distances of features that their statistics whiten."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def reference_influence(clean: Tensor, views: Tensor, weights: Tensor, reference: Tensor) -> Tensor:
    r"""Influence of each reference image on the mean cosine of a clean feature and its views' features, all whitened.

    One more image r of n moves mean and covariance by :math:`w_r / n` and :math:`(w_r w_r^\top - I) / n` in whitened
    coordinates, and a similarity by a n-th of its influence. With unit vectors :math:`a = z(x) / \lVert z(x) \rVert`
    and :math:`b`, their cosine :math:`c = a^\top b`, and :math:`\alpha_r = w_r^\top a`, :math:`\beta_r = w_r^\top b`,
    it is the weighted mean over the views of

    .. math:: \phi_r = \frac{c}{2} (\alpha_r^2 + \beta_r^2) - \alpha_r \beta_r
        - \frac{\beta_r - c\,\alpha_r}{\lVert z(x) \rVert} - \frac{\alpha_r - c\,\beta_r}{\lVert z(T_p x) \rVert}

    The first two terms come from :math:`\mathrm{d}\Sigma^{-1} = -\Sigma^{-1}\,\mathrm{d}\Sigma\,\Sigma^{-1}`, the
    others from the mean. By the delta method the reference's share in the variance of a mean similarity is
    :math:`\operatorname{var}_r(\bar\phi_r) / n`, with :math:`\bar\phi_r` the mean of the influences on its terms.

    Source: Hampel (1974), "The Influence Curve and Its Role in Robust Estimation". The small weight that shrinking
    gives to the features' variances is neglected.

    Args:
        clean: (..., N, D), whitened.
        views: (..., N, K, D), whitened.
        weights: (N, K), by which an image's views are averaged.
        reference: Whitened features of R reference images, (..., R, D).

    Returns:
        (..., N, R)
    """
    length_of_clean = torch.linalg.vector_norm(clean, dim=-1, keepdim=True)
    lengths = torch.linalg.vector_norm(views, dim=-1)
    unit, units = normalize(clean, dim=-1), normalize(views, dim=-1)
    cosines = (unit[..., None, :] * units).sum(dim=-1)
    weights = weights.to(cosines).expand_as(cosines)
    of_clean, of_views = unit @ reference.mT, _projected_sum(weights, units, reference)
    similarity = (weights * cosines).sum(dim=-1, keepdim=True)
    squares = (units.flatten(-3, -2) @ reference.mT).square_().unflatten(-2, cosines.shape[-2:])
    of_squares = torch.einsum("...nk,...nkr->...nr", weights * cosines, squares)
    by_covariance = (similarity * of_clean**2 + of_squares) / 2 - of_clean * of_views
    by_mean = (of_views - similarity * of_clean) / length_of_clean
    by_mean += (weights / lengths).sum(dim=-1, keepdim=True) * of_clean
    return by_covariance - by_mean + _projected_sum(weights * cosines / lengths, units, reference)


def _projected_sum(weights: Tensor, views: Tensor, reference: Tensor) -> Tensor:
    """Return the weighted sums (..., N, D) of views (..., N, K, D), projected on reference images: (..., N, R)."""
    return torch.einsum("...nk,...nkd->...nd", weights, views) @ reference.mT


def group_reference_influence(views: Tensor, reference: Tensor, *, include_diagonal: bool) -> Tensor:
    r"""Influence of each reference image on the mean pairwise cosine of views of one thing.

    The mean of ``reference_influence`` over all pairs of views, without going through the pairs: with lengths
    :math:`l_i` of the views, their cosines :math:`c_{ij}`, :math:`s_i = \sum_j c_{ij}` and :math:`\alpha_{ir}` the
    projections of the reference images on the views' directions, the sum over pairs is

    .. math:: \sum_i s_i \alpha_{ir}^2 - \Bigl(\sum_i \alpha_{ir}\Bigr)^2
        - 2 \sum_i \frac{\sum_j \alpha_{jr} - s_i \alpha_{ir}}{l_i}

    Args:
        views: (..., V, D), whitened, V >= 2.
        reference: Whitened features of R reference images, (..., R, D).
        include_diagonal: Count each view's similarity with itself, on which nothing has an influence.

    Returns:
        (..., R)
    """
    count, lengths = views.shape[-2], torch.linalg.vector_norm(views, dim=-1, keepdim=True)
    unit = normalize(views, dim=-1)
    of_views = unit @ reference.mT
    total = of_views.sum(dim=-2, keepdim=True)
    weighed = (unit @ unit.sum(dim=-2)[..., None]) * of_views
    by_covariance = (weighed * of_views).sum(dim=-2) - total[..., 0, :] ** 2
    by_mean = 2 * ((total - weighed) / lengths).sum(dim=-2)
    return (by_covariance - by_mean) / (count**2 if include_diagonal else count * (count - 1))


def reference_influence_on_distance(clean: Tensor, views: Tensor, weights: Tensor, reference: Tensor) -> Tensor:
    r"""Influence of each reference image on the mean distance of a clean feature and its views' features, all whitened.

    As in ``reference_influence``; the mean does not matter to a difference :math:`\delta = z(x) - z(T_p x)`, of whose
    length d the influence is

    .. math:: \phi_r = \frac{d}{2} - \frac{(w_r^\top \delta)^2}{2 d}

    Where a view changed nothing, d is 0 and stays 0.

    Args:
        clean: (N, D), whitened.
        views: (N, K, D), whitened.
        weights: (N, K), by which an image's views are averaged.
        reference: Whitened features of R reference images, (R, D).

    Returns:
        (N, R)
    """
    differences = clean[:, None] - views
    lengths = torch.linalg.vector_norm(differences, dim=-1)
    weights = weights.to(lengths)
    squares = (normalize(differences, dim=-1) @ reference.mT).square_()
    return (weights * lengths).sum(dim=1, keepdim=True) / 2 - torch.einsum("nk,nkr->nr", weights * lengths, squares) / 2


def group_reference_influence_on_distance(views: Tensor, reference: Tensor) -> Tensor:
    r"""Influence of each reference image on the mean distance of two whitened views of one thing.

    The mean of ``reference_influence_on_distance`` over all pairs of views, without a number for each pair and image:
    with the distances :math:`d_{ij}`, :math:`\alpha_{ir} = z_i^\top w_r` and :math:`W_{ij} = 1 / d_{ij}`, 0 for views
    that are alike, the sum over pairs is

    .. math:: \sum_{ij} \frac{d_{ij}}{2} - \sum_i \alpha_{ir} \sum_j W_{ij} (\alpha_{ir} - \alpha_{jr})

    Args:
        views: (V, D), whitened, V >= 2.
        reference: Whitened features of R reference images, (R, D).

    Returns:
        (R,)
    """
    distances = torch.cdist(views, views, compute_mode="donot_use_mm_for_euclid_dist")
    inverses = torch.where(distances > 0, 1 / distances, 0)
    of_views = views @ reference.mT
    moved = of_views * inverses.sum(dim=1, keepdim=True) - inverses @ of_views
    return (distances.sum() / 2 - (of_views * moved).sum(dim=0)) / (len(views) * (len(views) - 1))
