"""The influence of reference images on similarities of features that their mean and covariance whiten."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def reference_influence(clean: Tensor, views: Tensor, reference: Tensor) -> Tensor:
    r"""Influence of each reference image on the cosine of the whitened clean feature and the whitened views' features.

    One more image r of n moves mean and covariance by :math:`w_r / n` and :math:`(w_r w_r^\top - I) / n` in whitened
    coordinates, and a similarity by a n-th of its influence. With unit vectors :math:`a = z(x) / \lVert z(x) \rVert`
    and :math:`b`, their cosine :math:`c = a^\top b`, and :math:`\alpha_r = w_r^\top a`, :math:`\beta_r = w_r^\top b`,

    .. math:: \phi_r = \frac{c}{2} (\alpha_r^2 + \beta_r^2) - \alpha_r \beta_r
        - \frac{\beta_r - c\,\alpha_r}{\lVert z(x) \rVert} - \frac{\alpha_r - c\,\beta_r}{\lVert z(T_p x) \rVert}

    The first two terms come from :math:`\mathrm{d}\Sigma^{-1} = -\Sigma^{-1}\,\mathrm{d}\Sigma\,\Sigma^{-1}`, the
    others from the mean. By the delta method the reference's share in the variance of a mean similarity is
    :math:`\operatorname{var}_r(\bar\phi_r) / n`, with :math:`\bar\phi_r` the mean of the influences on its terms.

    Source: Hampel (1974), "The Influence Curve and Its Role in Robust Estimation". The small weight that shrinking
    gives to the features' variances is neglected.

    Args:
        clean: (N, D), whitened.
        views: (N, K, D), whitened.
        reference: Whitened features of R reference images, (R, D).

    Returns:
        (N, K, R)
    """
    lengths_clean = torch.linalg.vector_norm(clean, dim=-1)[:, None, None]
    lengths_views = torch.linalg.vector_norm(views, dim=-1)[..., None]
    clean, views = normalize(clean, dim=-1), normalize(views, dim=-1)
    cosines = (clean[:, None] * views).sum(dim=-1, keepdim=True)
    of_clean, of_views = (clean @ reference.T)[:, None], views @ reference.T
    by_covariance = cosines / 2 * (of_clean**2 + of_views**2) - of_clean * of_views
    by_mean = (of_views - cosines * of_clean) / lengths_clean + (of_clean - cosines * of_views) / lengths_views
    return by_covariance - by_mean


def group_reference_influence(views: Tensor, reference: Tensor, *, include_diagonal: bool) -> Tensor:
    r"""Influence of each reference image on the mean pairwise cosine of views of one thing.

    The mean of ``reference_influence`` over all pairs of views, without going through the pairs: with lengths
    :math:`l_i` of the views, their cosines :math:`c_{ij}`, :math:`s_i = \sum_j c_{ij}` and :math:`\alpha_{ir}` the
    projections of the reference images on the views' directions, the sum over pairs is

    .. math:: \sum_i s_i \alpha_{ir}^2 - \Bigl(\sum_i \alpha_{ir}\Bigr)^2
        - 2 \sum_i \frac{\sum_j \alpha_{jr} - s_i \alpha_{ir}}{l_i}

    Args:
        views: (V, D), whitened, V >= 2.
        reference: Whitened features of R reference images, (R, D).
        include_diagonal: Count each view's similarity with itself, on which nothing has an influence.

    Returns:
        (R,)
    """
    lengths, unit, count = torch.linalg.vector_norm(views, dim=1, keepdim=True), normalize(views, dim=1), len(views)
    of_views = unit @ reference.T
    total, weighed = of_views.sum(dim=0), (unit @ unit.sum(dim=0))[:, None] * of_views
    by_covariance = (weighed * of_views).sum(dim=0) - total**2
    by_mean = 2 * ((total - weighed) / lengths).sum(dim=0)
    return (by_covariance - by_mean) / (count**2 if include_diagonal else count * (count - 1))
