"""Whitening of features."""

from typing import NamedTuple

import torch
from torch import Tensor

_WORST_CONDITION = 1e12


class Whitening(NamedTuple):
    """A whitening: the mean (D,) and the lower Cholesky factor (D, D) of the covariance, in float64.

    ``shrinkage`` is the weight in [0, 1] of the spherical target that was mixed into the covariance, 0 where none was.
    """

    mean: Tensor
    factor: Tensor
    shrinkage: float = 0.0


def whitening_from_statistics(mean: Tensor, covariance: Tensor, count: int, *, shrink: bool) -> Whitening:
    r"""Return the whitening of a distribution by its mean and covariance.

    Args:
        mean: (D,)
        covariance: (D, D), unbiased.
        count: Number of images that they were estimated from.
        shrink: Where the covariance is singular or nearly so, mix in a multiple of the identity by the oracle
            approximating shrinkage of Chen, Wiesel, Eldar & Hero (2010), equation 23; otherwise that is an error.

    Raises:
        ValueError: The covariance is singular and ``shrink`` is off; the message says how many images are needed.
    """
    factor = _cholesky(covariance) if count > len(mean) else None
    if factor is not None:
        return Whitening(mean, factor)
    if not shrink:
        raise ValueError(
            f"the covariance of {len(mean)} features from {count} reference images is singular: more than {len(mean)} "
            f"images are needed, and no feature may be constant"
        )
    weight = _oas_weight(covariance, count)
    # A constant feature leaves the covariance singular however many images there are: never shrink by nothing.
    weight = max(weight, 1e-6)
    target = torch.eye(len(mean), dtype=covariance.dtype, device=covariance.device) * covariance.diagonal().mean()
    factor = _cholesky((1 - weight) * covariance + weight * target)
    if factor is None:
        raise ValueError(f"all {len(mean)} features are constant over {count} reference images")
    return Whitening(mean, factor, weight)


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


def _cholesky(covariance: Tensor) -> Tensor | None:
    factor, failed = torch.linalg.cholesky_ex(covariance)
    diagonal = factor.diagonal()
    if failed or diagonal.min() <= 0 or (diagonal.max() / diagonal.min()) ** 2 > _WORST_CONDITION:
        return None
    return factor


def _oas_weight(covariance: Tensor, count: int) -> float:
    size = len(covariance)
    squared_trace, trace_of_square = covariance.trace() ** 2, (covariance**2).sum()
    numerator = (1 - 2 / size) * trace_of_square + squared_trace
    denominator = (count + 1 - 2 / size) * (trace_of_square - squared_trace / size)
    return 1.0 if denominator <= 0 else min(1.0, float(numerator / denominator))


def whiten(features: Tensor, whitening: Whitening) -> Tensor:
    """Return the whitened features, float64, of features (..., D)."""
    centred = features.to(whitening.mean.dtype) - whitening.mean
    flat = centred.reshape(-1, centred.shape[-1])
    return torch.linalg.solve_triangular(whitening.factor, flat.T, upper=False).T.reshape(centred.shape)
