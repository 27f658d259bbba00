"""Scoring frozen features on a task."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from solo_invariance.errors import UserError
from solo_invariance.transfer.probes import LogisticProbe, RidgeProbe
from solo_invariance.transfer.scores import score_interval
from solo_invariance.transfer.selection import penalty_grid

ProbeKind = Literal["ridge", "logistic"]


@dataclass(frozen=True)
class TransferSettings:
    """How to probe.

    Args:
        probe: ``ridge`` for numbers, ``logistic`` for classes.
        metric: The score's name: ``r2``, ``accuracy`` or ``mean_per_class_accuracy``.
        protocol: ``paper`` keeps its quirks, ``clean`` repairs them; see the probes.
        folds: Of the cross-validation that chooses the penalty.
        num_members: Of a fusion; each further one shifts the grid of penalties.
        seed: Of the folds and of the bootstrap.
    """

    probe: ProbeKind
    metric: str
    protocol: Literal["paper", "clean"] = "clean"
    folds: int = 5
    num_members: int = 1
    seed: int = 0


@dataclass(frozen=True)
class TransferScore:
    """A score on the test images, its 95 % interval (bootstrap over test images), and the penalty that was chosen."""

    score: float
    ci95: tuple[float, float]
    penalty: float
    predictions: Tensor


def score_features(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], settings: TransferSettings
) -> TransferScore:
    """Fit a probe on the training features, with its penalty chosen by cross-validation, and score it on the test.

    Args:
        train: Features (N, D) and targets (N,) or (N, T).
        test: Likewise; seen by nothing but the final score.
        settings: How to probe.

    Raises:
        UserError: The features or targets do not allow it.
    """
    grid = penalty_grid(settings.num_members, settings.protocol)
    probe: RidgeProbe | LogisticProbe
    if settings.probe == "ridge":
        probe = RidgeProbe(grid, folds=settings.folds, protocol=settings.protocol, seed=settings.seed)
    else:
        probe = LogisticProbe(
            grid, folds=settings.folds, protocol=settings.protocol, seed=settings.seed, metric=settings.metric
        )
    try:
        probe.fit(*train)
    except ValueError as error:
        raise UserError(f"probe={settings.probe}: {error}") from error
    predictions = probe.predict(test[0])
    score, interval = score_interval(predictions, test[1], settings.metric, seed=settings.seed)
    return TransferScore(score, interval, probe.penalty_, predictions)
