r"""The mathematics of invariance, as pure functions on features.

Source: Ericsson, Gouk & Hospedales (2022), "Why Do Self-Supervised Models Transfer?", section on measuring invariance.
With mean :math:`\mu` and covariance :math:`\Sigma` of a backbone's features on clean reference images, a feature
:math:`f` is whitened to :math:`z = W (f - \mu)` with :math:`W^\top W = \Sigma^{-1}`.
"""

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
    return torch.nn.functional.cosine_similarity(clean[:, None], views, dim=-1)


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


def group_similarity(views: Tensor, *, include_diagonal: bool) -> Tensor:
    """Mean pairwise cosine of a group's views.

    Args:
        views: (G, V, D), whitened, V >= 2 views of each of G things.
        include_diagonal: Count each view's similarity with itself too, as the paper's code does.

    Returns:
        (G,)
    """
    unit = torch.nn.functional.normalize(views, dim=-1)
    return _pairwise_mean(unit @ unit.transpose(1, 2), 1.0, include_diagonal)


def group_distance(views: Tensor, *, include_diagonal: bool) -> Tensor:
    """Mean pairwise Euclidean distance of a group's whitened views; arguments and shapes as ``group_similarity``."""
    distances = torch.cdist(views, views, compute_mode="donot_use_mm_for_euclid_dist")
    return _pairwise_mean(distances, 0.0, include_diagonal)


def _pairwise_mean(pairs: Tensor, diagonal: float, include_diagonal: bool) -> Tensor:
    count = pairs.shape[1]
    if include_diagonal:
        return pairs.mean(dim=(1, 2))
    return (pairs.sum(dim=(1, 2)) - diagonal * count) / (count * (count - 1))


def bootstrap_interval(
    values: Tensor, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean.

    Args:
        values: (N,), one number an image (or group).
        seed: Seeds the resampling; the global random state stays as it was.
        resamples: Number of bootstrap samples.
        level: Coverage, in (0, 1).

    Returns:
        (low, high)
    """
    generator = torch.Generator().manual_seed(seed)
    values = values.double().cpu()
    means = torch.empty(resamples, dtype=torch.float64)
    # In pieces, so that the indices of many images do not fill the memory.
    for piece in torch.arange(resamples).split(max(1, 4_000_000 // len(values))):
        rows = torch.randint(len(values), (len(piece), len(values)), generator=generator)
        means[piece] = values[rows].mean(dim=1)
    tail = (1 - level) / 2
    low, high = torch.quantile(means, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high
