"""The probes against scikit-learn in the loop that a user would write, and how their time grows."""

import itertools
import statistics
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks.rows import Row, judged
from benchmarks.running import Step
from benchmarks.timing import compare, in_turns
from solo_invariance.regression.cross_validation import assign_folds, penalty_grid
from solo_invariance.transfer.probes.few_shot import few_shot_episodes
from solo_invariance.transfer.probes.kernel_ridge import KernelRidgeProbe
from solo_invariance.transfer.probes.logistic import LogisticProbe
from solo_invariance.transfer.probes.member_weights import choose_member_weights
from solo_invariance.transfer.probes.multilabel import MultiLabelProbe
from solo_invariance.transfer.probes.nearest_neighbours import KNNProbe
from solo_invariance.transfer.probes.ridge import RidgeProbe
from solo_invariance.transfer.scores import (
    accuracy,
    bootstrap_interval,
    mean_average_precision,
    mean_per_class_accuracy,
)

_TEST_IMAGES = 4000


@dataclass(frozen=True)
class ProbeAgreement(Row):
    """The score on test images of a probe, and of the peer with the same folds.

    Args:
        what: The probe.
        against: The peer.
        score: R^2 or accuracy.
        peer_score: Likewise.
        limit: Of their difference.
        gradient_norm: Of the probe's objective, relative to its penalty's part.
    """

    title: ClassVar[str] = "Scores on test images, by the same folds"
    is_check: ClassVar[bool] = True
    what: str
    against: str
    score: float
    peer_score: float
    limit: float
    gradient_norm: float | None = None

    def met(self) -> bool:
        """Return whether the scores agree."""
        return abs(self.score - self.peer_score) <= self.limit

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        difference = abs(self.score - self.peer_score)
        return {
            "what": self.what,
            "against": self.against,
            "ours": f"{self.score:.4f}",
            "peer": f"{self.peer_score:.4f}",
            "difference": judged(f"{difference:.5f}", self.met()),
            "limit": f"{self.limit:.4f}",
            "gradient norm": "" if self.gradient_norm is None else f"{self.gradient_norm:.0e}",
        }


@dataclass(frozen=True)
class ProbeTime(Row):
    """How long a probe takes to choose and to fit.

    Args:
        what: The probe.
        images: In training, or those to score.
        features: Of an image.
        outputs: Targets, classes or labels.
        choices: Penalties, pairs of alpha and gamma, or what else is tried.
        seconds: Median.
    """

    title: ClassVar[str] = "Time of the probes, by size (5 folds)"
    what: str
    images: int
    features: int
    outputs: int
    choices: int
    seconds: float

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        sizes = {"images": self.images, "features": self.features, "outputs": self.outputs, "choices": self.choices}
        return {"what": self.what, **{name: str(size) for name, size in sizes.items()}, "time": f"{self.seconds:.3f} s"}


class Problem(NamedTuple):
    """Features (N, D) and targets (N,) or (N, T) of training and test images, and the folds (N,)."""

    features: Tensor
    targets: Tensor
    test_features: Tensor
    test_targets: Tensor
    fold_of: Tensor

    def splits(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the rows to train on and those held out."""
        for fold in range(5):
            held_out = (self.fold_of == fold).numpy()
            yield np.flatnonzero(~held_out), np.flatnonzero(held_out)


def steps(quick: bool) -> list[Step]:
    pairs = 3 if quick else 5
    return [
        Step("ridge against scikit-learn", 4 if quick else 100, partial(_ridge, quick, pairs), checks=True),
        Step("logistic against scikit-learn", 4 if quick else 90, partial(_logistic, quick, pairs), checks=True),
        Step(
            "kernel ridge against scikit-learn", 20 if quick else 280, partial(_kernel_ridge, quick, pairs), checks=True
        ),
        Step("time of the probes by size", 10 if quick else 90, partial(_scaling, quick)),
        Step("time of the other probes", 5 if quick else 40, partial(_other_probes, *_base(quick))),
        Step("time of intervals", 5 if quick else 60, partial(_intervals, 2000 if quick else 60_000)),
    ]


def _grid(quick: bool) -> tuple[int, int, Tensor, str]:
    count, width, penalties = (600, 128, 12) if quick else (2000, 512, 45)
    grid = penalty_grid()[torch.linspace(0, 44, penalties).long()]
    return count, width, grid, f"{penalties} penalties x 5 folds, n = {count}, D = {width}"


def _ridge(quick: bool, pairs: int) -> Iterator[Row]:
    count, width, grid, size = _grid(quick)
    problem = numbers(count, width, 8)
    peer = Peer("scikit-learn's Ridge in a loop", lambda: _ridge_loop(problem, grid.tolist()), 30, 1e-4)
    yield from _compared(peer, "ridge probe", RidgeProbe(grid), problem, pairs, f"{size}, 8 targets")


def _logistic(quick: bool, pairs: int) -> Iterator[Row]:
    count, width, grid, size = _grid(quick)
    problem = classes(count, width)
    peer = Peer("scikit-learn's L-BFGS, warm starts", lambda: _logistic_loop(problem, grid.tolist()), 5, 2e-3)
    yield from _compared(peer, "logistic probe", LogisticProbe(grid), problem, pairs, f"{size}, 10 classes")


def _kernel_ridge(quick: bool, pairs: int) -> Iterator[Row]:
    count, width = (200, 16) if quick else (400, 64)
    problem = latents(count, width)
    peer = Peer("scikit-learn's KernelRidge, target by target", lambda: _kernel_loop(problem), 8, 1e-3)
    size = f"40 pairs x 5 folds, n = {count}, D = {width}, 10 latents"
    yield from _compared(peer, "kernel ridge probe", KernelRidgeProbe(), problem, pairs, size)


class Peer(NamedTuple):
    """What scikit-learn does instead, which returns its score on test images; the ratio and difference aimed for."""

    name: str
    loop: Callable[[], float]
    target: float
    limit: float


def _compared(
    peer: Peer, what: str, probe: RidgeProbe | LogisticProbe | KernelRidgeProbe, problem: Problem, pairs: int, note: str
) -> Iterator[Row]:
    scores: list[float] = []
    yield compare(
        what,
        lambda: probe.fit(problem.features, problem.targets),
        peer.name,
        lambda: scores.append(peer.loop()),
        pairs=pairs,
        target=peer.target,
        note=note,
    )
    score = probe.score(problem.test_features, problem.test_targets)
    yield ProbeAgreement(what, peer.name, score, scores[-1], peer.limit, probe.describe().get("gradient_norm"))


def _ridge_loop(problem: Problem, grid: list[float]) -> float:
    x, y = problem.features.numpy(), problem.targets.numpy()

    def model(penalty: float) -> Any:
        return make_pipeline(StandardScaler(), Ridge(penalty))

    scores = [
        np.mean([model(penalty).fit(x[a], y[a]).score(x[b], y[b]) for a, b in problem.splits()]) for penalty in grid
    ]
    best = model(grid[int(np.argmax(scores))]).fit(x, y)
    return float(best.score(problem.test_features.numpy(), problem.test_targets.numpy()))


def _logistic_loop(problem: Problem, grid: list[float]) -> float:
    x, y = problem.features.numpy(), problem.targets.numpy()
    scores = np.zeros(len(grid))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for a, b in problem.splits():
            scale = StandardScaler().fit(x[a])
            model = LogisticRegression(warm_start=True, max_iter=200)
            for index, penalty in enumerate(grid):
                model.set_params(C=1 / penalty)
                scores[index] += model.fit(scale.transform(x[a]), y[a]).score(scale.transform(x[b]), y[b])
        # Of several that are best, the strongest, as the probe.
        chosen = len(grid) - 1 - int(np.argmax(scores[::-1]))
        best = make_pipeline(StandardScaler(), LogisticRegression(C=1 / grid[chosen], max_iter=200)).fit(x, y)
    return float(best.score(problem.test_features.numpy(), problem.test_targets.numpy()))


def _kernel_loop(problem: Problem) -> float:
    """Every target by itself, as the official code's ten runs do."""
    x, z = problem.features.numpy(), problem.test_features.numpy()
    scores = []
    for y, truth in zip(problem.targets.T.numpy(), problem.test_targets.T.numpy(), strict=True):
        best, chosen = -np.inf, (1.0, 1.0)
        for alpha, gamma in itertools.product(np.logspace(0, -4, 5), np.logspace(-5, 2, 8)):
            model = make_pipeline(StandardScaler(), KernelRidge(alpha=alpha, kernel="rbf", gamma=gamma))
            score = np.mean([model.fit(x[a], y[a]).score(x[b], y[b]) for a, b in problem.splits()])
            best, chosen = max((best, chosen), (score, (alpha, gamma)), key=lambda pair: pair[0])
        alpha, gamma = chosen
        model = make_pipeline(StandardScaler(), KernelRidge(alpha=alpha, kernel="rbf", gamma=gamma))
        scores.append(model.fit(x, y).score(z, truth))
    return float(np.mean(scores))


def _base(quick: bool) -> tuple[int, int]:
    return (300, 64) if quick else (2000, 512)


def _scaling(quick: bool) -> Iterator[Row]:
    base, sizes = _base(quick), [(400, 64), (300, 128)] if quick else [(8000, 512), (2000, 2048)]
    for count, width in (base, *sizes):
        yield _time_linear(RidgeProbe, "ridge", numbers(count, width, 10))
        yield _time_linear(LogisticProbe, "logistic", classes(count, width))
    for penalties in (5, 15):
        grid = penalty_grid()[torch.linspace(0, 44, penalties).long()]
        yield _time_linear(RidgeProbe, "ridge", numbers(*base, 10), grid)
        yield _time_linear(LogisticProbe, "logistic", classes(*base), grid)
    for count in (200, 400) if quick else (1000, 2000):
        problem = latents(count, 64)
        fit = KernelRidgeProbe().fit
        yield _timed("kernel ridge", problem, 10, 40, partial(fit, problem.features, problem.targets))


def _time_linear(
    kind: type[RidgeProbe] | type[LogisticProbe], what: str, problem: Problem, grid: Tensor | None = None
) -> Row:
    tried = 45 if grid is None else len(grid)
    return _timed(what, problem, 10, tried, lambda: kind(grid).fit(problem.features, problem.targets))


def _other_probes(count: int, width: int) -> Iterator[Row]:
    labelled, labels = classes(count, width), numbers(count, width, 20)
    positive = labels.targets > 1
    yield _timed("multi-label", labels, 20, 45, lambda: MultiLabelProbe().fit(labels.features, positive))
    yield _timed("nearest neighbours", labelled, 10, 7, lambda: KNNProbe().fit(labelled.features, labelled.targets))
    episodes = partial(few_shot_episodes, labelled.features, labelled.targets, episodes=600)
    yield _timed("few-shot, 600 episodes", labelled, 5, 1, episodes)
    thirds = labelled.features.tensor_split(3, dim=1)
    found = choose_member_weights(thirds, labelled.targets, "classification")
    choose = partial(choose_member_weights, thirds, labelled.targets, "classification")
    yield _timed("weights of three members", labelled, 10, len(found.table), choose)


def _intervals(count: int) -> Iterator[Row]:
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(100, (count,), generator=generator)
    values = torch.randn(count, 20, generator=generator)
    intervals = {
        "interval, 1000 resamples: accuracy": partial(bootstrap_interval, accuracy, classes, classes.roll(1)),
        "mean per-class accuracy": partial(bootstrap_interval, mean_per_class_accuracy, classes, classes.roll(1)),
        "mean average precision": partial(bootstrap_interval, mean_average_precision, values, values.roll(1, 0) > 1),
    }
    for what, interval in intervals.items():
        outputs = 20 if "precision" in what else 100
        yield ProbeTime(what, count, 0, outputs, 1000, statistics.median(in_turns([interval], 1)[0]))


def _timed(what: str, problem: Problem, outputs: int, choices: int, fit: Callable[[], object]) -> Row:
    return ProbeTime(what, *problem.features.shape, outputs, choices, statistics.median(in_turns([fit], 1)[0]))


def numbers(count: int, width: int, targets: int) -> Problem:
    """Return numbers to predict."""
    features, values, noise = _draw(count, width, targets)
    return _problem(features, values + 0.5 * noise, count)


def classes(count: int, width: int) -> Problem:
    """Return ten classes to predict."""
    features, values, noise = _draw(count, width, 10)
    return _problem(features, (values + noise).argmax(dim=1), count)


def latents(count: int, width: int) -> Problem:
    """Return ten functions of the features, some linear and some not."""
    features, values, noise = _draw(count, width, 10)
    bent = torch.where(torch.arange(10) % 2 == 0, values, (2 * values).sin() + values)
    return _problem(features, bent + 0.3 * noise, count)


def _draw(count: int, width: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return features, linear functions of them and noise, each for training and test images."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count + _TEST_IMAGES, width, dtype=torch.float64, generator=generator)
    slopes = torch.randn(width, columns, dtype=torch.float64, generator=generator) / width**0.5
    noise = torch.randn(count + _TEST_IMAGES, columns, dtype=torch.float64, generator=generator)
    return features, features @ slopes, noise


def _problem(features: Tensor, targets: Tensor, count: int) -> Problem:
    labels = targets[:count] if targets.ndim == 1 else None
    fold_of = assign_folds(count, 5, 0, labels)
    return Problem(features[:count], targets[:count], features[count:], targets[count:], fold_of)
