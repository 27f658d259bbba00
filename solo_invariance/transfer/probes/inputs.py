"""What a probe accepts."""

import torch
from torch import Tensor


def check_features(features: Tensor) -> Tensor:
    """Return features (N, D) in float64.

    Raises:
        ValueError: They have another shape, or a row is not finite; the first is named.
    """
    if features.ndim != 2 or not features.numel():
        raise ValueError(f"features of shape {tuple(features.shape)}, expected (N, D)")
    _check_finite(features, "features")
    return features.double()


def check_targets(targets: Tensor, features: Tensor) -> Tensor:
    """Return targets (N, T) or (N,) as (N, T), float64, on the features' device.

    Raises:
        ValueError: They have another shape, are not as many as the features, or a row is not finite.
    """
    if targets.ndim not in (1, 2):
        raise ValueError(f"targets of shape {tuple(targets.shape)}, expected (N, T) or (N,)")
    columns = targets.reshape(len(targets), -1)
    _check_lengths(features, columns, "targets")
    _check_finite(columns, "targets")
    return columns.to(features)


def check_labels(labels: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the classes (C,), sorted, and the index of each image's class (N,), on the features' device.

    Raises:
        ValueError: The labels (N,) are no integers, are not as many as the features, or are all the same.
    """
    if labels.ndim != 1 or labels.is_floating_point():
        raise ValueError(f"labels of shape {tuple(labels.shape)} and type {labels.dtype}, expected (N,) integers")
    _check_lengths(features, labels, "labels")
    classes, encoded = labels.to(features.device).unique(return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"all {len(labels)} labels are {int(classes[0])}, expected at least two classes")
    return classes, encoded


def _check_lengths(features: Tensor, targets: Tensor, name: str) -> None:
    if len(features) != len(targets):
        raise ValueError(f"{len(features)} rows of features, but {len(targets)} {name}")


def _check_finite(rows: Tensor, name: str) -> None:
    finite = rows.isfinite().all(1)
    if not finite.all():
        raise ValueError(f"{name}: row {int((~finite).nonzero()[0])} is not finite (NaN or inf)")


def check_feature_weights(weights: Tensor, features: Tensor) -> Tensor:
    """Return weights (D,) of features (N, D) in float64, on the features' device.

    Raises:
        ValueError: They are not one for each feature, one is negative or not finite, or all are 0.
    """
    if weights.shape != features.shape[1:]:
        raise ValueError(f"feature_weights of shape {tuple(weights.shape)}, expected ({features.shape[1]},)")
    allowed = weights.isfinite() & (weights >= 0)
    if not allowed.all():
        raise ValueError(f"feature weight {float(weights[~allowed][0])}, expected finite and not negative")
    if not weights.any():
        raise ValueError("all feature weights are 0, expected one above 0 at least")
    return weights.to(features)


def check_multilabel(labels: Tensor, features: Tensor) -> Tensor:
    """Return labels (N, C), bool, on the features' device.

    Raises:
        ValueError: They have another shape or type, are not as many as the features, or none is ever there.
    """
    if labels.ndim != 2 or labels.dtype != torch.bool:
        raise ValueError(f"labels of shape {tuple(labels.shape)} and type {labels.dtype}, expected (N, C) bool")
    _check_lengths(features, labels, "labels")
    if not labels.any():
        raise ValueError("no image has any of the labels")
    return labels.to(features.device)
