"""How much each member of a fusion should count, chosen by cross-validation."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from solo_invariance.protocols import Protocol, ProtocolName, protocol_named
from solo_invariance.regression.banded_ridge import banded_ridge
from solo_invariance.regression.cross_validation import assign_folds
from solo_invariance.transfer.kinds import Columns, kind_named
from solo_invariance.transfer.probes.inputs import check_features
from solo_invariance.transfer.probes.linear import Prepared, held_out_by, penalties_to_try, prepare
from solo_invariance.transfer.scores import Metric

# Weights are tried so many times larger and smaller, and the penalty by the square, until nothing helps.
_STEPS = (10.0, 10.0**0.5, 10.0**0.25)
_ROUNDS = 4
_EVERY = 4  # of the grid's penalties is tried to begin with
_LEAST_GAIN = 1e-9
# A few numbers are chosen: more images would take time and memory, and choose the same.
_MOST_IMAGES = 10_000

Weights = tuple[float, ...]
Number = TypeVar("Number", float, Tensor)


class Trial(NamedTuple):
    """The score, averaged over the folds, of members with these weights, and this penalty of squared coefficients."""

    weights: Weights
    penalty: float
    score: float


@dataclass(frozen=True)
class MemberWeights:
    """The best that was found.

    Args:
        weights: Of the members, the largest 1, (M,), float64; members of equal weights have equal variance in all.
        feature_weights: For a probe of the members' features side by side: what to multiply each by once it is
            standardised, (D,), float64.
        penalty: Of ``RidgeProbe`` with these feature weights.
        cv_score: R^2, accuracy or mean average precision of ridge regression, averaged over the folds.
        table: All that was tried, in that order, with the largest weight 1.
    """

    weights: Tensor
    feature_weights: Tensor
    penalty: float
    cv_score: float
    table: tuple[Trial, ...]


@torch.no_grad()
def choose_member_weights(
    members: Sequence[Tensor],
    targets: Tensor,
    kind: str,
    folds: int = 5,
    protocol: ProtocolName = "clean",
    seed: int = 0,
    penalties: Tensor | None = None,
    feature_weights: Tensor | None = None,
    by_accuracy: bool = False,
) -> MemberWeights:
    r"""Choose a weight for each member of a fusion, so that each has its own penalty.

    A member of weight :math:`w` has the penalty :math:`\lambda / w^2`, and one of weight 0 is left out (banded ridge
    regression; see ``banded_ridge``). Each member is first divided by the root of its total variance, so that neither
    its width nor its scale decides. From equal weights with their best penalty, one weight or the penalty is changed at
    a time, in ever smaller steps, to what scores best in cross-validation on these training images. The scores are
    those of ridge regression, on class indicators for classes, on 1 and -1 for labels: R^2, or mean average precision
    for labels. Of classes, too, it is R^2: accuracy jumps from image to image, and the best of many trials would be
    the luckiest one. A trial takes one Cholesky
    factor of the smaller of N and D for each fold, by Gram matrices that are computed once: one of D x D for each fold
    or, with more features than images, one of N x N for each fold and member. Of more than 10 000 images, so many are
    drawn with the seed to choose by.

    Args:
        members: Features of each on the same images, (N, D_m).
        targets: (N,) integers for ``classification``, (N, C) bool for ``multilabel``, (N, T) or (N,) for
            ``regression``.
        kind: One of those.
        folds: Of the cross-validation, stratified for classes in ``clean``, as the probes'.
        protocol: ``clean`` or ``paper``, by which features are standardised and penalties inverted.
        seed: Of the folds.
        penalties: Where to begin, (P,); ``penalty_grid()`` where left out.
        feature_weights: What standardised features are multiplied by before all this, (D,).
        by_accuracy: Score classes by the accuracy of the largest indicator after all.

    Raises:
        ValueError: There are no members, shapes do not fit, a row is not finite (the first is named), there are too
            many folds, or there is no such kind.
    """
    members, targets = _some_images(members, targets, seed)
    bands = _bands(members)
    widths = [band.shape[1] for band in bands]
    features = torch.cat(bands, dim=1)
    of_kind, quirks = kind_named(kind), protocol_named(protocol)
    goal = of_kind.as_columns(targets, features)
    strengths = _inverted(penalties_to_try(penalties, protocol), quirks)
    labels = goal.truth if of_kind.has_classes and quirks.stratifies else None
    held_out = held_out_by(assign_folds(len(features), folds, seed, labels, at_least=2).to(features.device), folds)
    prepared = prepare(features, held_out, protocol, feature_weights)
    scales = _scales(widths, prepared.features)
    by = of_kind.selection if by_accuracy else of_kind.weighting
    evidence = _Evidence(prepared, scales, goal, by.function, held_out, widths)
    best, trials = _search(evidence.score, len(bands), strengths.tolist())
    per_member = scales.new_tensor(best.weights).repeat_interleave(torch.tensor(widths, device=scales.device))
    return MemberWeights(
        scales.new_tensor(best.weights),
        per_member * scales if feature_weights is None else per_member * scales * feature_weights.to(scales),
        _inverted(best.penalty, quirks),
        best.score,
        tuple(trial._replace(penalty=_inverted(trial.penalty, quirks)) for trial in trials),
    )


class _Evidence:
    """The folds' regressions, which score any weights and strength of the penalty."""

    def __init__(
        self,
        prepared: Prepared,
        scales: Tensor,
        goal: Columns,
        metric: Metric,
        held_out: Tensor,
        widths: Sequence[int],
    ) -> None:
        self.goal = goal
        self.metric = metric
        self.held_out = held_out
        features = prepared.features * scales
        self.means, self.regressions = [], []
        for fold, deviation in zip(held_out.T, prepared.deviations.T, strict=True):
            training, targets = features[~fold] / deviation, goal.columns[~fold]
            mean, target_mean = training.mean(0), targets.mean(0)
            others = features[fold] / deviation - mean
            self.means.append(target_mean)
            self.regressions.append(banded_ridge(training - mean, targets - target_mean, others, widths))

    def score(self, weights: Weights, strength: float) -> float:
        """Return the score of held-out images, averaged over the folds."""
        predictions = torch.empty_like(self.goal.columns)
        each = predictions.new_tensor(weights)
        for fold, mean, regression in zip(self.held_out.T, self.means, self.regressions, strict=True):
            predictions[fold] = mean + regression.predict(each, strength)
        return float(self.metric(predictions, self.goal.truth, self.held_out.T.double()).mean())


def _some_images(members: Sequence[Tensor], targets: Tensor, seed: int) -> tuple[Sequence[Tensor], Tensor]:
    """Return a sample of the images, drawn with the seed, where there are more than it takes to choose by."""
    count = len(targets)
    if count <= _MOST_IMAGES or any(len(member) != count for member in members):
        return members, targets
    rows = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:_MOST_IMAGES].sort().values
    rows = rows.to(targets.device)
    return [member[rows] for member in members], targets[rows]


def _bands(members: Sequence[Tensor]) -> list[Tensor]:
    if not members:
        raise ValueError("no members were given, expected one at least")
    bands = [check_features(member) for member in members]
    if len({len(band) for band in bands}) > 1:
        raise ValueError(f"members have features of {', '.join(str(len(band)) for band in bands)} images")
    return bands


def _scales(widths: Sequence[int], features: Tensor) -> Tensor:
    """Return what to multiply each feature by, (D,), so that members have equal total variances; 0 where there is none.

    All features together have the variance of standardised ones, so that penalties mean what they mean there.
    """
    variances = features.var(0, correction=0)
    totals = torch.stack([part.sum() for part in variances.split(list(widths))])
    share = (variances > 0).sum() / (totals > 0).sum().clamp_min(1)
    scales = torch.where(totals > 0, (share / totals).sqrt(), 0)
    return scales.repeat_interleave(torch.tensor(widths, device=scales.device))


def _search(
    score: Callable[[Weights, float], float], members: int, strengths: Sequence[float]
) -> tuple[Trial, tuple[Trial, ...]]:
    """Return the best trial and all of them; what was tried is not tried again."""
    trials: dict[tuple[Weights, float], Trial] = {}

    def better(best: Trial | None, candidates: Iterable[tuple[Weights, float]]) -> Trial:
        for candidate in candidates:
            key = _with_largest_one(*candidate)
            if key not in trials:
                trials[key] = Trial(*key, score(*key))
            if best is None or trials[key].score > best.score + _LEAST_GAIN:
                best = trials[key]
        assert best is not None
        return best

    best = better(None, (((1.0,) * members, strength) for strength in sorted(strengths, reverse=True)[::_EVERY]))
    for step in _STEPS:
        for _ in range(_ROUNDS):
            before = best
            for member in range(members):
                best = better(best, _other_weights(best, member, step))
            best = better(best, ((best.weights, best.penalty * factor) for factor in (step**2, step**-2)))
            if best is before:
                break
    return best, tuple(trials.values())


def _with_largest_one(weights: Weights, strength: float) -> tuple[Weights, float]:
    """Return the same regression with the largest weight 1, rounded, so that it is known when met again."""
    largest = max(weights)
    return tuple(_rounded(weight / largest) for weight in weights), _rounded(strength / largest**2)


def _rounded(number: float) -> float:
    return float(f"{number:.9g}")


def _other_weights(trial: Trial, member: int, step: float) -> Iterator[tuple[Weights, float]]:
    """Yield the trial with one member left out, or weighed less or more; one that was left out comes back."""
    before, weight, after = trial.weights[:member], trial.weights[member], trial.weights[member + 1 :]
    others = [other for other in before + after if other]
    if not others:
        return
    candidates = (0.0, weight / step, weight * step) if weight else (min(others) / step, min(others))
    for candidate in candidates:
        yield (*before, candidate, *after), trial.penalty


def _inverted(penalty: Number, quirks: Protocol) -> Number:
    """Return the strength of a penalty, or the penalty of a strength; in ``paper``, one is one over the other."""
    return 1 / penalty if quirks.penalty_is_inverse else penalty
