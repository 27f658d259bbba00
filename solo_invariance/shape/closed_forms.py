"""Linear maps of features that set invariances, in closed form from moments."""

from typing import NamedTuple

import torch
from torch import Tensor

from solo_invariance.backbones.shaping import FactorMoments

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

    @classmethod
    def of_nothing(cls, width: int) -> "Projection":
        """Return the map that leaves features (N, D) of a width as they are."""
        none = torch.zeros(width, 0, dtype=torch.float64)
        return cls(torch.zeros(width, dtype=torch.float64), none, none)

    @property
    def rank(self) -> int:
        """How many directions it takes out."""
        return self.reads.shape[1]

    def __call__(self, features: Tensor) -> Tensor:
        """Return what is left of features (N, D)."""
        return features - ((features - self.mean) @ self.reads) @ self.writes.T


def shrunk(covariance: Tensor, num_images: int) -> Tensor:
    r"""Return a covariance that holds for other images, too: drawn towards one that is the same in all directions.

    .. math:: (1 - \lambda) \Sigma + \lambda \frac{\operatorname{tr} \Sigma}{D} I, \quad
              \lambda = \min\Bigl(1, \frac{(\operatorname{tr} \Sigma)^2}
              {n (\lVert \Sigma \rVert_F^2 - (\operatorname{tr} \Sigma)^2 / D)}\Bigr)

    Directions in which few images hardly vary vary more on others. The fewer images there are, the more it is drawn;
    for many, it is the covariance itself.

    Source: Bodnar, Gupta and Parolya (2014), "On the strong convergence of the optimal linear shrinkage estimator for
    large dimensional covariance matrix", equation 2.9 with an identity target.

    Args:
        covariance: :math:`\Sigma`, (D, D), of images' features.
        num_images: :math:`n`.
    """
    width, trace = len(covariance), covariance.trace()
    spread = covariance.square().sum() - trace**2 / width
    share = (trace**2 / num_images / spread).clamp(max=1) if spread > 0 else torch.zeros_like(trace)
    equal = trace / width * torch.eye(width, dtype=covariance.dtype, device=covariance.device)
    return (1 - share) * covariance + share * equal


def erasing(mean: Tensor, covariance: Tensor, cross: Tensor, *, least: float = 1e-6) -> Projection:
    r"""Return the least map of features after which no linear probe reads a concept.

    .. math:: r(x) = x - W^+ P W (x - \mu), \quad W = (\Sigma_{XX}^{1/2})^+

    with :math:`P` the orthogonal projection onto the columns of :math:`W \Sigma_{XZ}`. After it, features and concept
    are uncorrelated, so that no linear predictor is better than a constant, by any convex loss; among all affine maps
    that do this, it moves features least in the mean square, in every norm that comes of an inner product. Of any other
    covariance of full rank, it leaves none either, and moves features least by that one.

    Source: Belrose et al. (2023), "LEACE: Perfect linear concept erasure in closed form", theorem 4.3.

    Args:
        mean: :math:`\mu` of the features, (D,).
        covariance: :math:`\Sigma_{XX}`, (D, D); it may be singular, or shrunk.
        cross: :math:`\Sigma_{XZ}`, the covariances (D, Z) of features and a concept of unit variances, of which columns
            may depend on each other.
        least: A concept that correlates with features by less is no part of them, but rounding.
    """
    whiten, colour = _bases(covariance)
    left, singular, _ = torch.linalg.svd(whiten.T @ cross.double(), full_matrices=False)
    kept = left[:, singular > least]
    return Projection(mean.double(), whiten @ kept, colour @ kept)


def covariance_with(moments: FactorMoments, concept: Tensor) -> Tensor:
    r"""Return the covariances :math:`\Sigma_{XZ}`, (D, Z), of features and numbers of their factor's level.

    Each number is scaled to unit variance; one that does not vary is correlated with nothing.

    Args:
        moments: Of the factor's levels.
        concept: :math:`Z`, (K, Z), of each level.
    """
    levels = moments.levels - moments.mean
    values = concept.double() - moments.weights @ concept.double()
    variances = moments.weights @ values.square()
    scaled = torch.where(variances > 0, values / variances.clamp(min=torch.finfo(torch.float64).tiny).sqrt(), 0.0)
    return (levels * moments.weights[:, None]).T @ scaled


class Directions(NamedTuple):
    r"""Directions of feature space by what they vary by, from the most invariant to the most sensitive; float64.

    Args:
        share: (R,), ascending: of the variance along each, the part that a factor makes, in [0, 1].
        mean: :math:`\mu`, (D,), of the features.
        reads: (D, R): coordinates :math:`B^\top (x - \mu)` are uncorrelated and of unit variance, and what the
            factor makes of them is uncorrelated, too.
        writes: (D, R): features are the mean and the sum of coordinates along these, :math:`A B^\top = I` where
            features vary at all.
    """

    share: Tensor
    mean: Tensor
    reads: Tensor
    writes: Tensor

    @property
    def variance(self) -> Tensor:
        """How much of the features' variance lies along each, (R,): they sum to all of it."""
        return self.writes.square().sum(0)

    def without(self, taken_out: Tensor) -> Projection:
        """Return the map that takes some directions out, given by their numbers (r,)."""
        return Projection(self.mean, self.reads[:, taken_out], self.writes[:, taken_out])


def ordered_directions(mean: Tensor, total: Tensor, changed: Tensor) -> Directions:
    r"""Return the directions that a factor varies least, and those that it varies most, against all variance.

    They solve :math:`\Sigma_c v = \tau \Sigma v`, as in linear discriminant analysis (Fisher 1936): of a transform,
    with each image a class; of a table's column, with each value one. The share :math:`\tau` of a direction, and their
    order, do not depend on an invertible linear map of the features.

    Args:
        mean: Of the features, (D,).
        total: :math:`\Sigma`, their covariance, (D, D); it may be singular, or shrunk.
        changed: :math:`\Sigma_c`, the part of it that the factor makes, (D, D).
    """
    whiten, colour = _bases(total)
    share, axes = torch.linalg.eigh(whiten.T @ changed.double() @ whiten)
    return Directions(share.clamp(0, 1), mean.double(), whiten @ axes, colour @ axes)


def _bases(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return what whitens features (D, R) where they vary at all, and what brings them back (D, R)."""
    variances, axes = torch.linalg.eigh(covariance.double())
    varies = variances > _ROUNDING * variances.max()
    deviations, axes = variances[varies].sqrt(), axes[:, varies]
    return axes / deviations, axes * deviations
