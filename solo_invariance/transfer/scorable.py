"""Whether targets can be scored: asked before any feature is computed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from solo_invariance.errors import UserError
from solo_invariance.regression.cross_validation import assign_folds
from solo_invariance.transfer.kinds import Kind, kind_named
from solo_invariance.transfer.probes.few_shot import require_episodes
from solo_invariance.transfer.probes.inputs import check_labels
from solo_invariance.transfer.probes.nearest_neighbours import possible_neighbours
from solo_invariance.transfer.probes.settings import ProbeSettings

# Beyond, squares and sums of them would leave the range of float64.
_LARGEST, _SMALLEST = 1e100, 1e-100


def require_scorable(train: Tensor, test: Tensor, settings: ProbeSettings, names: Sequence[str] = ()) -> None:
    """Raise UserError where targets allow no fit or no score, whatever the features are.

    Args:
        train: Targets of the training images, (N,) or (N, T).
        test: Targets of the test images, (M,) or (M, T).
        settings: How to probe.
        names: What the targets are called, where they have names, (T,).
    """
    kind = kind_named(settings.kind)
    try:
        if settings.probe == "few_shot":
            require_episodes(test, **vars(settings.few_shot))
            return
        for targets, split in ((train, "training"), (test, "test")):
            _require_targets(targets, split, kind, names)
        fold_of = assign_folds(len(train), settings.folds, settings.seed, at_least=2 if kind.must_vary else 1)
        if settings.probe == "knn":
            possible_neighbours(len(train) - int(fold_of.bincount().max()), settings.knn.k)
    except ValueError as error:
        raise UserError(f"probe={settings.probe}: {error}") from error


def require_targets(targets: Tensor, split: str, kind: str, names: Sequence[str] = ()) -> None:
    """Raise UserError where the targets of a split give nothing to learn.

    Args:
        targets: (N,) or (N, T).
        split: What messages call its images.
        kind: Of the targets.
        names: What the targets are called, where they have names, (T,).
    """
    try:
        _require_targets(targets, split, kind_named(kind), names)
    except ValueError as error:
        raise UserError(f"task: {error}") from error


def _require_targets(targets: Tensor, split: str, kind: Kind, names: Sequence[str]) -> None:
    if kind.must_vary:
        _require_variation(targets.reshape(len(targets), -1).double(), split, names)
    elif kind.name == "multilabel" and not targets.any():
        raise ValueError(f"no {split} image has any of the labels")
    elif kind.has_classes and split == "training":
        check_labels(targets, targets)


def _require_variation(columns: Tensor, split: str, names: Sequence[str]) -> None:
    if not columns.shape[1]:
        raise ValueError("there are no targets")
    largest, spread = columns.abs().amax(0), columns.amax(0) - columns.amin(0)
    # As ``scores.r2_of_targets`` has it.
    rounding = len(columns) * torch.finfo(columns.dtype).eps * largest
    deviation = columns.std(0, correction=0)
    for index in range(columns.shape[1]):
        named = f"target {index + 1} of {columns.shape[1]}" + (f" ({names[index]})" if names else "")
        if not largest[index] <= _LARGEST:
            raise ValueError(f"{named} reaches {float(largest[index]):g}, expected at most {_LARGEST:g}: scale it down")
        if 0 < spread[index] < _SMALLEST:
            raise ValueError(f"{named} varies by {float(spread[index]):g} alone, expected {_SMALLEST:g}: scale it up")
        if deviation[index] <= rounding[index]:
            up_to = ", up to rounding" if spread[index] else ""
            value = float(columns[0, index])
            raise ValueError(f"{named} is {value:g} for all {split} images{up_to}: nothing to predict")
