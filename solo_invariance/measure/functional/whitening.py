"""Whitening of features."""

from typing import NamedTuple

import torch
from torch import Tensor

_WORST_CONDITION = 1e12
_SHOWN = 8

RIDGE = 1e-3
"""The weight of the features' own variances in a shrunk covariance, whatever the number of images."""


class Whitening(NamedTuple):
    """A whitening: the mean (D,) and the lower Cholesky factor (D, D) of the covariance, in float64.

    ``shrinkage`` is the weight in [0, 1] of the diagonal that was mixed into the covariance, 0 where none was;
    ``num_images`` is how many images mean and covariance are of; ``freedom`` is how many degrees of freedom lengths are
    corrected for, 0 where they are not.
    """

    mean: Tensor
    factor: Tensor
    num_images: int
    shrinkage: float = 0.0
    freedom: float = 0.0

    def length(self, removed: int = 0) -> float:
        """Return what whitened features of images that are no part of mean and covariance are to be multiplied by.

        Args:
            removed: How many images have been taken out of these.
        """
        left = 1 - self.freedom / (self.num_images - removed - 1)
        return max(left, 1e-6) ** 0.5  # rounding may leave less than nothing


def whitening_from_statistics(mean: Tensor, covariance: Tensor, count: int, *, shrink: bool) -> Whitening:
    r"""Return the whitening of a distribution by its mean and covariance.

    .. math:: \Sigma = (1 - w) S + w \operatorname{diag}(S), \quad w = 0.001

    The weight is the same for any number of images, so that nothing jumps where the covariance becomes invertible, and
    small, so that the spectrum stays what it is: estimators that choose the weight for a small error of the covariance,
    such as oracle approximating shrinkage, distort it, and cosines with it (``benchmarks/reference.py`` compares them).
    Variances below a thousandth of the mean variance count as that much: a feature that is constant says nothing.

    The inverse of an estimated covariance is too large, and so are lengths of what it whitens: squares by the factor
    1 / (1 - df / (n - 1)) over those by the distribution's own (shrunk) covariance, with n images and
    :math:`\mathrm{df} = \operatorname{tr}(\Sigma^{-1} (1 - w) S)` degrees of freedom (Ledoit & Péché 2011; for w = 0,
    about that of the inverse Wishart distribution). ``Whitening.length()`` makes up for it.

    Args:
        mean: (D,)
        covariance: (D, D), unbiased.
        count: Number of images that they were estimated from.
        shrink: Whether to; otherwise the covariance is taken as it is, and a singular one is an error.

    Raises:
        ValueError: The covariance is singular and ``shrink`` is off (the message says how many images are needed), or
            all features are constant.
    """
    if shrink:
        variances = covariance.diagonal()
        target = variances.clamp_min(RIDGE * float(variances.mean())).diag()
        factor = _cholesky((1 - RIDGE) * covariance + RIDGE * target)
        if factor is None:
            raise ValueError(f"all {len(mean)} features are constant over {count} reference images")
        freedom = torch.cholesky_solve((1 - RIDGE) * covariance, factor).trace()
        return Whitening(mean, factor, count, RIDGE, float(freedom))
    factor = _cholesky(covariance) if count > len(mean) else None
    if factor is None:
        named = f"the covariance of {len(mean)} features from {count} reference images is singular"
        if count <= len(mean):
            raise ValueError(f"{named}: more than {len(mean)} images are needed, and no feature may be constant")
        constant = _constant_features(covariance)
        rank = int(torch.linalg.matrix_rank(covariance, hermitian=True, rtol=1 / _WORST_CONDITION))
        raise ValueError(f"{named}: they vary in {rank} directions alone, and {constant}")
    return Whitening(mean, factor, count)


def width_matched_projections(
    whitening: Whitening, covariance: Tensor, count: int, width: int, projections: int, *, shrink: bool
) -> Tensor:
    r"""Return maps from whitened features to random projections of the features, whitened in their turn.

    .. math:: P_j = L_j^{-1} Q_j^\top L, \quad L_j L_j^\top = Q_j^\top \Sigma Q_j

    with :math:`\Sigma` the covariance, :math:`L` the factor that the features were whitened by and :math:`Q_j` (D, d)
    of independent normal numbers, the same for all backbones of one width. Since :math:`Q` looks the same from all
    sides, turning feature space, embedding it in a wider one, or projecting it to d or more random directions changes
    no expectation. The covariance in d dimensions is estimated there, from as many images as there are: it needs less
    shrinking, or none, however wide the features are.

    Args:
        whitening: Of the features.
        covariance: Of the features, unbiased, before shrinking, (D, D).
        count: Number of images that it was estimated from.
        width: d; where the features have no more, they are left as they are.
        projections: R, how many.
        shrink: Whether a covariance may be shrunk, as in ``whitening_from_statistics``.

    Returns:
        (R, d, D), float64; (1, D, D), the identity, where D is at most d.

    Raises:
        ValueError: A projected covariance is singular and ``shrink`` is off.
    """
    size = len(covariance)
    if size <= width:
        return torch.eye(size, dtype=covariance.dtype, device=covariance.device)[None]
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(projections):
        directions = torch.randn(size, width, generator=generator, dtype=torch.float64).to(covariance)
        projected = directions.T @ covariance @ directions
        own = whitening_from_statistics(projected.new_zeros(width), projected, count, shrink=shrink)
        found.append(torch.linalg.solve_triangular(own.factor, directions.T @ whitening.factor, upper=False))
    return torch.stack(found)


def _constant_features(covariance: Tensor) -> str:
    """Say which features are constant, up to rounding."""
    variances = covariance.diagonal()
    constant = (variances <= variances.mean() / _WORST_CONDITION).nonzero()[:, 0].tolist()
    shown = ", ".join(map(str, constant[:_SHOWN])) + (", ..." if len(constant) > _SHOWN else "")
    return f"{len(constant)} features are constant" + (f" (of 0 to {len(variances) - 1}: {shown})" if constant else "")


def _cholesky(covariance: Tensor) -> Tensor | None:
    factor, failed = torch.linalg.cholesky_ex(covariance)
    diagonal = factor.diagonal()
    if failed or diagonal.min() <= 0 or (diagonal.max() / diagonal.min()) ** 2 > _WORST_CONDITION:
        return None
    return factor


def whiten(features: Tensor, whitening: Whitening) -> Tensor:
    """Return the whitened features, float64, of features (..., D)."""
    centred = features.to(whitening.mean.dtype) - whitening.mean
    flat = centred.reshape(-1, centred.shape[-1])
    return torch.linalg.solve_triangular(whitening.factor, flat.T, upper=False).T.reshape(centred.shape)


def hold_out_pairs(pairs: Tensor, held_out: Tensor | None, whitening: Whitening) -> Tensor:
    """Return whitened features of images and their views, where some images are no part of the mean and covariance.

    Args:
        pairs: (N, 1 + V, D), by ``whitening``: of each image, then of V views of it.
        held_out: Which images were part of the mean and covariance and are taken out of these, (N,), bool; or none. On
            the CPU, nothing waits for the device.
        whitening: As in ``hold_out``.

    Returns:
        (N, 1 + V, D)
    """
    if held_out is None or not held_out.any():
        return pairs
    if held_out.all():
        return hold_out(pairs, pairs[:, :1], whitening)
    rows = held_out.nonzero()[:, 0].to(pairs.device)
    some = pairs[rows]
    return pairs.index_copy(0, rows, hold_out(some, some[:, :1], whitening))


def hold_out(whitened: Tensor, removed: Tensor, whitening: Whitening) -> Tensor:
    r"""Return whitened features as if some images had been no part of the mean and covariance.

    With :math:`z_r` the whitened features of the R removed images of n, :math:`s` their sum and
    :math:`P = \sqrt{(1 - w) / (n - 1)}\,[z_1 \dots z_R,\ s / \sqrt{n - R}]`, the covariance of the others is, in
    whitened coordinates and but for the diagonal's weight w, :math:`\frac{n - 1}{n - R - 1} (I - P P^\top)`, and their
    mean :math:`-s / (n - R)`. Leave-one-out residuals are computed by the same downdate, without fitting again (Sherman
    & Morrison 1950).

    Args:
        whitened: (N, V, D), V features each of N things, by ``whitening``.
        removed: (N, R, D), by ``whitening``: the features in it that are removed for each thing.
        whitening: Of n > R + 1 images.

    Returns:
        (N, V, D), whitened anew up to a rotation that is the same for all features of a thing.
    """
    total, count = whitening.num_images, removed.shape[1]
    left = total - count
    sums = removed.sum(dim=1, keepdim=True)
    own = ((1 - whitening.shrinkage) / (total - 1)) ** 0.5
    if count == 1:  # the two columns of P are one direction; a decomposition would be slow on a GPU
        parts = removed * (own * (1 + 1 / left) ** 0.5)
        gains = _downdate(parts.square().sum(dim=2, keepdim=True))
    else:
        parts = torch.cat([removed, sums / left**0.5], dim=1) * own
        values, vectors = torch.linalg.eigh(parts @ parts.transpose(1, 2))
        gains = vectors * _downdate(values)[:, None] @ vectors.transpose(1, 2)
    shifted = whitened + sums / left
    scale = ((left - 1) / (total - 1)) ** 0.5 * whitening.length(count) / whitening.length()
    return (shifted + shifted @ parts.transpose(1, 2) @ gains @ parts) * scale


def _downdate(values: Tensor) -> Tensor:
    """Return (1 - x)^(-1/2) - 1 over x, for x in [0, 1), without a difference of what is nearly equal."""
    roots = (1 - values.clamp(0, 1 - 1e-12)).sqrt()
    return 1 / (roots * (1 + roots))
