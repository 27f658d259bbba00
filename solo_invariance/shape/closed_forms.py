"""Linear maps of features that set invariances, in closed form from moments."""

from typing import NamedTuple

import torch
from torch import Tensor

_ROUNDING = 1e-10  # of the largest variance: what is below is no direction that features vary in


class Projection(NamedTuple):
    r"""A map :math:`r(x) = x - A B^\top (x - \mu)` that takes ``rank`` directions out of features; all float64.

    Args:
        mean: :math:`\mu`, (D,).
        reads: :math:`B`, (D, r): what is taken out is read by these.
        writes: :math:`A`, (D, r): and lies along these.
    """

    mean: Tensor
    reads: Tensor
    writes: Tensor

    @property
    def rank(self) -> int:
        """How many directions it takes out."""
        return self.reads.shape[1]

    def __call__(self, features: Tensor) -> Tensor:
        """Return what is left of features (N, D)."""
        return features - ((features - self.mean) @ self.reads) @ self.writes.T


def erasing(mean: Tensor, covariance: Tensor, cross: Tensor, *, least: float = 1e-6) -> Projection:
    r"""Return the least map of features after which no linear probe reads a concept.

    .. math:: r(x) = x - W^+ P W (x - \mu), \quad W = (\Sigma_{XX}^{1/2})^+

    with :math:`P` the orthogonal projection onto the columns of :math:`W \Sigma_{XZ}`. After it, features and concept
    are uncorrelated, so that no linear predictor is better than a constant, by any convex loss; among all affine maps
    that do this, it moves features least in the mean square, in every norm that comes of an inner product.

    Source: Belrose et al. (2023), "LEACE: Perfect linear concept erasure in closed form", theorem 4.3.

    Args:
        mean: :math:`\mu` of the features, (D,).
        covariance: :math:`\Sigma_{XX}`, (D, D); it may be singular.
        cross: :math:`\Sigma_{XZ}`, the covariances (D, Z) of features and concept, of which columns may depend on
            each other.
        least: Singular values of :math:`W \Sigma_{XZ}` below this part of the largest are rounding.
    """
    whiten, colour = _bases(covariance)
    left, singular, _ = torch.linalg.svd(whiten.T @ cross.double(), full_matrices=False)
    kept = left[:, singular > least * singular.max().clamp_min(torch.finfo(torch.float64).tiny)]
    return Projection(mean.double(), whiten @ kept, colour @ kept)


def centred(moments: Tensor, weights: Tensor) -> Tensor:
    r"""Return :math:`\Sigma_{XZ}` of features and the step that they are of, (D, K), one column a step.

    Args:
        moments: Mean features of each step, (K, D).
        weights: How often each is met, (K,), summing to 1.
    """
    return ((moments - weights @ moments) * weights[:, None]).T


class Directions(NamedTuple):
    r"""Directions of feature space by what they vary by, from the most invariant to the most sensitive; float64.

    Args:
        share: (R,), ascending: of the variance along each, the part within orbits, from 0 (of images alone) to 1 (of
            the transform alone).
        reads: (D, R): coordinates :math:`B^\top (x - \mu)` are uncorrelated and of unit variance.
        writes: (D, R): features are the mean and the sum of coordinates along these, :math:`A B^\top = I` where
            features vary at all.
    """

    share: Tensor
    reads: Tensor
    writes: Tensor


def ordered_directions(between: Tensor, within: Tensor) -> Directions:
    r"""Return the directions that a transform varies least, and those that it varies most, against all variance.

    They solve :math:`\Sigma_w v = \tau (\Sigma_b + \Sigma_w) v`, as in linear discriminant analysis with each image a
    class (Fisher 1936). The share :math:`\tau` of a direction, and their order, do not depend on an invertible linear
    map of the features.

    Args:
        between: :math:`\Sigma_b`, the covariance of orbits' means, (D, D).
        within: :math:`\Sigma_w`, the mean covariance within orbits, (D, D).
    """
    whiten, colour = _bases(between + within)
    share, axes = torch.linalg.eigh(whiten.T @ within.double() @ whiten)
    return Directions(share.clamp(0, 1), whiten @ axes, colour @ axes)


def _bases(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return what whitens features (D, R) where they vary at all, and what brings them back (D, R)."""
    variances, axes = torch.linalg.eigh(covariance.double())
    varies = variances > _ROUNDING * variances.max()
    deviations, axes = variances[varies].sqrt(), axes[:, varies]
    return axes / deviations, axes * deviations
