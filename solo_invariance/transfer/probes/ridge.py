"""Linear probes of frozen features, with the penalty chosen by cross-validation."""

from typing import TypeVar

import torch
from torch import Tensor

from solo_invariance.protocols import protocol_named
from solo_invariance.regression.cross_validation import assign_folds, choose_penalty, redrawn_folds
from solo_invariance.regression.ridge_path import ridge_paths, ridge_solutions
from solo_invariance.regression.standardise import standardisation
from solo_invariance.transfer.probes.estimator import takes_arrays
from solo_invariance.transfer.probes.inputs import check_features, check_targets
from solo_invariance.transfer.probes.linear import (
    LinearProbe,
    Prepared,
    held_out_by,
    penalties_to_try,
    prepare,
)
from solo_invariance.transfer.scores import r2

Number = TypeVar("Number", float, Tensor)


class RidgeProbe(LinearProbe):
    r"""Linear regression of one or more targets, penalised by the squared norm of the coefficients.

    It minimises :math:`\|Y - X W - b\|^2 + \lambda \|W\|^2`, with the intercept :math:`b` not penalised, at the
    penalty whose R^2, averaged over targets and folds, is highest in cross-validation; then on all images.

    ``clean``: features are standardised by the mean and deviation of the images that a fit sees, those in training
    alone; :math:`\lambda` is the penalty; all penalties are scored on the same folds. ``paper`` (Ericsson et al. 2022,
    official code): features are taken as they are, by a quirk :math:`\lambda` is one over the penalty, and new folds
    are drawn for every penalty, those of scikit-learn's ``KFold``: the official code's numbers, where NumPy's generator
    has the seed there. Both shuffle the images with the seed, and compute in float64 on the features' device.

    Args:
        penalties: To choose from, (P,); ``penalty_grid()`` where left out.
        folds: Of the cross-validation, each of two images at least.
        protocol: ``clean`` or ``paper``.
        seed: Of the folds.
        feature_weights: What to multiply each feature by once it is standardised, (D,); see ``LinearProbe``.

    Attributes:
        penalties_: Those that were tried, (P,).
        cv_scores_: R^2 of each, averaged over the folds, (P,).
        penalty_: The chosen one.
        coef_: For features as given, (D, T), float64.
        intercept_: (T,), float64.
    """

    _estimator_type = "regressor"

    @takes_arrays
    @torch.no_grad()
    def fit(self, features: Tensor, targets: Tensor) -> "RidgeProbe":
        """Choose the penalty and fit; return the probe.

        Args:
            features: (N, D).
            targets: (N, T), or (N,) for one.

        Raises:
            ValueError: Shapes do not fit, a row is not finite (the first is named), or there are too many folds.
        """
        grid = penalties_to_try(self.penalties, self.protocol)
        features = check_features(features)
        columns = check_targets(targets, features)
        self.penalties_ = grid.to(features.device)
        fold_of = assign_folds(len(features), self.folds, self.seed, at_least=2).to(features.device)
        # The last fold is of all images, and holds out none.
        held_out = held_out_by(fold_of, self.folds + 1)
        prepared = prepare(features, held_out, self.protocol, self.feature_weights)
        target_transform = standardisation(columns, unit_deviation=False)
        centred = target_transform.apply(columns)
        select = self._select_redrawing if protocol_named(self.protocol).redraws_folds else self._select
        self.coef_, intercept = prepared.transform.undo(*select(features, prepared, centred, held_out))
        self.intercept_ = intercept + target_transform.mean
        self._one_target = targets.ndim == 1
        return self

    @takes_arrays
    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """Return predictions (N, T), or (N,) where the targets were so, float64, for features (N, D).

        Raises:
            ValueError: Features are not as wide as in training, or a row is not finite.
        """
        predictions = self._linear(features)
        return predictions[:, 0] if self._one_target else predictions

    @takes_arrays
    def score(self, features: Tensor, targets: Tensor) -> float:
        """Return R^2, averaged over targets, on features (N, D) and targets (N, T) or (N,)."""
        return float(r2(self.predict(features), targets))

    def _select(self, features: Tensor, prepared: Prepared, targets: Tensor, held_out: Tensor) -> tuple[Tensor, Tensor]:
        """Score every penalty on all folds and choose; return the slopes and intercept of the fit on all images."""
        *paths, whole = ridge_paths(prepared.features, targets, held_out, prepared.deviations)
        strengths = self._strength(self.penalties_)
        scores = [
            r2(path.predict(prepared.features[fold], strengths), targets[fold])
            for path, fold in zip(paths, held_out.T, strict=False)
        ]
        return whole.solution(self._choose(torch.stack(scores).mean(0)))

    def _select_redrawing(
        self, features: Tensor, prepared: Prepared, targets: Tensor, held_out: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score every penalty on folds of its own and choose; return the fit on all images, as ``_select`` does."""
        draws = redrawn_folds(len(features), self.folds, self.seed, at_least=2)
        scores = [
            self._score_of_folds(features, targets, fold_of.to(features.device), self._strength(penalty))
            for penalty, fold_of in zip(self.penalties_.tolist(), draws, strict=False)
        ]
        strength = self._choose(torch.stack(scores))
        *_, whole = ridge_solutions(prepared.features, targets, held_out, prepared.deviations, strength)
        return whole

    def _choose(self, scores_of_penalties: Tensor) -> float:
        """Keep the scores (P,) and the penalty that they choose; return its strength."""
        self.cv_scores_ = scores_of_penalties
        self.penalty_ = float(self.penalties_[choose_penalty(self.penalties_, self.cv_scores_, self.protocol)])
        return self._strength(self.penalty_)

    def _score_of_folds(self, features: Tensor, targets: Tensor, fold_of: Tensor, strength: float) -> Tensor:
        held_out = held_out_by(fold_of, self.folds)
        _, prepared, deviations = prepare(features, held_out, self.protocol, self.feature_weights)
        solutions = ridge_solutions(prepared, targets, held_out, deviations, strength)
        scores = [
            r2(prepared[fold] @ slopes + intercept, targets[fold])
            for fold, (slopes, intercept) in zip(held_out.T, solutions, strict=True)
        ]
        return torch.stack(scores).mean()

    def _strength(self, penalty: Number) -> Number:
        return 1 / penalty if protocol_named(self.protocol).penalty_is_inverse else penalty
