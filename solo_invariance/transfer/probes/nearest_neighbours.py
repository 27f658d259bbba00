"""Classification by the labels of the nearest training images."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from solo_invariance.features.neighbours import MOST_NEIGHBOURS, Neighbours, nearest
from solo_invariance.regression.cross_validation import assign_folds
from solo_invariance.transfer.probes.estimator import Estimator, takes_arrays
from solo_invariance.transfer.probes.inputs import check_features, check_labels
from solo_invariance.transfer.probes.linear import held_out_by
from solo_invariance.transfer.scores import class_metric_named

NEIGHBOURS = (1, 5, 10, 20, 50, 100, 200)
_WHAT = "the nearest-neighbour probe"


class KNNProbe(Estimator):
    r"""Weighted vote of the k nearest training images, by cosine similarity.

    A neighbour of similarity :math:`s` votes for its class with the weight :math:`e^{s / \tau}` (Wu, Xiong, Yu & Lin
    2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", section 3.4). All similarities are
    computed, by faiss (Douze et al. 2024, "The Faiss library"), in float32. Features are taken as they are. Of classes
    with as many votes, the smallest label is predicted; of several best k, the largest is taken.

    Args:
        k: None to choose it by cross-validation from ``NEIGHBOURS``, without those that exceed the training images of a
            fold.
        temperature: :math:`\tau`.
        folds: Of the cross-validation, stratified by class.
        seed: Of the folds.
        metric: ``accuracy`` or ``mean_per_class_accuracy``.

    Attributes:
        classes_: The labels, sorted, (C,).
        neighbours_: Those that were tried, ascending.
        cv_scores_: Of each, averaged over the folds, (K,).
        k_: The chosen one.
    """

    _estimator_type = "classifier"

    classes_: Tensor
    neighbours_: list[int]
    cv_scores_: Tensor
    k_: int

    def __init__(
        self,
        k: int | None = None,
        temperature: float = 0.07,
        folds: int = 5,
        seed: int = 0,
        metric: str = "accuracy",
    ) -> None:
        self.k = k
        self.folds = folds
        self.seed = seed
        self.metric = metric
        self.temperature = temperature

    @takes_arrays
    @torch.no_grad()
    def fit(self, features: Tensor, labels: Tensor) -> "KNNProbe":
        """Choose k and keep the images; return the probe.

        Args:
            features: (N, D).
            labels: (N,), integers.

        Raises:
            ValueError: Shapes do not fit, a row is not finite (the first is named), there are too many folds, fewer
                than two classes, or fewer images than neighbours.
            UserError: faiss is not installed.
        """
        class_metric_named(self.metric)
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature}, expected above 0")
        self._training = _unit_vectors(features)
        self.classes_, self._encoded = check_labels(labels, self._training)
        fold_of = assign_folds(len(features), self.folds, self.seed, self._encoded)
        held_out = held_out_by(fold_of.to(self._encoded.device), self.folds)
        self.neighbours_ = possible_neighbours(int((~held_out).sum(0).min()), self.k)
        self.cv_scores_ = torch.stack([self._score_fold(fold) for fold in held_out.T]).mean(0)
        best = (self.cv_scores_ == self.cv_scores_.max()).nonzero()[-1, 0]
        self.k_ = self.neighbours_[int(best)]
        return self

    @takes_arrays
    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """Return the class with most votes (N,) for features (N, D).

        Raises:
            ValueError: Features are not as wide as in training, or a row is not finite.
        """
        if not hasattr(self, "k_"):
            raise RuntimeError("KNNProbe has not been fitted: call fit first")
        width = self._training.shape[1]
        if features.ndim != 2 or features.shape[1] != width:
            raise ValueError(f"features of shape {tuple(features.shape)}, expected (N, {width})")
        found = nearest(_unit_vectors(features), self._training, self.k_, _WHAT)
        (votes,) = self._votes(found, self._encoded, [self.k_])
        return self.classes_[votes.argmax(1)]

    @takes_arrays
    def score(self, features: Tensor, labels: Tensor) -> float:
        """Return the metric on features (N, D) and labels (N,)."""
        return float(class_metric_named(self.metric)(self.predict(features), labels, None))

    def describe(self) -> dict[str, Any]:
        """Return how the fit came about, as plain data: settings, the chosen k and its score."""
        return {
            "folds": self.folds,
            "k": self.k_,
            "temperature": self.temperature,
            "metric": self.metric,
            "cv_score": float(self.cv_scores_.max()),
            "neighbours_tried": list(self.neighbours_),
        }

    def _score_fold(self, held_out: Tensor) -> Tensor:
        """Return the score of each k on the images that are held out (N,), (K,)."""
        found = nearest(self._training[held_out], self._training[~held_out], self.neighbours_[-1], _WHAT)
        predictions = [votes.argmax(1) for votes in self._votes(found, self._encoded[~held_out], self.neighbours_)]
        return class_metric_named(self.metric)(torch.stack(predictions), self._encoded[held_out], None)

    def _votes(self, found: Neighbours, encoded: Tensor, numbers: Sequence[int]) -> Iterator[Tensor]:
        """Yield the votes (M, C) of the nearest k images for each of several k, ascending; one tensor, which grows."""
        # No weight overflows where the largest is 1.
        weights = ((found.similarities - found.similarities[:, :1]) / self.temperature).exp()
        votes = weights.new_zeros(len(weights), len(self.classes_))
        before = 0
        for number in numbers:
            near = slice(before, number)
            yield votes.scatter_add_(1, encoded[found.rows[:, near]], weights[:, near])
            before = number


def possible_neighbours(images: int, k: int | None) -> list[int]:
    """Return the numbers of neighbours to try, ascending, where a fold trains on so many images.

    Args:
        images: On which the smallest fold trains.
        k: That is asked for; None for all of ``NEIGHBOURS`` that are possible.

    Raises:
        ValueError: There are not so many.
    """
    most = min(images, MOST_NEIGHBOURS)
    if k is None:
        return [number for number in NEIGHBOURS if number <= most]
    if not 1 <= k <= most:
        raise ValueError(f"k={k}, expected 1 to {most}, as many as a fold trains on, and {MOST_NEIGHBOURS} at most")
    return [k]


def _unit_vectors(features: Tensor) -> Tensor:
    return normalize(check_features(features)).float()
