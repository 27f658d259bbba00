"""Choosing the penalty of a logistic regression, and fitting it on all images."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from solo_invariance.protocols import ProtocolName
from solo_invariance.regression.cross_validation import choose_penalty
from solo_invariance.regression.logistic_path import LogisticObjective, Solution, logistic_path, minimise
from solo_invariance.transfer.probes.linear import LinearProbe, Prepared

# Coefficients within two percent settle which classes are predicted, and that is all that cross-validation asks.
_SELECTION_TOLERANCE = 2e-2


class IteratedProbe(LinearProbe):
    """A linear probe whose fits are iterated until their gradients vanish.

    Args:
        penalties: To choose from, (P,); ``penalty_grid()`` where left out.
        folds: Of the cross-validation.
        protocol: ``clean`` or ``paper``.
        seed: Of the folds.
        metric: That chooses the penalty, by name.
        max_iter: Newton steps for each penalty.
        tol: The ``gradient_norm_`` to reach. In cross-validation 0.02 is enough, as only what is predicted counts.
        feature_weights: What to multiply each feature by once it is standardised, (D,). None are 1.

    Attributes:
        gradient_norm_: Of the objective, relative to the norm of the penalty's part of it. It bounds the relative error
            of the coefficients (of standardised features in ``clean``).
        cv_gradient_norm_: The largest in cross-validation.
        converged_: Whether all gradient norms are within their tolerances, or the last step was to lower the objective
            by no more than the square of the tolerance (times the objective, where that is below 1).
    """

    gradient_norm_: float
    cv_gradient_norm_: float
    converged_: bool

    def __init__(
        self,
        penalties: Tensor | None = None,
        folds: int = 5,
        protocol: ProtocolName = "clean",
        seed: int = 0,
        metric: str = "accuracy",
        max_iter: int = 100,
        tol: float = 1e-4,
        feature_weights: Tensor | None = None,
    ) -> None:
        super().__init__(penalties, folds, protocol, seed, feature_weights)
        self.metric = metric
        self.max_iter = max_iter
        self.tol = tol

    def describe(self) -> dict[str, Any]:
        """Return how the fit came about, as plain data: also the metric, and whether and how well it converged."""
        return super().describe() | {
            "metric": self.metric,
            "solver": "converged",
            "gradient_norm": self.gradient_norm_,
            "cv_gradient_norm": self.cv_gradient_norm_,
            "converged": self.converged_,
        }

    def _select(self, objective: LogisticObjective, score: Callable[[Tensor], Tensor]) -> Tensor:
        """Score every penalty by the logits (N, F, C) of all subsets together, and choose.

        Return the chosen coefficients, (D + 1, F, C).
        """
        descending, order = self.penalties_.sort(descending=True)
        scores, norms = [], []
        best, converged = objective.start(), True
        for solution in logistic_path(objective, descending, self._selection_tol, self.max_iter):
            scores.append(score(solution.point.logits))
            norms.append(solution.gradient_norm.max())
            converged = converged and bool(solution.converged(self._selection_tol).all())
            # The choice may only move on to the penalty that came last.
            chosen = choose_penalty(descending[: len(scores)], torch.stack(scores), self.protocol)
            best = solution.point.coefficients if chosen == len(scores) - 1 else best
        self.penalty_ = float(descending[chosen])
        self.cv_scores_ = torch.stack(scores)[order.argsort()]
        self.cv_gradient_norm_ = float(torch.stack(norms).max())
        self.converged_ = converged
        return best

    def _refit(self, objective: LogisticObjective, near: Tensor) -> Solution:
        """Converge from coefficients near the solution, on all images; warn where that, or the selection, failed."""
        solution = minimise(objective, objective.at(near), self.penalty_, self.tol, self.max_iter)
        self.gradient_norm_ = float(solution.gradient_norm.max())
        self.converged_ = self.converged_ and bool(solution.converged(self.tol).all())
        self._warn_unless_converged()
        return solution

    def _near(self, coefficients: Tensor, in_folds: LogisticObjective, on_all: LogisticObjective) -> Tensor:
        """Return coefficients to start from on all images, (D + 1, L, C): the mean of the folds', (D + 1, folds L, C).

        A fold whose training images lack a class knows nothing of it.
        """
        learnt = in_folds.learnable().unflatten(0, (self.folds, -1))
        shares = learnt / learnt.sum(0).clamp_min(1)
        mean = (coefficients.unflatten(1, (self.folds, -1)) * shares).sum(1)
        return torch.where(learnt.any(0), mean, on_all.start())

    @property
    def _selection_tol(self) -> float:
        return max(self.tol, _SELECTION_TOLERANCE)

    def _warn_unless_converged(self) -> None:
        if not self.converged_:
            warnings.warn(
                f"the logistic probe has not converged in max_iter={self.max_iter} steps: gradient norms "
                f"{self.gradient_norm_:.1e} (tol={self.tol:.0e}) and, in cross-validation, "
                f"{self.cv_gradient_norm_:.1e}; raise max_iter",
                RuntimeWarning,
                stacklevel=6,  # where fit, under two decorators, was called
            )


def everything(prepared: Prepared, labels: int = 1) -> tuple[Tensor, Tensor]:
    """Return the subset of all images (N, L), and weights of their features (D, L), which are standardised already."""
    features = prepared.features
    return features.new_ones(len(features), labels).bool(), features.new_ones(features.shape[1], labels)
