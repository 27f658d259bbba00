"""The three kinds of target, and what suits each: probes, metrics, and how ridge regression stands in for them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from torch import Tensor
from torch.nn.functional import one_hot

from solo_invariance.regression.cross_validation import penalty_grid
from solo_invariance.transfer.probes import (
    KernelRidgeProbe,
    KNNProbe,
    LogisticProbe,
    MultiLabelProbe,
    OfficialLogisticProbe,
    RidgeProbe,
)
from solo_invariance.transfer.probes.inputs import check_labels, check_multilabel, check_targets
from solo_invariance.transfer.probes.settings import ProbeSettings
from solo_invariance.transfer.scores import CLASS_METRICS, Metric, MetricName, accuracy, mean_average_precision, r2

KindName = Literal["classification", "multilabel", "regression"]
Probe = RidgeProbe | LogisticProbe | OfficialLogisticProbe | MultiLabelProbe | KernelRidgeProbe | KNNProbe
Build = Callable[[ProbeSettings, Tensor | None], Probe]
"""Makes a probe, with weights (D,) of its features or none."""


class Columns(NamedTuple):
    """What ridge regression predicts in place of targets.

    Attributes:
        truth: The targets, checked.
        columns: Numbers that stand for them, (N, T), float64.
    """

    truth: Tensor
    columns: Tensor


class RidgeScore(NamedTuple):
    """How predicted columns (N, T) are scored against the truth.

    Attributes:
        name: What results call the score.
        function: Of predicted columns, truth and weights (..., N).
    """

    name: MetricName
    function: Metric


@dataclass(frozen=True)
class Kind:
    """What a task's targets are, and all that follows from it.

    Args:
        name: What ``Task.kind`` says.
        probes: How to build each probe that suits, by its name, the usual one first; None for few-shot episodes, which
            fit nothing.
        metrics: Names of the scores that suit.
        usual_metric: The score of a task that does not say another.
        has_classes: Whether each image has one class, so that folds can be stratified.
        must_vary: Whether a target that is the same for all images cannot be scored.
        as_columns: Returns what ridge regression predicts, of targets and features (N, D).
        weighting: What chooses the weights of a fusion's members, by ridge regression.
        selection: What chooses the members of a fusion, by ridge regression.
    """

    name: KindName
    probes: Mapping[str, Build | None]
    metrics: tuple[MetricName, ...]
    usual_metric: MetricName
    has_classes: bool
    must_vary: bool
    as_columns: Callable[[Tensor, Tensor], Columns]
    weighting: RidgeScore
    selection: RidgeScore

    @property
    def usual_probe(self) -> str:
        """The probe of a task that does not say another."""
        return next(iter(self.probes))

    @property
    def selection_metric(self) -> MetricName:
        """The name of the score that chooses the members of a fusion."""
        return self.selection.name


def kind_named(name: str) -> Kind:
    """Return a kind by its name.

    Raises:
        ValueError: There is none of that name.

    Example:
        >>> kind_named("multilabel").usual_metric
        'mean_average_precision'
        >>> list(kind_named("regression").probes)
        ['ridge', 'kernel_ridge']
    """
    for known in get_args(KindName):
        if name == known:
            return KINDS[known]
    raise ValueError(f"kind={name!r}, expected classification, multilabel or regression")


def _ridge(settings: ProbeSettings, weights: Tensor | None) -> RidgeProbe:
    return RidgeProbe(**_linear(settings, weights))


def _logistic(settings: ProbeSettings, weights: Tensor | None) -> LogisticProbe | OfficialLogisticProbe:
    if settings.solver == "official":
        return OfficialLogisticProbe(**_linear(settings, weights), metric=settings.metric)
    return LogisticProbe(**_linear(settings, weights), metric=settings.metric)


def _multilabel(settings: ProbeSettings, weights: Tensor | None) -> MultiLabelProbe:
    return MultiLabelProbe(**_linear(settings, weights))


def _kernel_ridge(settings: ProbeSettings, weights: Tensor | None) -> KernelRidgeProbe:
    return KernelRidgeProbe(**_common(settings, weights))


def _nearest_neighbours(settings: ProbeSettings, weights: Tensor | None) -> KNNProbe:
    """Return the probe, which takes features as they are: there are no weights."""
    return KNNProbe(settings.knn.k, settings.knn.temperature, settings.folds, settings.seed, settings.metric)


def _linear(settings: ProbeSettings, weights: Tensor | None) -> dict[str, Any]:
    return {**_common(settings, weights), "penalties": penalty_grid(settings.num_members, settings.protocol)}


def _common(settings: ProbeSettings, weights: Tensor | None) -> dict[str, Any]:
    return {
        "folds": settings.folds,
        "protocol": settings.protocol,
        "seed": settings.seed,
        "feature_weights": weights,
    }


def _indicators(targets: Tensor, features: Tensor) -> Columns:
    encoded = check_labels(targets, features)[1]
    return Columns(encoded, one_hot(encoded).to(features))


def _signs(targets: Tensor, features: Tensor) -> Columns:
    labels = check_multilabel(targets, features)
    return Columns(labels, 2 * labels.to(features) - 1)


def _numbers(targets: Tensor, features: Tensor) -> Columns:
    columns = check_targets(targets, features)
    return Columns(columns, columns)


def _accuracy_of_largest(predictions: Tensor, truth: Tensor, weights: Tensor | None) -> Tensor:
    return accuracy(predictions.argmax(1), truth, weights)


def _r2_of_indicators(predictions: Tensor, truth: Tensor, weights: Tensor | None) -> Tensor:
    return r2(predictions, one_hot(truth).to(predictions), weights)


CLASSIFICATION = Kind(
    name="classification",
    probes={"logistic": _logistic, "knn": _nearest_neighbours, "few_shot": None},
    metrics=CLASS_METRICS,
    usual_metric="accuracy",
    has_classes=True,
    must_vary=False,
    as_columns=_indicators,
    # Accuracy jumps from image to image, and the best of many trials of weights would be the luckiest one.
    weighting=RidgeScore("r2", _r2_of_indicators),
    selection=RidgeScore("accuracy", _accuracy_of_largest),
)

MULTILABEL = Kind(
    name="multilabel",
    probes={"logistic": _multilabel},
    metrics=("mean_average_precision",),
    usual_metric="mean_average_precision",
    has_classes=False,
    must_vary=False,
    as_columns=_signs,
    weighting=RidgeScore("mean_average_precision", mean_average_precision),
    selection=RidgeScore("mean_average_precision", mean_average_precision),
)

REGRESSION = Kind(
    name="regression",
    probes={"ridge": _ridge, "kernel_ridge": _kernel_ridge},
    metrics=("r2",),
    usual_metric="r2",
    has_classes=False,
    must_vary=True,
    as_columns=_numbers,
    weighting=RidgeScore("r2", r2),
    selection=RidgeScore("r2", r2),
)

KINDS: Mapping[KindName, Kind] = {kind.name: kind for kind in (CLASSIFICATION, MULTILABEL, REGRESSION)}
