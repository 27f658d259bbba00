"""How well a map that all images share predicts the features of views."""

from itertools import combinations_with_replacement

import torch
from torch import Tensor

from solo_invariance.measure.functional.parameter_readout import (
    HALVES,
    check_pairs,
    equal_coordinates,
    ridge_over_images,
)
from solo_invariance.regression.cross_validation import assign_folds

_DEGREE = 3


def equivariance_terms(clean: Tensor, views: Tensor, coordinates: Tensor, images: Tensor, seed: int = 0) -> Tensor:
    r"""Squared errors of view features: by a map of clean feature and parameters, and by two that know less, held out.

    A representation is equivariant where the feature of a view follows from the clean feature by a map that depends on
    the transform's parameters and not on the image, :math:`z(T_p x) \approx M(p) z(x) + b(p)` (Lenc & Vedaldi 2015,
    "Understanding Image Representations by Measuring Their Equivariance and Equivalence", equation 2, of one map for
    each transform). Here

    .. math:: M(p) = a(p) I + \sum_j \phi_j(p) M_j, \quad b(p) = \sum_j \phi_j(p) b_j

    with the polynomials :math:`\phi_j` of the coordinates up to the third degree: a and b by least squares, and on what
    they leave :math:`M_j`, and b once more, by ridge regression, with the penalty
    chosen by cross-validation over images. The terms are its squared error and those of

    - a share that is kept, :math:`a(p) z(x) + \bar b` with :math:`a(p) = \sum_j \alpha_j \phi_j(p)` in [0, 1]: of a
      backbone that is invariant, or so but for noise, nothing is better;
    - the mean view, :math:`b(p)`: of one whose views say nothing of the clean feature, nothing is better.

    So one less the first over the smaller of the others is the share of the change that a map predicts and neither of
    the two does. Each half of the images is predicted by the fits to the other half.

    Args:
        clean: (N, D).
        views: (N, K, D).
        coordinates: The parameters of the views' transform, (N, K, C).
        images: Ids, (N,); rows of one id are one image.
        seed: Of the halves and folds. Neither depends on the rows' order.

    Returns:
        (N, 3), float64: the errors of the map, of the share that is kept, and of the mean view, summed over views.

    Raises:
        ValueError: The shapes do not fit, numbers are not finite (an image is named), there are fewer than four images,
            or no coordinate varies.
    """
    check_pairs(clean, views, coordinates, images)
    _, image = images.to(clean.device).unique(return_inverse=True)
    count = int(image.max()) + 1
    if count < 2 * HALVES:
        raise ValueError(f"equivariance needs at least {2 * HALVES} images, two in each half, got {count}")
    order = image.argsort(stable=True)  # so that sums, too, are rounded the same whatever the order of the rows
    own, others, image = clean[order, None].double().expand_as(views), views[order].double(), image[order]
    basis = polynomials(equal_coordinates(coordinates.to(clean.device)[order]))
    half = assign_folds(count, HALVES, seed).to(clean.device)[image]
    terms = own.new_empty(len(own), 3)
    for held_out in (half[:, None] == torch.arange(HALVES, device=half.device)).T:
        terms[held_out] = _held_out_terms(own, others, basis, image, held_out, seed)
    return terms[order.argsort()]


def polynomials(coordinates: Tensor) -> Tensor:
    """Return the products of up to three of the coordinates (N, K, C), and 1: (N, K, B).

    Example:
        >>> polynomials(torch.tensor([[[2.0, 3.0]]]))[0, 0].tolist()
        [1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 8.0, 12.0, 18.0, 27.0]
    """
    columns = range(coordinates.shape[-1])
    products = [
        coordinates[..., list(chosen)].prod(dim=-1)
        for degree in range(_DEGREE + 1)
        for chosen in combinations_with_replacement(columns, degree)
    ]
    return torch.stack(products, dim=-1)


def _held_out_terms(own: Tensor, views: Tensor, basis: Tensor, image: Tensor, held_out: Tensor, seed: int) -> Tensor:
    """Return the terms (n, 3) of the images that are held out, (N,), bool, fitted to the others."""
    fitted = ~held_out
    centre = own[fitted].mean(dim=(0, 1))
    own, views = own - centre, views - centre
    kept = _kept_share(own, views, basis, fitted)[..., None] * own
    offset = (views - kept)[fitted].mean(dim=(0, 1))
    mean_view, mean_change = (_mean_over_images(target, basis, fitted) for target in (views, views - kept))
    features = torch.cat([torch.einsum("nkb,nkd->nkbd", basis, own).flatten(2), basis], dim=2)
    change = views - kept - mean_change
    fit = ridge_over_images(features[fitted], change[fitted], image[fitted], seed)
    mapped = kept + mean_change + features @ fit.slopes + fit.intercept
    errors = [((views - predicted)[held_out] ** 2).sum(dim=(1, 2)) for predicted in (mapped, kept + offset, mean_view)]
    return torch.stack(errors, dim=1)


def _mean_over_images(targets: Tensor, basis: Tensor, fitted: Tensor) -> Tensor:
    """Return what targets (N, K, D) are on average at the parameters, by least squares, (N, K, D)."""
    return basis @ (torch.linalg.pinv(basis[fitted].flatten(0, 1)) @ targets[fitted].flatten(0, 1))


def _kept_share(own: Tensor, views: Tensor, basis: Tensor, fitted: Tensor) -> Tensor:
    """Return the share (N, K) of the clean feature that views keep, a polynomial of their parameters in [0, 1].

    It is fitted beside a constant, which is why what it multiplies is centred.
    """
    products = torch.einsum("nkb,nkd->bnkd", basis[fitted], own[fitted]).flatten(1, 2)
    products = (products - products.mean(dim=1, keepdim=True)).flatten(1)
    loads = products @ views[fitted].flatten()
    return (basis @ (torch.linalg.pinv(products @ products.T, hermitian=True) @ loads)).clamp(0, 1)
