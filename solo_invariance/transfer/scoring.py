"""Scoring frozen features on a task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from solo_invariance.errors import UserError
from solo_invariance.protocols import protocol_named
from solo_invariance.regression.cross_validation import penalty_grid
from solo_invariance.transfer.chance import chance_level
from solo_invariance.transfer.kinds import Build, kind_named
from solo_invariance.transfer.probes.few_shot import few_shot_episodes
from solo_invariance.transfer.probes.member_weights import choose_member_weights
from solo_invariance.transfer.probes.settings import ProbeSettings
from solo_invariance.transfer.scorable import require_scorable
from solo_invariance.transfer.scores import score_interval

Labelled = tuple[Tensor, Tensor]
"""Features (N, D) with targets (N,) or (N, T)."""


@dataclass(frozen=True)
class TransferScore:
    """A score on the test images.

    Args:
        metric: Its name.
        score: In the metric's unit; higher is better.
        ci95: Its 95 % interval, over test images or over episodes.
        penalty: That was chosen, where there is one.
        details: How the fit came about, as plain data.
        chance: The score of a probe that sees no image.
        arrays: ``predictions`` for the test images, or the ``episodes``' accuracies.
    """

    metric: str
    score: float
    ci95: tuple[float, float]
    penalty: float | None
    details: Mapping[str, Any]
    chance: float
    arrays: Mapping[str, Tensor]


def score_features(
    train: Labelled, test: Labelled, settings: ProbeSettings, device: torch.device | None = None
) -> TransferScore:
    """Fit a probe on the training features, with what it chooses chosen by cross-validation, and score it on the test.

    Args:
        train: Features (N, D) and targets (N,) or (N, T).
        test: Features (M, D) and targets (M,) or (M, T), seen by nothing but the final score.
        settings: How to probe.
        device: Where to; linear and kernel probes need float64 there. The features' by default.

    Raises:
        UserError: The features or targets do not allow it.
    """
    kind = kind_named(settings.kind)
    if settings.metric not in kind.metrics:
        raise UserError(f"metric={settings.metric}: for {kind.name}, expected {' or '.join(kind.metrics)}")
    if settings.probe not in kind.probes:
        raise UserError(f"probe={settings.probe}: for {kind.name}, expected {' or '.join(kind.probes)}")
    build = kind.probes[settings.probe]
    require_scorable(train[1], test[1], settings)
    try:
        if build is None:
            return _few_shot(train, test, settings)
        try:
            return _probe(_on(device, train), _on(device, test), settings, build)
        except torch.OutOfMemoryError:  # of a GPU, which most often has less than the machine
            return _probe(_on(torch.device("cpu"), train), _on(torch.device("cpu"), test), settings, build)
    except ValueError as error:
        raise UserError(f"probe={settings.probe}: {error}") from error


def _on(device: torch.device | None, labelled: Labelled) -> Labelled:
    features, targets = labelled
    return features.to(device), targets.to(device)


def _probe(train: Labelled, test: Labelled, settings: ProbeSettings, build: Build) -> TransferScore:
    weights, chosen = _feature_weights(train, settings)
    probe = build(settings, weights)
    probe.fit(*train)
    predictions = probe.predict(test[0])
    score, interval = score_interval(predictions, test[1], settings.metric, seed=settings.seed)
    details = {**probe.describe(), **chosen}
    penalty, arrays = getattr(probe, "penalty_", None), {"predictions": predictions.cpu()}
    chance = chance_level(train[1], test[1], settings)
    return TransferScore(settings.metric, score, interval, penalty, details, chance, arrays)


def _feature_weights(train: Labelled, settings: ProbeSettings) -> tuple[Tensor | None, dict[str, Any]]:
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
    if settings.scaled and (protocol_named(settings.protocol).unit_deviation or settings.probe == "kernel_ridge"):
        return features.double().std(dim=0), {}  # undoes what the probe would do to their scale
    return None, {}


def _few_shot(train: Labelled, test: Labelled, settings: ProbeSettings) -> TransferScore:
    episodes = few_shot_episodes(*test, **vars(settings.few_shot), seed=settings.seed, mean=train[0].double().mean(0))
    details, arrays = vars(settings.few_shot), {"episodes": episodes.accuracies}
    chance = chance_level(train[1], test[1], settings)
    return TransferScore(settings.score_name, episodes.score, episodes.ci95, None, details, chance, arrays)
