"""What features are centred and scaled by, in all and in each fold, and their principal axes."""

from typing import NamedTuple

import torch
from torch import Tensor


class Standardisation(NamedTuple):
    """What is taken off features, and what they are divided by, each (D,), float64."""

    mean: Tensor
    scale: Tensor

    def apply(self, features: Tensor) -> Tensor:
        """Return features (N, D), centred and scaled."""
        return (features - self.mean) / self.scale

    def undo(self, slopes: Tensor, intercept: Tensor) -> tuple[Tensor, Tensor]:
        """Return slopes (D, T) and intercept (T,) for features as given, from those for features after ``apply``."""
        slopes = slopes / self.scale[:, None]
        return slopes, intercept - self.mean @ slopes


def standardisation(features: Tensor, unit_deviation: bool) -> Standardisation:
    """Return how to centre features (N, D), and to scale them to a standard deviation of 1 where asked for.

    A feature that is constant up to rounding is divided by infinity, and so left out.
    """
    deviation, mean = torch.std_mean(features, dim=0, correction=0)
    rounding = len(features) * torch.finfo(features.dtype).eps * mean.abs()
    scale = torch.where(deviation > rounding, deviation if unit_deviation else 1.0, torch.inf)
    return Standardisation(mean, scale)


def training_deviations(standardised: Tensor, training: Tensor) -> Tensor:
    """Return the standard deviation of each feature over each fold's training images, (D, F).

    A feature that is constant over them, up to rounding, has 1.

    Args:
        standardised: (N, D), float64, with mean 0 and deviation 1 over all images.
        training: Whether an image is in a fold's training part, (N, F), bool.
    """
    shares = training.to(standardised) / training.sum(0)
    variances = (standardised**2).T @ shares - (standardised.T @ shares) ** 2
    rounding = len(standardised) * torch.finfo(standardised.dtype).eps
    return torch.where(variances > rounding, variances, 1).sqrt()


class PrincipalAxes(NamedTuple):
    """Orthonormal axes (D, R) of centred features (N, D), and the scatter (R,) along each; R is at most D."""

    axes: Tensor
    scatter: Tensor


def principal_axes(centred: Tensor) -> PrincipalAxes:
    """Return the principal axes of centred features (N, D), from the smaller of their two Gram matrices.

    With fewer images than features, axes without scatter are left out.
    """
    count, size = centred.shape
    if count >= size:
        scatter, axes = torch.linalg.eigh(centred.T @ centred)
        return PrincipalAxes(axes, scatter.clamp_min(0))
    scatter, left = torch.linalg.eigh(centred @ centred.T)
    present = scatter > scatter[-1] * count * torch.finfo(centred.dtype).eps
    return PrincipalAxes((centred.T @ left[:, present]) / scatter[present].sqrt(), scatter[present])
