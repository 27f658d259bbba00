"""The probes against scikit-learn in the loop that a user would write."""

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold

from benchmarks.timing import Comparison, compare
from solo_invariance.transfer.probes import LogisticProbe, RidgeProbe
from solo_invariance.transfer.selection import penalty_grid


def run(quick: bool) -> Iterator[Comparison]:
    n, width, penalties = (600, 128, 12) if quick else (2000, 512, 45)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(n, width, dtype=torch.float64, generator=generator)
    weights = torch.randn(width, 10, dtype=torch.float64, generator=generator) / width**0.5
    targets = features @ weights[:, :8] + 0.5 * torch.randn(n, 8, dtype=torch.float64, generator=generator)
    labels = (features @ weights + torch.randn(n, 10, dtype=torch.float64, generator=generator)).argmax(dim=1)
    grid = penalty_grid()[torch.linspace(0, 44, penalties).long()]
    size = f"{penalties} penalties x 5 folds, n = {n}, D = {width}"
    yield compare(
        "ridge probe",
        lambda: RidgeProbe(grid).fit(features, targets),
        "scikit-learn's Ridge in a loop",
        lambda: _ridge_loop(features.numpy(), targets.numpy(), grid.numpy()),
        pairs=1 if not quick else 3,
        target=30,
        note=f"{size}, 8 targets",
    )
    yield compare(
        "logistic probe",
        lambda: LogisticProbe(grid).fit(features, labels),
        "scikit-learn's L-BFGS, warm starts",
        lambda: _logistic_loop(features.numpy(), labels.numpy(), grid.numpy()),
        pairs=1 if not quick else 3,
        target=5,
        note=f"{size}, 10 classes",
    )


def _ridge_loop(x: np.ndarray, y: np.ndarray, grid: np.ndarray) -> float:
    scores = [np.mean([Ridge(alpha).fit(x[a], y[a]).score(x[b], y[b]) for a, b in KFold(5).split(x)]) for alpha in grid]
    return Ridge(grid[int(np.argmax(scores))]).fit(x, y).score(x, y)


def _logistic_loop(x: np.ndarray, y: np.ndarray, grid: np.ndarray) -> float:
    import warnings

    scores = np.zeros(len(grid))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for a, b in StratifiedKFold(5).split(x, y):
            model = LogisticRegression(warm_start=True, max_iter=200)
            for index, penalty in enumerate(grid):
                model.set_params(C=1 / penalty)
                scores[index] += model.fit(x[a], y[a]).score(x[b], y[b])
        best = LogisticRegression(C=1 / grid[int(np.argmax(scores))], max_iter=200).fit(x, y)
    return best.score(x, y)
