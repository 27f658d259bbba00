"""Logistic probe of several labels that an image has or has not."""

from functools import partial

import torch
from torch import Tensor

from solo_invariance.protocols import ProtocolName
from solo_invariance.regression.binary_logistic import BinaryObjective
from solo_invariance.regression.cross_validation import assign_folds
from solo_invariance.regression.logistic_path import DesignMatrix
from solo_invariance.transfer.probes.estimator import takes_arrays
from solo_invariance.transfer.probes.inputs import check_features, check_multilabel
from solo_invariance.transfer.probes.iterated import IteratedProbe, everything
from solo_invariance.transfer.probes.linear import held_out_by, penalties_to_try, prepare
from solo_invariance.transfer.scores import mean_average_precision


class MultiLabelProbe(IteratedProbe):
    r"""A binary logistic regression for each label, all with one penalty of the squared norm of their coefficients.

    Each minimises :math:`\sum_i \mathrm{CE}_i + \frac{\lambda}{2} \|w\|^2`, with the intercept not penalised, at the
    penalty :math:`\lambda` whose mean average precision, averaged over the folds, is best in cross-validation; then on
    all images. (scikit-learn's ``C`` is one over the penalty.) All labels, folds and penalties are solved together. A
    label that all of a fold's training images have, or none, gets the same score for every image there.

    ``clean`` and ``paper`` treat features as in ``LogisticProbe``; folds ignore the labels in both.

    Args:
        penalties: To choose from, (P,); ``penalty_grid()`` where left out.
        folds: Of the cross-validation.
        protocol: ``clean`` or ``paper``.
        seed: Of the folds.
        max_iter: Newton steps for each penalty.
        tol: The ``gradient_norm_`` to reach. In cross-validation 0.02 is enough.
        feature_weights: What to multiply each feature by once it is standardised, (D,); see ``LinearProbe``.

    Attributes:
        penalties_: Those that were tried, (P,).
        cv_scores_: Of each, averaged over the folds, (P,).
        penalty_: The chosen one.
        coef_: For features as given, (D, C), float64.
        intercept_: (C,), float64.
        gradient_norm_: The largest of the labels' objectives; see ``IteratedProbe``.
        cv_gradient_norm_: The largest in cross-validation.
        converged_: Whether all fits have; see ``IteratedProbe``.
    """

    _estimator_type = "classifier"

    def __init__(
        self,
        penalties: Tensor | None = None,
        folds: int = 5,
        protocol: ProtocolName = "clean",
        seed: int = 0,
        max_iter: int = 100,
        tol: float = 1e-4,
        feature_weights: Tensor | None = None,
    ) -> None:
        super().__init__(penalties, folds, protocol, seed, "mean_average_precision", max_iter, tol, feature_weights)

    @takes_arrays
    @torch.no_grad()
    def fit(self, features: Tensor, labels: Tensor) -> "MultiLabelProbe":
        """Choose the penalty and fit; return the probe, and warn where a fit has not converged.

        Args:
            features: (N, D).
            labels: Whether an image has a label, (N, C), bool.

        Raises:
            ValueError: Shapes do not fit, a row is not finite (the first is named), there are too many folds, or no
                image has any label.
        """
        grid = penalties_to_try(self.penalties, self.protocol)
        features = check_features(features)
        labels = check_multilabel(labels, features)
        self.penalties_ = grid.to(features.device)
        fold_of = assign_folds(len(labels), self.folds, self.seed).to(features.device)
        held_out = held_out_by(fold_of, self.folds)
        prepared = prepare(features, held_out, self.protocol, self.feature_weights)
        design = DesignMatrix.of(prepared.features)
        # One column for each fold and label, the labels of a fold side by side.
        columns = labels.shape[1]
        training, weights = (part.repeat_interleave(columns, 1) for part in (~held_out, prepared.deviations**2))
        in_folds = BinaryObjective(design, labels.repeat(1, self.folds), training, weights)
        chosen = self._select(in_folds, partial(self._score_folds, labels, held_out))
        on_all = BinaryObjective(design, labels, *everything(prepared, columns))
        coefficients = self._refit(on_all, self._near(chosen, in_folds, on_all)).point.coefficients[:, :, 0]
        self.coef_, self.intercept_ = prepared.transform.undo(coefficients[:-1], coefficients[-1])
        return self

    @takes_arrays
    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """Return the log-odds of the labels (N, C), float64, for features (N, D).

        Raises:
            ValueError: Features are not as wide as in training, or a row is not finite.
        """
        return self._linear(features)

    @takes_arrays
    def score(self, features: Tensor, labels: Tensor) -> float:
        """Return the mean average precision on features (N, D) and labels (N, C)."""
        return float(mean_average_precision(self.predict(features), labels))

    def _score_folds(self, labels: Tensor, held_out: Tensor, logits: Tensor) -> Tensor:
        """Return the score of held-out images, averaged over the folds, by the logits (N, F C, 1) of all."""
        log_odds = logits.view(len(labels), self.folds, -1)[held_out]
        return mean_average_precision(log_odds, labels, held_out.T.double()).mean()
