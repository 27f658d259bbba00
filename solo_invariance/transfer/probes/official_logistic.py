"""Multinomial logistic regression as the paper's official code fits it, by scikit-learn."""

import warnings
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_invariance.errors import UserError, install_command
from solo_invariance.protocols import ProtocolName
from solo_invariance.regression.cross_validation import choose_penalty, redrawn_folds
from solo_invariance.transfer.probes.estimator import takes_arrays
from solo_invariance.transfer.probes.inputs import check_feature_weights, check_features, check_labels
from solo_invariance.transfer.probes.linear import LinearProbe, penalties_to_try
from solo_invariance.transfer.scores import class_metric_named

_STEPS = 100


class OfficialLogisticProbe(LinearProbe):
    r"""Multinomial logistic regression with the numbers of the paper's official code (Ericsson et al. 2022).

    It is scikit-learn's ``LogisticRegression(C=1/penalty)``, quirks of its use included, on features as they are, in
    their own precision:

    - L-BFGS stops after 100 steps, converged or not.
    - One estimator is fitted again and again: each fold, then each penalty, then all images, goes on from the solution
      before. That has seen the images that are held out now, so the scores of cross-validation are too good where the
      penalty is weak, and weak penalties are chosen.
    - New folds are drawn for every penalty, those of ``KFold(folds, shuffle=True)``, where NumPy's generator has the
      seed. They ignore the classes.
    - In ``mean_per_class_accuracy``, a penalty scores NaN for which a class is predicted that no image held out has,
      and is never chosen.
    - Of several that are best, the first penalty is chosen.

    ``LogisticProbe`` is the estimator that all of this approximates. For two classes the objective is scikit-learn's
    binary one, with ``C`` of two over the penalty: that has the minimum of the multinomial one.

    Args:
        penalties: To choose from, (P,), in the order in which to go through them; the paper's grid where left out.
        folds: Of the cross-validation.
        seed: Of the folds.
        metric: ``accuracy`` or ``mean_per_class_accuracy``.
        feature_weights: What to multiply each feature by, (D,). None are 1.

    Attributes:
        classes_: The labels, sorted, (C,).
        penalties_: Those that were tried, (P,).
        cv_scores_: Of each, averaged over its folds, (P,); NaN where a class was predicted that was not there.
        penalty_: The chosen one.
        coef_: For features as given, (D, C), or (D, 1) of the second class for two.
        intercept_: (C,), or (1,).
        steps_: Of the last fit, on all images.

    Raises:
        UserError: scikit-learn is not installed.
    """

    _estimator_type = "classifier"

    classes_: Tensor
    steps_: int

    def __init__(
        self,
        penalties: Tensor | None = None,
        folds: int = 5,
        seed: int = 0,
        metric: str = "accuracy",
        feature_weights: Tensor | None = None,
        protocol: ProtocolName = "paper",
    ) -> None:
        require_scikit_learn()
        super().__init__(penalties, folds, protocol, seed, feature_weights)
        self.metric = metric

    @takes_arrays
    def fit(self, features: Tensor, labels: Tensor) -> "OfficialLogisticProbe":
        """Choose the penalty and fit; return the probe.

        Args:
            features: (N, D).
            labels: (N,), integers.

        Raises:
            ValueError: Shapes do not fit, a row is not finite (the first is named), there are too many folds, fewer
                than two classes, no penalty has a score, or the images that a fold trains on lack a class, so that
                scikit-learn cannot go on from one fit to the next.
        """
        from sklearn.linear_model import LogisticRegression

        class_metric_named(self.metric)
        check_features(features)
        self.classes_, encoded = check_labels(labels, features)
        self.penalties_ = penalties_to_try(self.penalties, self.protocol)
        self._weights = None if self.feature_weights is None else check_feature_weights(self.feature_weights, features)
        self._model = LogisticRegression(solver="lbfgs", max_iter=_STEPS, warm_start=True)
        x, y = self._as_array(features), encoded.cpu().numpy()
        self.cv_scores_ = torch.tensor(list(self._scores(x, y)), dtype=torch.float64)
        if self.cv_scores_.isnan().all():
            raise ValueError("no penalty has a score: with each, a class is predicted that no image held out has")
        chosen = choose_penalty(self.penalties_, self.cv_scores_.nan_to_num(-torch.inf), self.protocol)
        self.penalty_ = float(self.penalties_[chosen])
        self._fit(x, y, self.penalty_)
        self.steps_ = int(np.max(self._model.n_iter_))
        self.coef_ = torch.from_numpy(self._model.coef_.T).double().to(features.device)
        if self._weights is not None:
            self.coef_ = self.coef_ * self._weights.to(self.coef_)[:, None]
        self.intercept_ = torch.from_numpy(self._model.intercept_).double().to(features.device)
        return self

    @takes_arrays
    def predict(self, features: Tensor) -> Tensor:
        """Return the most probable class (N,) for features (N, D).

        Raises:
            ValueError: Features are not as wide as in training, or a row is not finite.
        """
        self._linear(features)  # refuses what does not fit
        return self.classes_[torch.from_numpy(self._model.predict(self._as_array(features))).to(self.classes_.device)]

    @takes_arrays
    def score(self, features: Tensor, labels: Tensor) -> float:
        """Return the metric on features (N, D) and labels (N,)."""
        return float(class_metric_named(self.metric)(self.predict(features), labels, None))

    def describe(self) -> dict[str, Any]:
        """Return how the fit came about, as plain data: also the metric, the steps and scikit-learn's version."""
        return super().describe() | {
            "cv_score": float(self.cv_scores_.nan_to_num(-torch.inf).max()),
            "metric": self.metric,
            "solver": "official",
            "steps": self.steps_,
            "converged": self.steps_ < _STEPS,
            "scikit_learn": version("scikit-learn"),
        }

    def _scores(self, x: np.ndarray, y: np.ndarray) -> Iterator[float]:
        """Yield the score of each penalty, averaged over its folds."""
        draws = redrawn_folds(len(y), self.folds, self.seed)
        for penalty, fold_of in zip(self.penalties_.tolist(), draws, strict=False):
            in_folds = [(fold_of == fold).numpy() for fold in range(self.folds)]
            yield float(np.mean([self._score_of_fold(x, y, held_out, penalty) for held_out in in_folds]))

    def _score_of_fold(self, x: np.ndarray, y: np.ndarray, held_out: np.ndarray, penalty: float) -> float:
        missing = np.setdiff1d(np.arange(len(self.classes_)), y[~held_out])
        if len(missing):
            raise ValueError(
                f"a fold of the cross-validation trains on no image of class {int(self.classes_[missing[0]])}, and the "
                f"official solver cannot go on from it; take probe.solver=converged"
            )
        self._fit(x[~held_out], y[~held_out], penalty)
        predicted, truth = self._model.predict(x[held_out]), y[held_out]
        if self.metric == "accuracy":
            return float(np.mean(predicted == truth))
        if len(np.setdiff1d(predicted, truth)):
            return float("nan")
        return float(np.mean([np.mean(predicted[truth == label] == label) for label in np.unique(truth)]))

    def _fit(self, x: np.ndarray, y: np.ndarray, penalty: float) -> None:
        from sklearn.exceptions import ConvergenceWarning

        self._model.set_params(C=(2 if len(self.classes_) == 2 else 1) / penalty)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.fit(x, y)

    def _as_array(self, features: Tensor) -> np.ndarray:
        weighted = features if self._weights is None else features * self._weights.to(features)
        return weighted.cpu().numpy()


def require_scikit_learn() -> None:
    """Raise UserError where scikit-learn, which the official solver is, is not installed."""
    if find_spec("sklearn") is None:
        raise UserError(
            f"probe.solver=official is scikit-learn's, which is not installed: {install_command('scikit-learn')}, or "
            f"take probe.solver=converged"
        )
