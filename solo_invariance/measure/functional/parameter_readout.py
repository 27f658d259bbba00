"""How well a transform's parameters are read out of features."""

from typing import NamedTuple

import torch
from torch import Tensor

from solo_invariance.regression.cross_validation import assign_folds, choose_penalty, penalty_grid
from solo_invariance.regression.ridge_path import ridge_paths
from solo_invariance.regression.standardise import standardisation

HALVES = 2


_FOLDS = 3


def parameter_readout_terms(clean: Tensor, views: Tensor, coordinates: Tensor, images: Tensor, seed: int = 0) -> Tensor:
    r"""Squared errors of a linear read-out of the transform's parameters from clean and view features, held out.

    .. math:: \hat y(x, p) = A z(x) + B z(T_p x) + b, \quad
        e(x) = \sum_{p, t} \frac{(y_t(p) - \hat y_t(x, p))^2}{\sigma_t^2}, \quad
        v(x) = \sum_{p, t} \frac{(y_t(p) - \bar y_t)^2}{\sigma_t^2}

    so that :math:`1 - \sum_x e(x) / \sum_x v(x)` is the R^2 of targets that all weigh the same. Each half of the images
    is predicted by a ridge regression on the other half, whose mean :math:`\bar y` is (cross-fitting: Chernozhukov et
    al. 2018, "Double/debiased machine learning for treatment and structural parameters", definition 3.1). Its penalty
    is chosen by cross-validation over images of that half. Rows of one image are never on both sides. Features are
    centred and divided by one number, so that turning feature space changes nothing.

    Args:
        clean: (N, D), whitened.
        views: (N, K, D), whitened.
        coordinates: The parameters of the views' transform, (N, K, C). Those that never vary are left out.
        images: Ids, (N,); rows of one id are one image.
        seed: Of the halves and folds. Neither depends on the rows' order.

    Returns:
        (N, 2), float64: :math:`e` and :math:`v`.

    Raises:
        ValueError: The shapes do not fit, numbers are not finite (an image is named), there are fewer than four images,
            or no coordinate varies.

    Example:
        >>> import torch
        >>> draw = torch.Generator().manual_seed(0)
        >>> angles = torch.rand(20, 3, 1, generator=draw)
        >>> clean = torch.randn(20, 5, generator=draw)
        >>> views = clean[:, None] + angles * torch.ones(5)
        >>> errors, deviations = parameter_readout_terms(clean, views, angles, torch.arange(20)).sum(dim=0)
        >>> bool(1 - errors / deviations > 0.999)
        True
    """
    check_pairs(clean, views, coordinates, images)
    _, image = images.to(clean.device).unique(return_inverse=True)
    count = int(image.max()) + 1
    if count < 2 * HALVES:
        raise ValueError(f"the parameter read-out needs at least {2 * HALVES} images, two in each half, got {count}")
    order = image.argsort(stable=True)  # so that sums, too, are rounded the same whatever the order of the rows
    features = torch.cat([clean[:, None].expand_as(views), views], dim=-1)[order].double()
    targets, image = equal_coordinates(coordinates.to(clean.device)[order]), image[order]
    half = assign_folds(count, HALVES, seed).to(clean.device)[image]
    terms = features.new_empty(len(features), 2)
    for held_out in (half[:, None] == torch.arange(HALVES, device=half.device)).T:
        read_out = ridge_over_images(features[~held_out], targets[~held_out], image[~held_out], seed)
        terms[held_out] = read_out.terms(features[held_out], targets[held_out])
    return terms[order.argsort()]


def check_pairs(clean: Tensor, views: Tensor, coordinates: Tensor, images: Tensor) -> None:
    """Raise ValueError where shapes are not (N, D), (N, K, D), (N, K, C) and (N,), or numbers are not finite."""
    if clean.ndim != 2 or views.ndim != 3 or views.shape[::2] != clean.shape:
        raise ValueError(f"expected clean (N, D) and views (N, K, D), got {tuple(clean.shape)}, {tuple(views.shape)}")
    if coordinates.ndim != 3 or coordinates.shape[:2] != views.shape[:2] or images.shape != clean.shape[:1]:
        raise ValueError(
            f"expected coordinates (N, K, C) and images (N,) for views {tuple(views.shape)}, "
            f"got {tuple(coordinates.shape)}, {tuple(images.shape)}"
        )
    for name, rows in {"clean feature": clean, "views": views, "coordinates": coordinates}.items():
        finite = rows.flatten(1).isfinite().all(dim=1).to(images.device)
        if not finite.all():
            raise ValueError(f"image {int(images[~finite][0])}: {name} not finite (NaN or inf)")


class LinearMap(NamedTuple):
    """A linear map of features (D,) to targets (T,), and the targets' mean on the images that it was fitted to."""

    slopes: Tensor
    intercept: Tensor
    target_mean: Tensor

    def terms(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return squared errors and deviations, summed over views and targets, (N, 2), of (N, K, D) and (N, K, T)."""
        errors = targets - features @ self.slopes - self.intercept
        deviations = targets - self.target_mean
        return torch.stack([(terms**2).sum(dim=(1, 2)) for terms in (errors, deviations)], dim=1)


def equal_coordinates(coordinates: Tensor) -> Tensor:
    """Return coordinates (N, K, C), each with variance 1, in float64; one that is constant is 0 throughout."""
    flat = coordinates.double().flatten(0, 1)
    transform = standardisation(flat, unit_deviation=True)
    if transform.scale.isinf().all():
        raise ValueError(f"no coordinate of the views' {flat.shape[1]} varies: there is nothing to read out")
    return transform.apply(flat).reshape(coordinates.shape)


def ridge_over_images(features: Tensor, targets: Tensor, image: Tensor, seed: int) -> LinearMap:
    """Fit targets (N, K, T) to features (N, K, D), with images (N,) in one fold each to choose the penalty by."""
    held_out = _folds_of_images(image, seed).repeat_interleave(features.shape[1], dim=0)
    features, targets = features.flatten(0, 1), targets.flatten(0, 1)
    transform, target_mean = standardisation(features, unit_deviation=False), targets.mean(dim=0)
    features, targets = transform.apply(features), targets - target_mean
    deviation = (features**2).mean().sqrt()
    deviations = torch.where(deviation > 0, deviation, 1).expand(features.shape[1], held_out.shape[1])
    *paths, whole = ridge_paths(features, targets, held_out, deviations)
    penalties = penalty_grid().to(features)
    residuals = [
        path.predict(features[fold], penalties) - targets[fold]
        for path, fold in zip(paths, held_out.T[:-1], strict=True)
    ]
    errors = (torch.cat(residuals, dim=1) ** 2).sum(dim=(1, 2))
    penalty = float(penalties[choose_penalty(penalties, -errors, "clean")])
    slopes, intercept = transform.undo(*whole.solution(penalty))
    return LinearMap(slopes, intercept + target_mean, target_mean)


def _folds_of_images(image: Tensor, seed: int) -> Tensor:
    """Return which rows each fold holds out, and last none, (N, F), bool; rows of one image are in one fold."""
    distinct, which = image.unique(return_inverse=True)
    folds = min(_FOLDS, len(distinct))
    fold_of = assign_folds(len(distinct), folds, seed).to(image.device)[which]
    return fold_of[:, None] == torch.arange(folds + 1, device=image.device)
