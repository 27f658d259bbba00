"""Reading a task's targets off features, of images as they are and of their views."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from solo_invariance.advise.invariant import Components, Variation, invariant_directions, widths_of
from solo_invariance.bootstrap import Estimate, ResampledScores, estimate, resampled_scores
from solo_invariance.transfer.kinds import Kind, kind_named
from solo_invariance.transfer.probes import RidgeProbe
from solo_invariance.transfer.scores import metric_named

_RESAMPLES = 1000


@dataclass(frozen=True)
class Reading:
    """How targets are read: by ridge regression, of classes and labels by that of numbers that stand for them.

    Args:
        kind: What the targets are.
        metric: Of the score.
        train: Targets (N,) or (N, T).
        test: Targets (M,) or (M, T).
        seed: Of folds and resamples.
    """

    kind: Kind
    metric: str
    train: Tensor
    test: Tensor
    seed: int = 0

    @classmethod
    def of(cls, kind: str, metric: str, train: Tensor, test: Tensor, seed: int) -> "Reading":
        """Return how targets of some kind are read and scored."""
        return cls(kind_named(kind), metric, train, test, seed)

    def predictions(self, train: Tensor, *tests: Tensor, scaled: bool = False) -> list[Tensor]:
        """Return predictions (M,) or (M, T) from each of some test features (M, D).

        Args:
            train: Features of k views of each training image, (N, k, D), which a regression is fitted to. Its penalty
                is chosen by cross-validation on the first views: no image is in two folds.
            tests: (M, D).
            scaled: Whether the scale of features means something: of standardised principal components, the last are
                noise, and as many as there are images tell each of these from all others.
        """
        k, first = train.shape[1], train[:, 0]
        columns = self.kind.as_columns(self.train, first).columns
        weights = first.std(0) if scaled else None
        probe = RidgeProbe(seed=self.seed, feature_weights=weights).fit(first, columns)
        if k > 1:
            every, weights = train.flatten(0, 1), train.flatten(0, 1).std(0) if scaled else None
            probe = RidgeProbe(torch.tensor([k * probe.penalty_]), seed=self.seed, feature_weights=weights)
            probe.fit(every, columns.repeat_interleave(k, 0))
        return [self._as_targets(probe.predict(test)) for test in tests]

    def score(self, predictions: Tensor) -> ResampledScores:
        """Return the score, with those of bootstrap samples of the test images, which are the same in every call."""
        return resampled_scores(metric_named(self.metric), predictions, self.test, _RESAMPLES, self.seed)

    def change(self, before: Tensor, after: Tensor) -> Estimate:
        """Return how much predictions (M,) or (M, T) change.

        Returns:
            The share of images that get another class, of labels that turn; of numbers, the mean squared change by
            twice the variance of the targets: 1 as if each image had another's.
        """
        if self.kind.has_classes:
            terms = (before != after).double()
        elif self.kind.must_vary:
            terms = ((after - before) ** 2 / (2 * self.test.double().var(0))).mean(1)
        else:
            terms = ((before > 0) != (after > 0)).double().mean(1)
        return estimate(terms[:, None], seed=self.seed)

    def _as_targets(self, columns: Tensor) -> Tensor:
        return self.train.unique()[columns.argmax(1)] if self.kind.has_classes else columns


@dataclass(frozen=True)
class Effect:
    """What a change of the images does to a task, or what training on its views would.

    Attributes:
        strength: The part of the features' variance that it changes, in [0, 1].
        change: Of the predictions of a reader of images as they are.
        seen: Scores where views are all that is seen, in training and in the test.
        kept: Scores of images as they are where features are kept that views share, the mean over widths.
    """

    strength: float
    change: Estimate
    seen: ResampledScores
    kept: ResampledScores


@dataclass(frozen=True)
class Bench:
    """A task with features of its images as they are.

    Args:
        reading: Its targets.
        train: (N, D).
        test: (M, D).
    """

    reading: Reading
    train: Tensor
    test: Tensor

    @cached_property
    def components(self) -> Components:
        """What is read of features."""
        return Components.of(self.train)

    @cached_property
    def _plain(self) -> tuple[Tensor, Tensor]:
        return self.components.apply(self.train), self.components.apply(self.test)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many features are kept."""
        return widths_of(self.components.axes.shape[1])

    @cached_property
    def score(self) -> ResampledScores:
        """Scores of images as they are, with all components."""
        train, test = self._plain
        return self.reading.score(self.reading.predictions(train[:, None], test, scaled=True)[0])

    @cached_property
    def kept(self) -> ResampledScores:
        """Scores of images as they are with principal components alone: what is kept where nothing is invariant."""
        return self._kept(Variation.of(self._plain[0][:, None]))

    def effect(self, train: Tensor, test: Tensor) -> Effect:
        """Return the effect of a change.

        Args:
            train: Features of k views of each training image, (N, k, D).
            test: Features of a view of each test image, (M, D).
        """
        views, test_views = self.components.apply(train), self.components.apply(test)
        plain, plain_test = self._plain
        before, after = self.reading.predictions(plain[:, None], plain_test, test_views, scaled=True)
        (seen,) = self.reading.predictions(views, test_views, scaled=True)
        variation = Variation.of(views)
        return Effect(
            variation.share_within,
            self.reading.change(before, after),
            self.reading.score(seen),
            self._kept(variation),
        )

    def _kept(self, variation: Variation) -> ResampledScores:
        train, test = self._plain
        directions = invariant_directions(variation, train)
        scores = []
        for width in self.widths:
            kept = directions[:, :width]
            (predictions,) = self.reading.predictions((train @ kept)[:, None], test @ kept)
            scores.append(self.reading.score(predictions))
        return mean_of(scores)


def mean_of(scores: list[ResampledScores]) -> ResampledScores:
    """Return the mean of scores on the same resamples."""
    score = torch.stack([one.score.double() for one in scores]).mean()
    samples = torch.stack([one.samples.double() for one in scores]).mean(0)
    return ResampledScores(score, samples, scores[0].num_images)
