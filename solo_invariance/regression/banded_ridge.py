r"""Ridge regression in which each band of features has its own weight, from Gram matrices that serve all weights.

With the bands' features :math:`X_m`, centred, and weights :math:`w_m`, it minimises
:math:`\|Y - \sum_m w_m X_m B_m\|^2 + \lambda \sum_m \|B_m\|^2` (Nunez-Elizalde, Huth & Gallant 2019, "Voxelwise
encoding models with non-spherical multivariate normal priors"): band m has the penalty :math:`\lambda / w_m^2`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from solo_invariance.regression.positive_definite import solve_positive


class BandedRidge(ABC):
    """The regression on some images, which predicts others."""

    @abstractmethod
    def predict(self, weights: Tensor, penalty: float) -> Tensor:
        """Return predictions (M, T) for the others, for the bands' weights (B,)."""


class FewFeatures(BandedRidge):
    """By the Gram matrix of the features.

    Args:
        training: Features, (N, D), centred.
        targets: (N, T), centred.
        others: Features, (M, D), less the mean of those in training.
        widths: Of the bands; their sum is D.
    """

    def __init__(self, training: Tensor, targets: Tensor, others: Tensor, widths: Sequence[int]) -> None:
        self.gram = training.T @ training
        self.cross = training.T @ targets
        self.others = others
        self.widths = torch.tensor(widths, device=training.device)

    def predict(self, weights: Tensor, penalty: float) -> Tensor:
        """Return predictions (M, T) for the others, for the bands' weights (B,)."""
        each = weights.repeat_interleave(self.widths)
        on = each.nonzero()[:, 0]
        each = each[on]
        matrix = self.gram[on[:, None], on] * each.outer(each)
        matrix.diagonal().add_(penalty)
        slopes = solve_positive(matrix, each[:, None] * self.cross[on])
        return self.others[:, on] @ (each[:, None] * slopes)


class FewImages(BandedRidge):
    """By the Gram matrices of the images, one for each band.

    Args:
        training: Features, (N, D), centred.
        targets: (N, T), centred.
        others: Features, (M, D), less the mean of those in training.
        widths: Of the bands; their sum is D.
    """

    def __init__(self, training: Tensor, targets: Tensor, others: Tensor, widths: Sequence[int]) -> None:
        bands = training.split(list(widths), dim=1)
        self.kernels = torch.stack([band @ band.T for band in bands])
        other_bands = others.split(list(widths), dim=1)
        self.to_others = torch.stack([other @ band.T for other, band in zip(other_bands, bands, strict=True)])
        self.targets = targets

    def predict(self, weights: Tensor, penalty: float) -> Tensor:
        """Return predictions (M, T) for the others, for the bands' weights (B,)."""
        matrix = torch.tensordot(weights**2, self.kernels, 1)
        matrix.diagonal().add_(penalty)
        return torch.tensordot(weights**2, self.to_others, 1) @ solve_positive(matrix, self.targets)


def banded_ridge(training: Tensor, targets: Tensor, others: Tensor, widths: Sequence[int]) -> BandedRidge:
    """Return the regression by the smaller Gram matrices.

    Args:
        training: Features, (N, D), centred.
        targets: (N, T), centred.
        others: Features, (M, D), less the mean of those in training.
        widths: Of the bands; their sum is D.
    """
    form = FewImages if len(training) < training.shape[1] else FewFeatures
    return form(training, targets, others, widths)
