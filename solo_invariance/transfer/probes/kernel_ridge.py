"""Kernel ridge regression of several targets, each with its own penalty and kernel width."""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from solo_invariance.protocols import ProtocolName, protocol_named
from solo_invariance.regression.cross_validation import assign_folds, check_penalties, redrawn_folds
from solo_invariance.regression.positive_definite import solve_positive
from solo_invariance.regression.standardise import Standardisation, standardisation
from solo_invariance.transfer.probes.estimator import Estimator, takes_arrays
from solo_invariance.transfer.probes.inputs import check_feature_weights, check_features, check_targets
from solo_invariance.transfer.scores import r2, r2_of_targets

# A kernel whose other entries add up to less than this in every row is the identity.
_NEGLIGIBLE = 1e-12
_ENTRIES_AT_ONCE = 2**24


class KernelRidgeProbe(Estimator):
    r"""Kernel ridge regression with Gaussian kernels, as Ericsson et al. (2022) read latents from features.

    With :math:`K_{ij} = \exp(-\gamma \|x_i - x_j\|^2)` between standardised training images, predictions are
    :math:`\sum_i k(x, x_i) \, a_i` with :math:`a = (K + \alpha I)^{-1} y` (Saunders, Gammerman & Vovk 1998, "Ridge
    Regression Learning Algorithm in Dual Variables", equation 10), as in scikit-learn. Each target has the
    :math:`\alpha` and :math:`\gamma` whose R^2, averaged over folds, is highest in cross-validation; then all images
    are fitted. Of several that are best, the largest :math:`\alpha`, then the smallest :math:`\gamma` is taken.

    All targets share the distances of a fold, its kernel for each :math:`\gamma`, and one Cholesky factor for each
    :math:`\alpha`: five of them take a fraction of the time of one eigendecomposition. A kernel that is the identity up
    to rounding is not factored. A factor takes N^3 / 3 multiplications, and all of it memory for three matrices of
    N x N (10 GB for 20 480 images). Predictions are made in blocks.

    In both protocols features are standardised by the images that a fit sees, those in training alone. ``paper``
    (official code): targets are taken as they are, and new folds are drawn for every pair, those of scikit-learn's
    ``KFold`` where NumPy's generator has the seed. ``clean``: the mean of the targets is taken off, as no intercept is
    fitted, and all pairs are scored on the same folds. Both shuffle the images with the seed, and compute in float64 on
    the features' device.

    Args:
        alphas: To choose from, (A,); 1 to 1e-4 in powers of ten where left out.
        gammas: To choose from, (G,); 1e-5 to 1e2 in powers of ten where left out.
        folds: Of the cross-validation, each of two images at least.
        protocol: ``clean`` or ``paper``.
        seed: Of the folds.
        feature_weights: What to multiply each feature by once it is standardised, (D,). None are 1.

    Attributes:
        alphas_: Those that were tried, descending, (A,).
        gammas_: Those that were tried, ascending, (G,).
        cv_scores_: R^2 of each target, averaged over the folds, (A, G, T).
        alpha_: The chosen one of each target, (T,).
        gamma_: The chosen one of each target, (T,).
        dual_coef_: Of the training images, (N, T), float64.
        intercept_: Mean of the targets, (T,), or 0 in ``paper``.
    """

    _estimator_type = "regressor"

    alphas_: Tensor
    gammas_: Tensor
    cv_scores_: Tensor
    alpha_: Tensor
    gamma_: Tensor
    dual_coef_: Tensor
    intercept_: Tensor

    def __init__(
        self,
        alphas: Tensor | None = None,
        gammas: Tensor | None = None,
        folds: int = 5,
        protocol: ProtocolName = "clean",
        seed: int = 0,
        feature_weights: Tensor | None = None,
    ) -> None:
        self.feature_weights = feature_weights
        self.alphas = alphas
        self.gammas = gammas
        self.folds = folds
        self.protocol = protocol
        self.seed = seed

    @takes_arrays
    @torch.no_grad()
    def fit(self, features: Tensor, targets: Tensor) -> "KernelRidgeProbe":
        """Choose alpha and gamma for each target and fit; return the probe.

        Args:
            features: (N, D).
            targets: (N, T), or (N,) for one.

        Raises:
            ValueError: Shapes do not fit, a row is not finite (the first is named), or there are too many folds.
        """
        protocol_named(self.protocol)
        features = check_features(features)
        columns = check_targets(targets, features)
        self.alphas_ = _grid(self.alphas, 0, -4).sort(descending=True).values.to(features.device)
        self.gammas_ = _grid(self.gammas, -5, 2).sort().values.to(features.device)
        self.cv_scores_ = self._cross_validate(features, columns)
        best = self.cv_scores_.flatten(0, 1).argmax(0)
        self.alpha_ = self.alphas_[best // len(self.gammas_)]
        self.gamma_ = self.gammas_[best % len(self.gammas_)]
        self._refit(features, columns)
        self._one_target = targets.ndim == 1
        return self

    @takes_arrays
    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """Return predictions (N, T), or (N,) where the targets were so, float64, for features (N, D).

        Raises:
            ValueError: Features are not as wide as in training, or a row is not finite.
        """
        if not hasattr(self, "dual_coef_"):
            raise RuntimeError("KernelRidgeProbe has not been fitted: call fit first")
        width = self._training.shape[1]
        if features.ndim != 2 or features.shape[1] != width:
            raise ValueError(f"features of shape {tuple(features.shape)}, expected (N, {width})")
        standardised = self._transform.apply(check_features(features))
        rows = max(1, _ENTRIES_AT_ONCE // len(self._training))
        predictions = torch.cat([self._predict_block(block) for block in standardised.split(rows)])
        return predictions[:, 0] if self._one_target else predictions

    @takes_arrays
    def score(self, features: Tensor, targets: Tensor) -> float:
        """Return R^2, averaged over targets, on features (N, D) and targets (N, T) or (N,)."""
        return float(r2(self.predict(features), targets))

    def describe(self) -> dict[str, Any]:
        """Return how the fit came about, as plain data: settings, and each target's choice with its score."""
        return {
            "protocol": self.protocol,
            "folds": self.folds,
            "alpha": self.alpha_.tolist(),
            "gamma": self.gamma_.tolist(),
            "cv_score": self.cv_scores_.amax((0, 1)).tolist(),
            "pairs_tried": self.cv_scores_[:, :, 0].numel(),
        }

    def _cross_validate(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return R^2 of every pair and target, averaged over the folds, (A, G, T)."""
        count, folds, seed = len(features), self.folds, self.seed
        if not protocol_named(self.protocol).redraws_folds:
            fold_of = assign_folds(count, folds, seed, at_least=2)
            return self._score_folds(features, targets, fold_of, self.alphas_, self.gammas_)
        pairs = itertools.product(self.alphas_.split(1), self.gammas_.split(1))
        draws = redrawn_folds(count, folds, seed, at_least=2)
        scores = [
            self._score_folds(features, targets, fold_of, *pair) for pair, fold_of in zip(pairs, draws, strict=False)
        ]
        return torch.cat(scores).view(len(self.alphas_), len(self.gammas_), -1)

    def _score_folds(
        self, features: Tensor, targets: Tensor, fold_of: Tensor, alphas: Tensor, gammas: Tensor
    ) -> Tensor:
        """Return R^2 of some pairs and every target, averaged over the folds, (A, G, T)."""
        fold_of = fold_of.to(features.device)
        scores = sum(self._score_fold(features, targets, fold_of == fold, alphas, gammas) for fold in range(self.folds))
        return torch.as_tensor(scores) / self.folds

    def _score_fold(
        self, features: Tensor, targets: Tensor, held_out: Tensor, alphas: Tensor, gammas: Tensor
    ) -> Tensor:
        """Return R^2 on the images that are held out (N,), of a fit on the others, (A, G, T)."""
        training, transform = self._standardised(features[~held_out])
        mean = self._target_mean(targets[~held_out])
        distances = squared_distances(training, training)
        distances_to_held_out = squared_distances(transform.apply(features[held_out]), training)
        scores = []
        for gamma in gammas.tolist():
            duals = torch.stack(list(_solutions(distances, gamma, alphas, targets[~held_out] - mean)))
            predictions = torch.exp(-gamma * distances_to_held_out) @ duals + mean
            scores.append(r2_of_targets(predictions, targets[held_out]))
        return torch.stack(scores, dim=1)

    def _refit(self, features: Tensor, targets: Tensor) -> None:
        """Fit all images, each target with what was chosen for it."""
        self._training, self._transform = self._standardised(features)
        self.intercept_ = self._target_mean(targets)
        self.dual_coef_ = torch.empty_like(targets)
        distances = squared_distances(self._training, self._training)
        for gamma in self.gamma_.unique().tolist():
            alphas = self.alpha_[self.gamma_ == gamma].unique()
            solutions = _solutions(distances, gamma, alphas, targets - self.intercept_)
            for alpha, duals in zip(alphas, solutions, strict=True):
                chosen = (self.gamma_ == gamma) & (self.alpha_ == alpha)
                self.dual_coef_[:, chosen] = duals[:, chosen]

    def _predict_block(self, standardised: Tensor) -> Tensor:
        """Return predictions (M, T) for standardised features (M, D)."""
        distances = squared_distances(standardised, self._training)
        predictions = self.intercept_.repeat(len(standardised), 1)
        for gamma in self.gamma_.unique().tolist():
            chosen = self.gamma_ == gamma
            predictions[:, chosen] += torch.exp(-gamma * distances) @ self.dual_coef_[:, chosen]
        return predictions

    def _standardised(self, features: Tensor) -> tuple[Tensor, Standardisation]:
        transform = standardisation(features, unit_deviation=True)
        if self.feature_weights is not None:
            transform = transform._replace(
                scale=transform.scale / check_feature_weights(self.feature_weights, features)
            )
        return transform.apply(features), transform

    def _target_mean(self, targets: Tensor) -> Tensor:
        return targets.mean(0) if protocol_named(self.protocol).centres_targets else torch.zeros_like(targets[0])


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """Return the squared Euclidean distances (M, N) of features (M, D) and (N, D), exactly 0 from themselves."""
    lengths = (left**2).sum(1)[:, None] + (right**2).sum(1)
    distances = lengths.addmm_(left, right.T, alpha=-2).clamp_min_(0)
    if left is right:
        distances.fill_diagonal_(0)
    return distances


def _solutions(distances: Tensor, gamma: float, alphas: Tensor, targets: Tensor) -> Iterator[Tensor]:
    """Yield the dual coefficients (N, T) of training images with squared distances (N, N), for each alpha."""
    kernel = torch.exp(-gamma * distances)
    diagonal = (kernel.sum(1) - 1).max() <= _NEGLIGIBLE
    for alpha in alphas.tolist():
        if diagonal:
            yield targets / (1 + alpha)
            continue
        kernel.diagonal().fill_(1 + alpha)
        yield solve_positive(kernel, targets)


def _grid(given: Tensor | None, first: int, last: int) -> Tensor:
    """Return what was given, checked, or powers of ten between two exponents."""
    count = abs(last - first) + 1
    return torch.logspace(first, last, count, dtype=torch.float64) if given is None else check_penalties(given)
