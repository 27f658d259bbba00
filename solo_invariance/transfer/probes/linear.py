"""What linear probes share."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from solo_invariance.protocols import Protocol, ProtocolName, protocol_named
from solo_invariance.regression.cross_validation import check_penalties, penalty_grid
from solo_invariance.regression.standardise import Standardisation, standardisation, training_deviations
from solo_invariance.transfer.probes.estimator import Estimator
from solo_invariance.transfer.probes.inputs import check_feature_weights, check_features


class Prepared(NamedTuple):
    """Features as a probe takes them.

    Attributes:
        transform: What leads there from the features as given.
        features: (N, D), float64, centred.
        deviations: What the fit of each fold is to divide them by, (D, F).
    """

    transform: Standardisation
    features: Tensor
    deviations: Tensor


class LinearProbe(Estimator):
    """A linear function of features, whose penalty is chosen by cross-validation.

    Args:
        penalties: To choose from, (P,); ``penalty_grid()`` where left out.
        folds: Of the cross-validation.
        protocol: ``clean`` or ``paper``.
        seed: Of the folds.
        feature_weights: What to multiply each feature by once it is standardised, (D,); a feature of weight 0 is left
            out. ``choose_member_weights`` finds some for a fusion. None are 1.

    Attributes:
        penalties_: Those that were tried, (P,).
        cv_scores_: Of each, averaged over the folds, (P,).
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
        self,
        penalties: Tensor | None = None,
        folds: int = 5,
        protocol: ProtocolName = "clean",
        seed: int = 0,
        feature_weights: Tensor | None = None,
    ) -> None:
        self.penalties = penalties
        self.folds = folds
        self.protocol = protocol
        self.seed = seed
        self.feature_weights = feature_weights

    def describe(self) -> dict[str, Any]:
        """Return how the fit came about, as plain data: settings, chosen penalty and its score."""
        return {
            "protocol": self.protocol,
            "folds": self.folds,
            "penalty": self.penalty_,
            "cv_score": float(self.cv_scores_.max()),
            "penalties_tried": len(self.penalties_),
            "penalty_range": [float(self.penalties_.min()), float(self.penalties_.max())],
        }

    def _linear(self, features: Tensor) -> Tensor:
        """Return features @ coef_ + intercept_."""
        if not hasattr(self, "coef_"):
            raise RuntimeError(f"{type(self).__name__} has not been fitted: call fit first")
        if features.ndim != 2 or features.shape[1] != len(self.coef_):
            raise ValueError(f"features of shape {tuple(features.shape)}, expected (N, {len(self.coef_)})")
        return check_features(features) @ self.coef_ + self.intercept_


def held_out_by(fold_of: Tensor, folds: int) -> Tensor:
    """Return which images each fold holds out, (N, folds), bool."""
    return fold_of[:, None] == torch.arange(folds, device=fold_of.device)


def penalties_to_try(penalties: Tensor | None, protocol: ProtocolName) -> Tensor:
    """Return the penalties that were given, or the grid, float64 (P,).

    Raises:
        ValueError: There is no such protocol, or a penalty is not finite and positive.
    """
    protocol_named(protocol)
    return penalty_grid(protocol=protocol) if penalties is None else check_penalties(penalties)


def prepare(features: Tensor, held_out: Tensor, protocol: ProtocolName, feature_weights: Tensor | None) -> Prepared:
    """Centre and, in ``clean``, standardise features (N, D), then weigh them; folds hold out some images (N, F).

    Raises:
        ValueError: The weights do not fit; see ``check_feature_weights``.
    """
    quirks = protocol_named(protocol)
    transform = standardisation(features, unit_deviation=quirks.unit_deviation)
    standardised = transform.apply(features)
    deviations = _deviations(standardised, held_out, quirks)
    if feature_weights is None:
        return Prepared(transform, standardised, deviations)
    weighted = transform._replace(scale=transform.scale / check_feature_weights(feature_weights, features))
    return Prepared(weighted, weighted.apply(features), deviations)


def _deviations(standardised: Tensor, held_out: Tensor, quirks: Protocol) -> Tensor:
    """Return what the fit of each fold divides the features by, (D, F)."""
    if not quirks.unit_deviation:
        return standardised.new_ones(standardised.shape[1], held_out.shape[1])
    return training_deviations(standardised, ~held_out)
