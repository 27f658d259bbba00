from collections.abc import Iterable

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from solo_invariance.protocols import ProtocolName
from solo_invariance.regression.cross_validation import assign_folds
from solo_invariance.transfer.probes import kernel_ridge
from solo_invariance.transfer.probes.kernel_ridge import KernelRidgeProbe, squared_distances

ALPHAS = torch.tensor([1e-4, 1.0, 1e-2], dtype=torch.float64)
GAMMAS = torch.tensor([1e-3, 1e2, 1e-1], dtype=torch.float64)


def problem(count: int = 90, size: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Targets of unequal smoothness, off centre."""
    generator = torch.Generator().manual_seed(seed)
    features = 3 + torch.randn(count, size, generator=generator, dtype=torch.float64) * torch.logspace(-2, 2, size)
    noise = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    first, second = features[:, 0] * 100 - 300, features[:, 1]
    truth = torch.stack([first, first.sin() + second, (first * 2).cos()], dim=1)
    return features, truth + torch.tensor([1.0, 0.1, 0.5]) * noise + 0.5


def reference(protocol: ProtocolName, alpha: float, gamma: float, train: tuple[Tensor, Tensor], test: Tensor) -> Tensor:
    model = make_pipeline(StandardScaler(), KernelRidge(kernel="rbf", alpha=alpha, gamma=gamma))
    mean = train[1].mean(0) if protocol == "clean" else torch.zeros(3, dtype=torch.float64)
    model.fit(train[0].numpy(), (train[1] - mean).numpy())
    return torch.from_numpy(model.predict(test.numpy())) + mean


def cross_validated(
    protocol: ProtocolName, alpha: float, gamma: float, features: Tensor, targets: Tensor, folds: Iterable[np.ndarray]
) -> list[float]:
    scores = []
    for rows in folds:
        held_out = torch.zeros(len(features), dtype=torch.bool)
        held_out[torch.from_numpy(rows)] = True
        train = features[~held_out], targets[~held_out]
        predicted = reference(protocol, alpha, gamma, train, features[held_out])
        scores.append(r2_score(targets[held_out].numpy(), predicted.numpy(), multioutput="raw_values"))
    return np.mean(scores, axis=0).tolist()


@pytest.mark.parametrize("protocol", ["clean", "paper"])
@pytest.mark.parametrize("alpha", [1e-4, 1.0])
@pytest.mark.parametrize("gamma", [1e-5, 1e-2, 1e2])
def test_fixed_parameters_are_scikit_learns(protocol: ProtocolName, alpha: float, gamma: float) -> None:
    features, targets = problem()
    train, test = (features[:60], targets[:60]), features[60:]
    probe = KernelRidgeProbe(torch.tensor([alpha]).double(), torch.tensor([gamma]).double(), protocol=protocol)
    expected = reference(protocol, alpha, gamma, train, test)
    assert torch.allclose(probe.fit(*train).predict(test), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_each_target_chooses_as_ten_single_runs_would(protocol: ProtocolName) -> None:
    features, targets = problem()
    probe = KernelRidgeProbe(ALPHAS[1:], GAMMAS, protocol=protocol, seed=2).fit(features, targets)
    pairs = [(alpha, gamma) for alpha in ALPHAS[1:].tolist() for gamma in GAMMAS[[0, 2, 1]].tolist()]
    # The paper's are drawn anew for each pair, from one generator.
    fold_of, shuffled = assign_folds(90, 5, 2).numpy(), KFold(5, shuffle=True, random_state=np.random.RandomState(2))
    scores = []
    for pair in pairs:
        redrawn = [rows for _, rows in shuffled.split(features)]
        folds = redrawn if protocol == "paper" else [np.flatnonzero(fold_of == fold) for fold in range(5)]
        scores.append(cross_validated(protocol, *pair, features, targets, folds))
    scores = np.array(scores)
    assert torch.allclose(probe.cv_scores_.flatten(0, 1), torch.from_numpy(scores), atol=1e-6)
    best = [pairs[row] for row in scores.argmax(0)]
    assert list(zip(probe.alpha_.tolist(), probe.gamma_.tolist(), strict=True)) == best
    assert len({*probe.gamma_.tolist()}) > 1


def test_targets_together_are_the_targets_alone() -> None:
    features, targets = problem()
    together = KernelRidgeProbe(ALPHAS, GAMMAS).fit(features, targets)
    for index in range(3):
        alone = KernelRidgeProbe(ALPHAS, GAMMAS).fit(features, targets[:, index])
        assert alone.predict(features).shape == (90,)
        assert torch.allclose(alone.predict(features), together.predict(features)[:, index])
        assert alone.alpha_.item() == together.alpha_[index]


def test_the_papers_grid_is_the_default() -> None:
    features, targets = problem(30)
    probe = KernelRidgeProbe().fit(features, targets)
    assert probe.cv_scores_.shape == (5, 8, 3)
    assert probe.alphas_.log10().tolist() == pytest.approx([0, -1, -2, -3, -4])
    assert probe.gammas_.log10().tolist() == pytest.approx([-5, -4, -3, -2, -1, 0, 1, 2])


def test_a_kernel_that_is_the_identity_predicts_the_mean_and_the_simplest_pair_is_taken() -> None:
    features, targets = problem(40, size=50)
    probe = KernelRidgeProbe(ALPHAS, torch.tensor([100.0, 1000.0])).fit(features, targets)
    assert torch.allclose(probe.predict(features + 50), targets.mean(0).expand(40, 3))
    assert probe.alpha_.tolist() == [1.0] * 3
    assert probe.gamma_.tolist() == [100.0] * 3
    assert torch.allclose(probe.dual_coef_, (targets - targets.mean(0)) / 2)


def test_predictions_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    features, targets = problem()
    probe = KernelRidgeProbe(ALPHAS, GAMMAS).fit(features, targets)
    whole = probe.predict(features)
    monkeypatch.setattr(kernel_ridge, "_ENTRIES_AT_ONCE", 7 * 90)
    assert torch.allclose(probe.predict(features), whole, atol=1e-12)


def test_held_out_images_do_not_scale_the_features() -> None:
    features, targets = problem()
    fold_of = assign_folds(90, 5, seed=0)
    planted = features.clone()
    planted[fold_of == 0] *= 100
    probe = KernelRidgeProbe(ALPHAS[1:2], GAMMAS[2:]).fit(planted, targets)
    folds = [np.flatnonzero(assign_folds(len(planted), 5, 0).numpy() == fold) for fold in range(5)]
    expected = cross_validated("clean", 1.0, float(GAMMAS[2]), planted, targets, folds)
    assert probe.cv_scores_[0, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_copies_of_images_and_an_alpha_below_rounding_are_solved() -> None:
    features, targets = problem(30)
    features, targets = features.repeat(3, 1), targets.repeat(3, 1)
    probe = KernelRidgeProbe(torch.tensor([1e-18]).double(), torch.tensor([0.1])).fit(features, targets)
    assert torch.allclose(probe.predict(features), targets, atol=1e-6)


def test_constant_features_predict_the_mean() -> None:
    targets = torch.arange(10.0)
    probe = KernelRidgeProbe(ALPHAS, GAMMAS).fit(torch.ones(10, 3), targets)
    assert probe.predict(torch.ones(2, 3)).tolist() == pytest.approx([4.5, 4.5])


def test_description_is_plain_data() -> None:
    features, targets = problem(30)
    described = KernelRidgeProbe(ALPHAS, GAMMAS).fit(features, targets).describe()
    assert described["pairs_tried"] == 9
    assert [len(described[key]) for key in ("alpha", "gamma", "cv_score")] == [3, 3, 3]
    assert all(isinstance(value, float) for value in described["alpha"])


def test_distances_are_the_differences_norms() -> None:
    left, right = torch.rand(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = ((left[:, None] - right) ** 2).sum(2)
    assert torch.allclose(squared_distances(left, right), expected)
    assert squared_distances(left, left).diagonal().tolist() == [0.0] * 5


def test_bad_input_is_refused() -> None:
    features, targets = problem(20)
    with pytest.raises(RuntimeError, match="KernelRidgeProbe has not been fitted"):
        KernelRidgeProbe().predict(features)
    with pytest.raises(ValueError, match="protocol='dirty'"):
        KernelRidgeProbe(protocol="dirty").fit(features, targets)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="20 rows of features, but 19 targets"):
        KernelRidgeProbe().fit(features, targets[1:])
    with pytest.raises(ValueError, match="expected finite and positive"):
        KernelRidgeProbe(torch.tensor([0.0])).fit(features, targets)
    probe = KernelRidgeProbe(ALPHAS, GAMMAS).fit(features, targets)
    with pytest.raises(ValueError, match=r"features of shape \(20, 3\), expected \(N, 6\)"):
        probe.predict(features[:, :3])
