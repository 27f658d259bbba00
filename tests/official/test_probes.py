"""Probes have the scores of the official code's loops, on the same features."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.utils.data import TensorDataset

from solo_invariance.regression.cross_validation import penalty_grid
from solo_invariance.transfer.probes import KernelRidgeProbe, OfficialLogisticProbe, RidgeProbe

pytestmark = [pytest.mark.official, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")]
Official = Callable[[str], ModuleType]


class _Labelled(TensorDataset):
    """Features in place of images."""


def _problem(count: int = 230, size: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, size, generator=generator).relu() * torch.logspace(-1, 1, size)
    slopes = torch.randn(size, 3, generator=generator) / torch.logspace(-1, 1, size)[:, None]
    return features, features @ slopes + torch.randn(count, 3, generator=generator)


def _downstream(module: ModuleType, mode: str, targets: torch.Tensor, features: torch.Tensor) -> Any:
    class Identity(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    data = _Labelled(features[:180], targets[:180]), _Labelled(features[180:], targets[180:])
    return module.CVTester(mode, Identity(), *data, "cpu", 3, 1)


@pytest.mark.parametrize("metric", ["accuracy", "mean_per_class_accuracy"])
def test_logistic_regression(official: Official, monkeypatch: pytest.MonkeyPatch, metric: str) -> None:
    module = official("eval_downstream")
    # Newer versions of scikit-learn have no other multi_class than the one that it asks for.
    monkeypatch.setattr(module, "LogReg", lambda multi_class, **options: LogisticRegression(**options))
    if metric == "mean_per_class_accuracy":
        monkeypatch.setattr(module, "Flowers", _Labelled)  # it is by the dataset that it chooses the metric
    features, values = _problem()
    tester = _downstream(module, "classification", values.argmax(1), features)
    np.random.seed(7)  # noqa: NPY002
    tester.validate()
    score, _ = tester.evaluate()
    x, y = torch.from_numpy(tester.X_trainval_feature), torch.from_numpy(tester.y_trainval)
    probe = OfficialLogisticProbe(penalty_grid(protocol="paper"), seed=7, metric=metric).fit(x, y)
    test = torch.from_numpy(tester.X_test_feature), torch.from_numpy(tester.y_test)
    assert 1 / probe.penalty_ == tester.best_params["C"]
    assert probe.score(*test) == score


def test_ridge(official: Official) -> None:
    features, values = _problem()
    tester = _downstream(official("eval_downstream"), "regression", values.double(), features.double())
    np.random.seed(7)  # noqa: NPY002
    tester.validate()
    score, _ = tester.evaluate()
    x, y = torch.from_numpy(tester.X_trainval_feature), torch.from_numpy(tester.y_trainval)
    probe = RidgeProbe(protocol="paper", seed=7).fit(x, y)
    test = torch.from_numpy(tester.X_test_feature), torch.from_numpy(tester.y_test)
    assert 1 / probe.penalty_ == tester.best_params["C"]
    assert probe.score(*test) == pytest.approx(score, abs=1e-10)


def test_kernel_ridge(official: Official) -> None:
    class Identity(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    features, values = _problem(150, 6)
    data = _Labelled(features[:100].double(), values[:100, 0]), _Labelled(features[100:].double(), values[100:, 0])
    tester = official("eval_causal3dident").CVTester(Identity(), *data, "cpu")
    np.random.seed(7)  # noqa: NPY002
    tester.validate()
    score = tester.evaluate()
    x, y = torch.from_numpy(tester.X_trainval_feature), torch.from_numpy(tester.y_trainval)
    probe = KernelRidgeProbe(protocol="paper", seed=7).fit(x, y)
    assert (probe.alpha_.item(), probe.gamma_.item()) == pytest.approx(tuple(tester.best_params.values()))
    test = torch.from_numpy(tester.X_test_feature), torch.from_numpy(tester.y_test)
    assert probe.score(*test) == pytest.approx(score, abs=1e-6)
