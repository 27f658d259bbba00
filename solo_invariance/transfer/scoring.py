"""Scoring frozen features on a task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from solo_invariance.config.transfer import FewShotConfig, KNNConfig
from solo_invariance.errors import UserError
from solo_invariance.regression.cross_validation import Protocol, penalty_grid
from solo_invariance.transfer.probes.few_shot import few_shot_episodes
from solo_invariance.transfer.probes.kernel_ridge import KernelRidgeProbe
from solo_invariance.transfer.probes.logistic import LogisticProbe
from solo_invariance.transfer.probes.member_weights import choose_member_weights
from solo_invariance.transfer.probes.multilabel import MultiLabelProbe
from solo_invariance.transfer.probes.nearest_neighbours import KNNProbe
from solo_invariance.transfer.probes.ridge import RidgeProbe
from solo_invariance.transfer.scores import score_interval
from solo_invariance.transfer.tasks import Kind

ProbeKind = Literal["ridge", "logistic", "kernel_ridge", "knn", "few_shot"]
Probe = RidgeProbe | LogisticProbe | MultiLabelProbe | KernelRidgeProbe | KNNProbe
Labelled = tuple[Tensor, Tensor]
"""Features (N, D) with targets (N,) or (N, T)."""

METRICS: Mapping[Kind, tuple[str, ...]] = {
    "classification": ("accuracy", "mean_per_class_accuracy"),
    "multilabel": ("mean_average_precision",),
    "regression": ("r2",),
}


@dataclass(frozen=True)
class TransferSettings:
    """How to probe.

    Args:
        probe: What is trained on the features.
        kind: Of the task.
        metric: The score's name.
        protocol: ``paper`` keeps its quirks, ``clean`` repairs them; see the probes.
        folds: Of the cross-validation that chooses the penalty.
        num_members: Of a fusion; each further one shifts the grid of penalties.
        scaled: Whether the scale of features means something: linear probes then centre them only.
        open_widths: Of the members of a fusion, where each one's weight is chosen by cross-validation, by ridge
            regression; nearest neighbours and episodes take all members alike.
        knn: For that probe.
        few_shot: For that probe.
        seed: Of the folds, of the episodes and of the bootstrap.
    """

    probe: ProbeKind
    kind: Kind
    metric: str
    protocol: Protocol = "clean"
    folds: int = 5
    num_members: int = 1
    scaled: bool = False
    open_widths: Sequence[int] | None = None
    knn: KNNConfig = field(default_factory=KNNConfig)
    few_shot: FewShotConfig = field(default_factory=FewShotConfig)
    seed: int = 0


@dataclass(frozen=True)
class TransferScore:
    """A score on the test images.

    Args:
        metric: Its name.
        score: See there.
        ci95: Its 95 % interval, by the bootstrap over test images or over episodes.
        penalty: That was chosen, where there is one.
        details: How the fit came about, as plain data.
        arrays: ``predictions`` for the test images, or the ``episodes``' accuracies.
    """

    metric: str
    score: float
    ci95: tuple[float, float]
    penalty: float | None
    details: Mapping[str, Any]
    arrays: Mapping[str, Tensor]


def score_features(
    train: Labelled, test: Labelled, settings: TransferSettings, device: torch.device | None = None
) -> TransferScore:
    """Fit a probe on the training features, with what it chooses chosen by cross-validation, and score it on the test.

    Args:
        train: Features (N, D) and targets (N,) or (N, T).
        test: Likewise; seen by nothing but the final score.
        settings: How to probe.
        device: Where to; linear and kernel probes need float64 there. The features' by default.

    Raises:
        UserError: The features or targets do not allow it.
    """
    if settings.metric not in METRICS[settings.kind]:
        allowed = " or ".join(METRICS[settings.kind])
        raise UserError(f"metric={settings.metric}: for {settings.kind}, expected {allowed}")
    try:
        if settings.probe == "few_shot":
            return _few_shot(train, test, settings)
        try:
            return _probe(_on(device, train), _on(device, test), settings)
        except torch.OutOfMemoryError:  # of a GPU, which most often has less than the machine
            return _probe(_on(torch.device("cpu"), train), _on(torch.device("cpu"), test), settings)
    except ValueError as error:
        raise UserError(f"probe={settings.probe}: {error}") from error


def _require_variation(targets: Tensor, split: str) -> None:
    columns = targets.reshape(len(targets), -1)
    constant = (columns == columns[0]).all(dim=0)
    if constant.any():
        index = int(constant.int().argmax())
        value = float(columns[0, index])
        raise ValueError(
            f"target {index + 1} of {columns.shape[1]} is {value:g} for all {split} images: nothing to predict"
        )


def _on(device: torch.device | None, labelled: Labelled) -> Labelled:
    features, targets = labelled
    return features.to(device), targets.to(device)


def _probe(train: Labelled, test: Labelled, settings: TransferSettings) -> TransferScore:
    if settings.kind == "regression":
        _require_variation(train[1], "training")
        _require_variation(test[1], "test")
    weights, chosen = _feature_weights(train, settings)
    probe = _build(settings, weights)
    probe.fit(*train)
    predictions = probe.predict(test[0])
    score, interval = score_interval(predictions, test[1], settings.metric, seed=settings.seed)
    details = {**probe.describe(), **chosen}
    return TransferScore(
        settings.metric, score, interval, getattr(probe, "penalty_", None), details, {"predictions": predictions.cpu()}
    )


def _build(settings: TransferSettings, weights: Tensor | None) -> Probe:
    common: dict[str, Any] = {"folds": settings.folds, "protocol": settings.protocol, "seed": settings.seed}
    if settings.probe == "knn":
        return KNNProbe(settings.knn.k, settings.knn.temperature, settings.folds, settings.seed, settings.metric)
    if settings.probe == "kernel_ridge":
        return KernelRidgeProbe(**common, feature_weights=weights)
    linear = {**common, "penalties": penalty_grid(settings.num_members, settings.protocol), "feature_weights": weights}
    if settings.probe == "ridge":
        return RidgeProbe(**linear)
    if settings.kind == "multilabel":
        return MultiLabelProbe(**linear)
    return LogisticProbe(**linear, metric=settings.metric)


def _feature_weights(train: Labelled, settings: TransferSettings) -> tuple[Tensor | None, dict[str, Any]]:
    """Return what standardised features (D,) are multiplied by, and what was chosen on the way."""
    features, targets = train
    if settings.probe == "knn":
        return None, {}  # takes features as they are
    if settings.open_widths is not None:
        found = choose_member_weights(
            features.split(list(settings.open_widths), dim=1),
            targets,
            settings.kind,
            folds=settings.folds,
            protocol=settings.protocol,
            seed=settings.seed,
            penalties=penalty_grid(settings.num_members, settings.protocol),
        )
        return found.feature_weights, {"member_weights": found.weights.tolist()}
    if settings.scaled and (settings.protocol == "clean" or settings.probe == "kernel_ridge"):
        return features.double().std(dim=0), {}  # undoes what the probe would do to their scale
    return None, {}


def _few_shot(train: Labelled, test: Labelled, settings: TransferSettings) -> TransferScore:
    episodes = few_shot_episodes(*test, **vars(settings.few_shot), seed=settings.seed, mean=train[0].double().mean(0))
    name = f"{settings.few_shot.ways}_way_{settings.few_shot.shots}_shot_accuracy"
    return TransferScore(
        name, episodes.score, episodes.ci95, None, vars(settings.few_shot), {"episodes": episodes.accuracies}
    )
