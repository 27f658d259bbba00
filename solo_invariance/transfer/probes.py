"""Linear probes of frozen features, with the penalty chosen by cross-validation."""

import warnings
from typing import TypeVar

import torch
from torch import Tensor

from solo_invariance.transfer.inputs import check_features, check_labels, check_targets
from solo_invariance.transfer.logistic_path import Design, LogisticObjective, Solution, logistic_path, minimise
from solo_invariance.transfer.ridge_path import RidgePath, ridge_paths
from solo_invariance.transfer.scores import metric_named, r2
from solo_invariance.transfer.selection import (
    Protocol,
    assign_folds,
    check_penalties,
    check_protocol,
    choose_penalty,
    penalty_grid,
)
from solo_invariance.transfer.standardise import standardisation, training_deviations

# Coefficients within one percent settle which classes are predicted, and that is all that cross-validation asks.
_SELECTION_TOLERANCE = 1e-2

Number = TypeVar("Number", float, Tensor)


class RidgeProbe:
    r"""Linear regression of one or more targets, penalised by the squared norm of the coefficients.

    It minimises :math:`\|Y - X W - b\|^2 + \lambda \|W\|^2`, with the intercept :math:`b` not penalised, at the
    penalty whose R^2, averaged over targets and folds, is highest in cross-validation; then on all images.

    ``clean``: features are standardised by the mean and deviation of the images that a fit sees, those in training
    alone; :math:`\lambda` is the penalty. ``paper`` (Ericsson et al. 2022, official code): features are taken as they
    are, and by a quirk :math:`\lambda` is one over the penalty. Both shuffle the images into folds with the seed,
    where the official code draws new folds for every penalty. All is computed in float64 on the features' device.

    Args:
        penalties: To choose from, (P,); ``penalty_grid()`` where left out.
        folds: Of the cross-validation, each of two images at least.
        protocol: ``clean`` or ``paper``.
        seed: Of the folds.

    Attributes:
        penalties_: Those that were tried, (P,).
        cv_scores_: R^2 of each, averaged over the folds, (P,).
        penalty_: The chosen one.
        coef_: For features as given, (D, T), float64.
        intercept_: (T,), float64.
    """

    penalties_: Tensor
    cv_scores_: Tensor
    penalty_: float
    coef_: Tensor
    intercept_: Tensor

    def __init__(
        self, penalties: Tensor | None = None, folds: int = 5, protocol: Protocol = "clean", seed: int = 0
    ) -> None:
        self.penalties = penalties
        self.folds = folds
        self.protocol = protocol
        self.seed = seed

    @torch.no_grad()
    def fit(self, features: Tensor, targets: Tensor) -> "RidgeProbe":
        """Choose the penalty and fit; return the probe.

        Args:
            features: (N, D).
            targets: (N, T), or (N,) for one.

        Raises:
            ValueError: Shapes do not fit, a row is not finite (the first is named), or there are too many folds.
        """
        grid = _check_settings(self.protocol, self.penalties)
        features = check_features(features)
        columns = check_targets(targets, features)
        self.penalties_ = grid.to(features.device)
        transform = standardisation(features, unit_deviation=self.protocol == "clean")
        target_transform = standardisation(columns, unit_deviation=False)
        path = self._select(transform.apply(features), target_transform.apply(columns))
        self.coef_, intercept = transform.undo(*path.solution(self._strength(self.penalty_)))
        self.intercept_ = intercept + target_transform.mean
        self._one_target = targets.ndim == 1
        return self

    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """Return predictions (N, T), or (N,) where the targets were so, float64, for features (N, D).

        Raises:
            ValueError: Features are not as wide as in training, or a row is not finite.
        """
        predictions = _linear(self, features)
        return predictions[:, 0] if self._one_target else predictions

    def score(self, features: Tensor, targets: Tensor) -> float:
        """Return R^2, averaged over targets, on features (N, D) and targets (N, T) or (N,)."""
        return float(r2(self.predict(features), targets))

    def _select(self, features: Tensor, targets: Tensor) -> RidgePath:
        """Score every penalty on all folds and choose; return the fit on all images."""
        fold_of = assign_folds(len(features), self.folds, self.seed, at_least=2).to(features.device)
        held_out = _held_out(fold_of, self.folds)
        *paths, whole = ridge_paths(features, targets, held_out, _deviations(features, held_out, self.protocol))
        strengths = self._strength(self.penalties_)
        scores = [
            r2(path.predict(features[fold], strengths), targets[fold])
            for path, fold in zip(paths, held_out.T, strict=False)
        ]
        self.cv_scores_ = torch.stack(scores).mean(0)
        chosen = choose_penalty(self.penalties_, self.cv_scores_, self.protocol)
        self.penalty_ = float(self.penalties_[chosen])
        return whole

    def _strength(self, penalty: Number) -> Number:
        return 1 / penalty if self.protocol == "paper" else penalty


class LogisticProbe:
    r"""Multinomial logistic regression, penalised by the squared norm of the coefficients.

    It minimises :math:`\sum_i \mathrm{CE}_i + \frac{\lambda}{2} \|W\|^2`, with the intercept not penalised, at the
    penalty :math:`\lambda` whose score, averaged over the folds, is best in cross-validation; then on all images.
    (scikit-learn's ``C`` is one over the penalty, except for two classes, where it has one column of coefficients
    instead of two and ``C`` is two over the penalty.)

    ``clean``: features are standardised by the deviation of the images that a fit sees, those in training alone, and
    folds are stratified by class. ``paper`` (Ericsson et al. 2022, official code): features are taken as they are, and
    folds ignore the classes. Both shuffle the images into folds with the seed. The official code draws new folds for
    every penalty and starts each fit from the fold before, whose training images include those held out now; that
    leak is not repeated here.

    Args:
        penalties: To choose from, (P,); ``penalty_grid()`` where left out.
        folds: Of the cross-validation.
        protocol: ``clean`` or ``paper``.
        seed: Of the folds.
        metric: ``accuracy`` or ``mean_per_class_accuracy``.
        max_iter: Newton steps for each penalty.
        tol: The ``gradient_norm_`` to reach. In cross-validation 0.01 is enough, as only predicted classes count.

    Attributes:
        classes_: The labels, sorted, (C,).
        penalties_: Those that were tried, (P,).
        cv_scores_: Of each, averaged over the folds, (P,).
        penalty_: The chosen one.
        coef_: For features as given, (D, C), float64.
        intercept_: (C,), float64; its mean is 0, as only differences matter.
        gradient_norm_: Of the objective, relative to the norm of the penalty's part of it. It bounds the relative error
            of the coefficients (of standardised features in ``clean``).
        cv_gradient_norm_: The largest in cross-validation.
        converged_: Whether all gradient norms are within their tolerances.
    """

    classes_: Tensor
    penalties_: Tensor
    cv_scores_: Tensor
    penalty_: float
    coef_: Tensor
    intercept_: Tensor
    gradient_norm_: float
    cv_gradient_norm_: float
    converged_: bool

    def __init__(
        self,
        penalties: Tensor | None = None,
        folds: int = 5,
        protocol: Protocol = "clean",
        seed: int = 0,
        metric: str = "accuracy",
        max_iter: int = 100,
        tol: float = 1e-4,
    ) -> None:
        self.penalties = penalties
        self.folds = folds
        self.protocol = protocol
        self.seed = seed
        self.metric = metric
        self.max_iter = max_iter
        self.tol = tol

    @torch.no_grad()
    def fit(self, features: Tensor, labels: Tensor) -> "LogisticProbe":
        """Choose the penalty and fit; return the probe, and warn where a fit has not converged.

        Args:
            features: (N, D).
            labels: (N,), integers.

        Raises:
            ValueError: Shapes do not fit, a row is not finite (the first is named), there are too many folds, or
                fewer than two classes.
        """
        if self.metric == "r2":
            raise ValueError("metric='r2' is for RidgeProbe, expected accuracy or mean_per_class_accuracy")
        grid = _check_settings(self.protocol, self.penalties)
        features = check_features(features)
        self.classes_, encoded = check_labels(labels, features)
        self.penalties_ = grid.to(features.device)
        transform = standardisation(features, unit_deviation=self.protocol == "clean")
        design = Design.of(transform.apply(features))
        solution = self._refit(design, encoded, self._select(design, encoded))
        coefficients = solution.point.coefficients[:, 0]
        self.coef_, intercept = transform.undo(coefficients[:-1], coefficients[-1])
        self.intercept_ = intercept - intercept.mean()
        self.gradient_norm_ = float(solution.gradient_norm)
        self._check_converged()
        return self

    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """Return the most probable class (N,) for features (N, D).

        Raises:
            ValueError: Features are not as wide as in training, or a row is not finite.
        """
        scores = _linear(self, features)
        return self.classes_[scores.argmax(1)]

    def score(self, features: Tensor, labels: Tensor) -> float:
        """Return the metric on features (N, D) and labels (N,)."""
        return float(metric_named(self.metric)(self.predict(features), labels, None))

    def _select(self, design: Design, labels: Tensor) -> Tensor:
        """Score every penalty on all folds together and choose; return the coefficients of a first fit on all images.

        That fit is one more fold, of which nothing is held out.
        """
        fold_of = assign_folds(len(labels), self.folds, self.seed, labels if self.protocol == "clean" else None)
        held_out = _held_out(fold_of.to(labels.device), self.folds)
        weights = _deviations(design.exact[:, :-1], held_out, self.protocol) ** 2
        objective = LogisticObjective(design, labels, ~held_out, weights)
        descending, order = self.penalties_.sort(descending=True)
        scores, norms, fits = [], [], []
        for solution in logistic_path(objective, descending, self._selection_tol, self.max_iter):
            predicted = solution.point.logits[held_out].argmax(1)
            scores.append(self._score_folds(predicted, labels, held_out))
            norms.append(solution.gradient_norm.max())
            fits.append(solution.point.coefficients[:, -1:].clone())
        chosen = choose_penalty(descending, torch.stack(scores), self.protocol)
        self.penalty_ = float(descending[chosen])
        self.cv_scores_ = torch.stack(scores)[order.argsort()]
        self.cv_gradient_norm_ = float(torch.stack(norms).max())
        return fits[chosen]

    def _score_folds(self, predicted: Tensor, labels: Tensor, held_out: Tensor) -> Tensor:
        """Return the score of held-out predictions (N,), averaged over the folds."""
        return metric_named(self.metric)(predicted, labels, held_out[:, :-1].T.double()).mean()

    def _refit(self, design: Design, labels: Tensor, near: Tensor) -> Solution:
        """Converge from coefficients near the solution, on all images."""
        everything = torch.ones_like(labels, dtype=torch.bool)[:, None]
        weights = torch.ones_like(design.exact[0, :-1, None])
        objective = LogisticObjective(design, labels, everything, weights)
        return minimise(objective, objective.at(near), self.penalty_, self.tol, self.max_iter)

    @property
    def _selection_tol(self) -> float:
        return max(self.tol, _SELECTION_TOLERANCE)

    def _check_converged(self) -> None:
        self.converged_ = self.gradient_norm_ <= self.tol and self.cv_gradient_norm_ <= self._selection_tol
        if not self.converged_:
            warnings.warn(
                f"the logistic probe has not converged in max_iter={self.max_iter} steps: gradient norms "
                f"{self.gradient_norm_:.1e} (tol={self.tol:.0e}) and, in cross-validation, "
                f"{self.cv_gradient_norm_:.1e}; raise max_iter",
                RuntimeWarning,
                stacklevel=3,
            )


def _check_settings(protocol: Protocol, penalties: Tensor | None) -> Tensor:
    """Return the penalties to try."""
    check_protocol(protocol)
    return penalty_grid(protocol=protocol) if penalties is None else check_penalties(penalties)


def _linear(probe: RidgeProbe | LogisticProbe, features: Tensor) -> Tensor:
    """Return features @ coef_ + intercept_."""
    if not hasattr(probe, "coef_"):
        raise RuntimeError(f"{type(probe).__name__} has not been fitted: call fit first")
    if features.ndim != 2 or features.shape[1] != len(probe.coef_):
        raise ValueError(f"features of shape {tuple(features.shape)}, expected (N, {len(probe.coef_)})")
    return check_features(features) @ probe.coef_ + probe.intercept_


def _held_out(fold_of: Tensor, folds: int) -> Tensor:
    """Return which images each fold holds out, (N, folds + 1), bool; the last is of all images and holds out none."""
    return fold_of[:, None] == torch.arange(folds + 1, device=fold_of.device)


def _deviations(standardised: Tensor, held_out: Tensor, protocol: Protocol) -> Tensor:
    """Return what the fit of each fold divides the features by, (D, F)."""
    if protocol == "paper":
        return standardised.new_ones(standardised.shape[1], held_out.shape[1])
    return training_deviations(standardised, ~held_out)
