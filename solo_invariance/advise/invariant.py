"""What a linear network would keep of features, were it trained on views in closed form."""

from typing import NamedTuple

import torch
from torch import Tensor

WIDTHS = (32, 64, 128)
"""Outputs of the linear network; scores are averaged over these."""

_MOST_COMPONENTS = 256
_LARGEST = 4.0  # standardised features of untrained networks have tails that no regression survives
_LEAST_DEVIATION = 1e-3
_RIDGE = 0.1


class Components(NamedTuple):
    """Principal components of features, standardised and cut off at four deviations.

    Attributes:
        mean: Of the features, (D,).
        scale: What they are divided by, (D,).
        centre: Of the standardised features, (D,).
        axes: (D, C).
    """

    mean: Tensor
    scale: Tensor
    centre: Tensor
    axes: Tensor

    @classmethod
    def of(cls, features: Tensor) -> "Components":
        """Return the components of features (N, D): as many as there can be, and 256 at most."""
        features = features.double()
        scale = features.std(0)
        scale = scale.clamp_min(_LEAST_DEVIATION * float(scale.max()))
        standard = ((features - features.mean(0)) / scale).clamp(-_LARGEST, _LARGEST)
        centre = standard.mean(0)
        count = min(_MOST_COMPONENTS, len(features) - 1, features.shape[1])
        axes = torch.linalg.svd(standard - centre, full_matrices=False).Vh[:count].T
        return cls(features.mean(0), scale, centre, axes)

    def apply(self, features: Tensor) -> Tensor:
        """Return the components (..., C), float64, of features (..., D)."""
        standard = ((features.double() - self.mean) / self.scale).clamp(-_LARGEST, _LARGEST)
        return (standard - self.centre) @ self.axes


class Variation(NamedTuple):
    """Covariances of views' features.

    Attributes:
        between: Of images, with that of their views taken off, (D, D).
        within: Of the views of an image, (D, D).
    """

    between: Tensor
    within: Tensor

    @classmethod
    def of(cls, views: Tensor) -> "Variation":
        """Return the covariances of views (N, k, D) of N images; of single views, nothing varies within."""
        count, k, width = views.shape
        means = views.mean(1)
        centred = means - means.mean(0)
        between = centred.T @ centred / (count - 1)
        if k == 1:
            return cls(between, views.new_zeros(width, width))
        residual = (views - means[:, None]).flatten(0, 1)
        within = residual.T @ residual / (count * (k - 1))
        return cls(between - within / k, within)

    @property
    def share_within(self) -> float:
        """The part of the variance that views change, in [0, 1]."""
        within, between = float(self.within.trace()), max(0.0, float(self.between.trace()))
        return within / (within + between) if within else 0.0


def invariant_directions(variation: Variation, plain: Tensor) -> Tensor:
    r"""Return the linear features (D, D) that views of an image share, the most shared first.

    They are the generalised eigenvectors of

    .. math:: B v = \mu (B + W + \epsilon I) v

    with the covariances :math:`B` between images and :math:`W` within them: :math:`\mu` is the correlation of a feature
    of one view with the same feature of another one. It is what a linear network learns by contrasting views, or by
    making their outputs agree without a collapse (HaoChen et al. 2021, "Provable Guarantees for Self-Supervised Deep
    Learning with Spectral Contrastive Loss", theorem 4.3; Balestriero and LeCun 2022, "Contrastive and Non-Contrastive
    Self-Supervised Learning Recover Global and Local Spectral Embedding Methods"). Where views are the images
    themselves, :math:`\epsilon` makes principal components of them.

    Args:
        variation: Of the views' features.
        plain: Features of the images themselves (N, D), a tenth of whose mean variance is :math:`\epsilon`.
    """
    ridge = _RIDGE * float(plain.var(0).mean())
    total = variation.between + variation.within + ridge * torch.eye(plain.shape[1], dtype=plain.dtype)
    inverse = torch.linalg.inv(torch.linalg.cholesky(_positive(total)))
    vectors = torch.linalg.eigh(inverse @ variation.between @ inverse.T).eigenvectors
    return inverse.T @ vectors.flip(1)


def _positive(total: Tensor) -> Tensor:
    """Return a covariance that has no eigenvalue below a thousandth of the mean: views taken off may leave some."""
    values, vectors = torch.linalg.eigh(total)
    return (vectors * values.clamp_min(1e-3 * float(values.mean()))) @ vectors.T


def widths_of(num_components: int) -> tuple[int, ...]:
    """Return the widths that features of so many components can have; all of these where there are fewer than 32.

    Example:
        >>> widths_of(256), widths_of(100), widths_of(20)
        ((32, 64, 128), (32, 64), (20,))
    """
    return tuple(width for width in WIDTHS if width <= num_components) or (num_components,)
