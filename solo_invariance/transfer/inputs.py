"""What a probe accepts."""

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
