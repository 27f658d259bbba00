"""Multinomial logistic regression on frozen features."""

from functools import partial

import torch
from torch import Tensor

from solo_invariance.protocols import protocol_named
from solo_invariance.regression.cross_validation import assign_folds
from solo_invariance.regression.logistic_path import DesignMatrix, LogisticObjective
from solo_invariance.transfer.probes.estimator import takes_arrays
from solo_invariance.transfer.probes.inputs import check_features, check_labels
from solo_invariance.transfer.probes.iterated import IteratedProbe, everything
from solo_invariance.transfer.probes.linear import held_out_by, penalties_to_try, prepare
from solo_invariance.transfer.scores import class_metric_named

_CLASS_METRICS = ("accuracy", "mean_per_class_accuracy")


class LogisticProbe(IteratedProbe):
    r"""Multinomial logistic regression, penalised by the squared norm of the coefficients.

    It minimises :math:`\sum_i \mathrm{CE}_i + \frac{\lambda}{2} \|W\|^2`, with the intercept not penalised, at the
    penalty :math:`\lambda` whose score, averaged over the folds, is best in cross-validation; then on all images.
    (scikit-learn's ``C`` is one over the penalty, except for two classes, where it has one column of coefficients
    instead of two and ``C`` is two over the penalty.)

    ``clean``: features are standardised by the deviation of the images that a fit sees, those in training alone, and
    folds are stratified by class. ``paper`` (Ericsson et al. 2022, official code): features are taken as they are, and
    folds ignore the classes. Both shuffle the images into folds with the seed, the same for all penalties. The
    official code stops before its fits have converged, draws new folds for every penalty and starts each fit from the
    fold before, whose training images include those held out now; ``OfficialLogisticProbe`` repeats that.

    Args:
        penalties: To choose from, (P,); ``penalty_grid()`` where left out.
        folds: Of the cross-validation.
        protocol: ``clean`` or ``paper``.
        seed: Of the folds.
        metric: ``accuracy`` or ``mean_per_class_accuracy``.
        max_iter: Newton steps for each penalty.
        tol: The ``gradient_norm_`` to reach. In cross-validation 0.02 is enough, as only predicted classes count.
        feature_weights: What to multiply each feature by once it is standardised, (D,); see ``LinearProbe``.

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
        converged_: Whether all fits have; see ``IteratedProbe``.
    """

    _estimator_type = "classifier"

    classes_: Tensor

    @takes_arrays
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
        class_metric_named(self.metric)
        grid = penalties_to_try(self.penalties, self.protocol)
        features = check_features(features)
        self.classes_, encoded = check_labels(labels, features)
        self.penalties_ = grid.to(features.device)
        stratified_by = labels if protocol_named(self.protocol).stratifies else None
        fold_of = assign_folds(len(labels), self.folds, self.seed, stratified_by)
        held_out = held_out_by(fold_of.to(features.device), self.folds)
        prepared = prepare(features, held_out, self.protocol, self.feature_weights)
        design = DesignMatrix.of(prepared.features)
        in_folds = LogisticObjective(design, encoded, ~held_out, prepared.deviations**2)
        chosen = self._select(in_folds, partial(self._score_folds, encoded, held_out))
        on_all = LogisticObjective(design, encoded, *everything(prepared))
        coefficients = self._refit(on_all, self._near(chosen, in_folds, on_all)).point.coefficients[:, 0]
        self.coef_, intercept = prepared.transform.undo(coefficients[:-1], coefficients[-1])
        self.intercept_ = intercept - intercept.mean()
        return self

    @takes_arrays
    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """Return the most probable class (N,) for features (N, D).

        Raises:
            ValueError: Features are not as wide as in training, or a row is not finite.
        """
        scores = self._linear(features)
        return self.classes_[scores.argmax(1)]

    @takes_arrays
    def score(self, features: Tensor, labels: Tensor) -> float:
        """Return the metric on features (N, D) and labels (N,)."""
        return float(class_metric_named(self.metric)(self.predict(features), labels, None))

    def _score_folds(self, labels: Tensor, held_out: Tensor, logits: Tensor) -> Tensor:
        """Return the score of held-out images, averaged over the folds, by the logits (N, F, C) of all."""
        predicted = logits[held_out].argmax(1)
        return class_metric_named(self.metric)(predicted, labels, held_out.T.double()).mean()
