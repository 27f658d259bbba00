"""Ridge regression for every penalty and every fold."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from solo_invariance.regression.positive_definite import solve_positive
from solo_invariance.regression.standardise import PrincipalAxes, principal_axes


class RidgePath(NamedTuple):
    r"""The solutions of one ridge regression, as functions of the penalty.

    With centred features :math:`X = U S V^\top` and centred targets :math:`Y`, the slopes at penalty :math:`\lambda`
    are :math:`V (S^2 + \lambda)^{-1} V^\top X^\top Y` (Hastie, Tibshirani & Friedman 2009, "The Elements of Statistical
    Learning", equation 3.47): one decomposition serves every penalty and every target.

    Attributes:
        axes: :math:`V` (D, R), divided by what the features are to be divided by.
        scatter: :math:`S^2`, (R,).
        loads: :math:`V^\top X^\top Y`, (R, T).
        mean: Of the features, (D,).
        target_mean: (T,).
    """

    axes: Tensor
    scatter: Tensor
    loads: Tensor
    mean: Tensor
    target_mean: Tensor

    def predict(self, features: Tensor, penalties: Tensor) -> Tensor:
        """Return predictions (P, N, T) for features (N, D) and penalties (P,)."""
        shrunken = self.loads / (self.scatter[:, None] + penalties[:, None, None])
        # Which product comes first is a matter of how many images, penalties and targets there are.
        wide = torch.linalg.multi_dot([features - self.mean, self.axes, shrunken.transpose(0, 1).flatten(1)])
        return wide.view(len(features), *shrunken.shape[::2]).transpose(0, 1) + self.target_mean

    def solution(self, penalty: float) -> tuple[Tensor, Tensor]:
        """Return the slopes (D, T) and the intercept (T,)."""
        slopes = self.axes @ (self.loads / (self.scatter[:, None] + penalty))
        return slopes, self.target_mean - self.mean @ slopes


class Sums(NamedTuple):
    """Sums over images, which add up to those of their union; a fold's training part is the sum of the other folds."""

    images: int
    features: Tensor
    targets: Tensor
    gram: Tensor
    cross: Tensor

    @classmethod
    def of(cls, features: Tensor, targets: Tensor) -> "Sums":
        """Return the sums over features (N, D) and targets (N, T)."""
        return cls(len(features), features.sum(0), targets.sum(0), features.T @ features, features.T @ targets)


def ridge_paths(features: Tensor, targets: Tensor, held_out: Tensor, deviations: Tensor) -> Iterator[RidgePath]:
    """Yield, for each fold, the ridge regression with an unpenalised intercept on all images but those held out.

    The cost is one pass over the images for all folds and a decomposition of the smaller of D and N for each.

    Args:
        features: (N, D), float64, centred over all images, which keeps sums over them precise.
        targets: (N, T), float64, centred over all images.
        held_out: (N, F), bool; each image is held out exactly once, so F - 1 folds of them and an empty one give the
            fit on all images as well.
        deviations: What to divide each feature by in each fold, (D, F).
    """
    if len(features) < features.shape[1]:
        for fold, deviation in zip(held_out.T, deviations.T, strict=True):
            yield _path_of_images(features[~fold], targets[~fold], deviation)
        return
    for sums, deviation in zip(_sums_of_others(features, targets, held_out), deviations.T, strict=True):
        yield _path_of_sums(sums, deviation)


def ridge_solutions(
    features: Tensor, targets: Tensor, held_out: Tensor, deviations: Tensor, penalty: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for each fold, the slopes (D, T) and intercept (T,) of the ridge regression with one penalty.

    For a single penalty, a Cholesky factor of the smaller of D and N takes a fraction of the time of the decomposition
    that serves all of them.

    Args:
        features: (N, D), float64, centred over all images.
        targets: (N, T), float64, centred over all images.
        held_out: (N, F), bool; each image is held out exactly once.
        deviations: What to divide each feature by in each fold, (D, F).
        penalty: Of the squared norm of the coefficients, above 0.
    """
    if len(features) < features.shape[1]:
        for fold, deviation in zip(held_out.T, deviations.T, strict=True):
            yield _solution_of_images(features[~fold], targets[~fold], deviation, penalty)
        return
    for sums, deviation in zip(_sums_of_others(features, targets, held_out), deviations.T, strict=True):
        mean, target_mean, gram, cross = _centred(sums, deviation)
        gram.diagonal().add_(penalty)
        slopes = solve_positive(gram, cross) / deviation[:, None]
        yield slopes, target_mean - mean @ slopes


def _solution_of_images(features: Tensor, targets: Tensor, deviation: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    mean, target_mean = features.mean(0), targets.mean(0)
    centred = (features - mean) / deviation
    gram = centred @ centred.T
    gram.diagonal().add_(penalty)
    slopes = (centred.T @ solve_positive(gram, targets - target_mean)) / deviation[:, None]
    return slopes, target_mean - mean @ slopes


def _sums_of_others(features: Tensor, targets: Tensor, held_out: Tensor) -> Iterator[Sums]:
    """Yield the sums over the images that each fold does not hold out."""
    left_out = [Sums.of(features[fold], targets[fold]) for fold in held_out.T]
    for index in range(len(left_out)):
        others = left_out[:index] + left_out[index + 1 :]
        yield Sums(*(sum(parts) for parts in zip(*others, strict=True)))


def _path_of_images(features: Tensor, targets: Tensor, deviation: Tensor) -> RidgePath:
    mean, target_mean = features.mean(0), targets.mean(0)
    centred = (features - mean) / deviation
    cross = centred.T @ (targets - target_mean)
    return _path(principal_axes(centred), cross, mean, target_mean, deviation)


def _path_of_sums(sums: Sums, deviation: Tensor) -> RidgePath:
    mean, target_mean, gram, cross = _centred(sums, deviation)
    scatter, axes = torch.linalg.eigh(gram)
    return _path(PrincipalAxes(axes, scatter.clamp_min(0)), cross, mean, target_mean, deviation)


def _centred(sums: Sums, deviation: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the means (D,) and (T,), and the centred and scaled Gram matrix (D, D) and cross products (D, T)."""
    mean, target_mean = sums.features / sums.images, sums.targets / sums.images
    gram = (sums.gram - sums.images * mean.outer(mean)) / deviation.outer(deviation)
    cross = (sums.cross - sums.images * mean.outer(target_mean)) / deviation[:, None]
    return mean, target_mean, gram, cross


def _path(principal: PrincipalAxes, cross: Tensor, mean: Tensor, target_mean: Tensor, deviation: Tensor) -> RidgePath:
    axes, scatter = principal
    return RidgePath(axes / deviation[:, None], scatter, axes.T @ cross, mean, target_mean)
