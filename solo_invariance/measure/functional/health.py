"""Label-free health of features: how many directions they use, and how fast the variance in these decays."""

import torch
from torch import Tensor

EPSILON = 1e-7
"""Added to each share of RankMe, as its paper does."""

ALPHA_RANGE = (11, 100)
"""First and last of the eigenvalues that alpha-ReQ's line goes through, counted from 1."""

_FEWEST = 10  # points of a line


def rankme(features: Tensor) -> Tensor:
    r"""Effective rank of features: the exponential of the entropy of their normalised singular values.

    .. math:: \exp\Bigl(-\sum_k p_k \log p_k\Bigr), \quad p_k = \frac{\sigma_k}{\sum_j \sigma_j} + 10^{-7}

    over the min(N, D) singular values of the features as they are, not centred. 1 where all features are multiples of
    one, min(N, D) where no direction is longer than another. It grows with the images until these are many times as
    many as features, and is to be compared between runs of one method, on the same images.

    Source: Garrido, Balestriero, Najman & LeCun (2023), "RankMe: Assessing the Downstream Performance of Pretrained
    Self-Supervised Representations by Their Rank", equation 1; by their number of images, 25,600.

    Args:
        features: (N, D), of clean images.

    Returns:
        A number, float64.

    Raises:
        ValueError: There are none, not all are finite, or all are 0.

    Example:
        >>> import torch
        >>> round(rankme(torch.eye(8)).item(), 3), round(rankme(torch.ones(8, 8)).item(), 3)
        (8.0, 1.0)
    """
    return rankme_of_spectrum(torch.linalg.svdvals(_checked(features)))


def rankme_of_spectrum(singular_values: Tensor) -> Tensor:
    """Return RankMe of the singular values (min(N, D),) of features; the largest are not needed first.

    Raises:
        ValueError: All are 0.
    """
    total = singular_values.sum()
    if not total > 0:
        raise ValueError("RankMe of features that are all 0")
    shares = singular_values / total + EPSILON
    return (-(shares * shares.log()).sum()).exp()


def alpha_req(features: Tensor, first: int = ALPHA_RANGE[0], last: int = ALPHA_RANGE[1]) -> Tensor:
    r"""Exponent of the power law by which the eigenvalues of the features' covariance decay, with their index.

    .. math:: \lambda_k \propto k^{-\alpha}

    fitted by least squares to log and log, weighted by 1 / k, over the eigenvalues from ``first`` to ``last``, largest
    first; fewer, where these are all that are above rounding. Near 1 is what the paper associates with transfer; more
    is a collapse to few directions, less is variance that is spread over many.

    Source: Agrawal, Mondal, Ghosh & Richards (2022), "alpha-ReQ: Assessing Representation Quality in Self-Supervised
    Learning by Measuring Eigenspectrum Decay"; the weights are those of Stringer et al. (2019), "High-Dimensional
    Geometry of Population Responses in Visual Cortex", and the range, 11 to 100, that of the authors' library reptrix.

    Args:
        features: (N, D), of clean images; at least 20 directions have to vary for the usual range.
        first: The first eigenvalue of the line, counted from 1.
        last: The last one.

    Returns:
        A number, float64.

    Raises:
        ValueError: Features are not finite, fewer than 10 eigenvalues are in the range, or it begins before 1.

    Example:
        >>> import torch
        >>> basis = torch.linalg.qr(torch.randn(200, 150)).Q
        >>> basis = torch.linalg.qr(basis - basis.mean(dim=0)).Q  # centred, so that its covariance is known
        >>> features = basis * torch.arange(1.0, 151.0) ** -0.75
        >>> round(alpha_req(features).item(), 3)
        1.5
    """
    features = _checked(features)
    mean = features.mean(dim=0)
    eigenvalues = torch.linalg.svdvals(features - mean) ** 2 / len(features)
    return alpha_of_spectrum(eigenvalues, mean, max(features.shape), first, last)


def alpha_of_spectrum(
    eigenvalues: Tensor, mean: Tensor, size: int, first: int = ALPHA_RANGE[0], last: int = ALPHA_RANGE[1]
) -> Tensor:
    """Return alpha-ReQ of the eigenvalues (K,) of a covariance, largest first.

    Eigenvalues are told from the rounding of features in single precision: against the largest, as the numerical rank
    of a matrix is, and against the mean, since features that hardly differ from it are rounded, too.

    Args:
        eigenvalues: All that there are.
        mean: (D,), of the features.
        size: The larger of the numbers of images and features.
        first: The first eigenvalue of the line, counted from 1.
        last: The last one.

    Raises:
        ValueError: Fewer than 10 eigenvalues are in the range, or it begins before 1.
    """
    if first < 1:
        raise ValueError(f"alpha-ReQ from eigenvalue {first}: they are counted from 1")
    rounded = torch.maximum(size**2 * eigenvalues[:1], mean.square().sum()) * torch.finfo(torch.float32).eps ** 2
    rank = int((eigenvalues > rounded).sum())
    last = min(last, rank)
    if last - first + 1 < _FEWEST:
        raise ValueError(
            f"alpha-ReQ of {rank} directions that vary: a line from eigenvalue {first} on needs {first + _FEWEST - 1}"
        )
    index = torch.arange(first, last + 1, dtype=eigenvalues.dtype, device=eigenvalues.device)
    weights, steps = 1 / index, index.log()
    steps = steps - (weights * steps).sum() / weights.sum()
    return -(weights * steps * eigenvalues[first - 1 : last].log()).sum() / (weights * steps**2).sum()


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2 or not len(features):
        raise ValueError(f"expected features (N, D), got {tuple(features.shape)}")
    if not features.isfinite().all():
        raise ValueError("expected features that are finite numbers")
    return features.double()
