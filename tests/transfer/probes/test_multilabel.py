import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from solo_invariance.protocols import ProtocolName
from solo_invariance.regression.cross_validation import assign_folds
from solo_invariance.transfer.probes.multilabel import MultiLabelProbe

PENALTIES = torch.logspace(-2, 3, 6, dtype=torch.float64)


def problem(count: int = 150, size: int = 10, labels: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, size, generator=generator, dtype=torch.float64)
    slopes = torch.randn(size, labels, generator=generator, dtype=torch.float64)
    noise = 2 * torch.randn(count, labels, generator=generator, dtype=torch.float64)
    spread = torch.logspace(-1, 1, size, dtype=torch.float64)
    return 4 + features * spread, features @ slopes + noise > torch.linspace(0, 4, labels)


def reference(protocol: ProtocolName, penalty: float, train: tuple[Tensor, Tensor], test: Tensor) -> np.ndarray:
    columns = []
    for positive in train[1].T.numpy():
        if positive.all() or not positive.any():
            columns.append(np.zeros(len(test)))
            continue
        model = LogisticRegression(C=1 / penalty, solver="newton-cg", tol=1e-8, max_iter=1000)
        pipeline = model if protocol == "paper" else make_pipeline(StandardScaler(), model)
        columns.append(pipeline.fit(train[0].numpy(), positive).decision_function(test.numpy()))
    return np.stack(columns, axis=1)


def cross_validated(protocol: ProtocolName, penalty: float, features: Tensor, labels: Tensor, seed: int) -> float:
    fold_of = assign_folds(len(features), 5, seed)
    scores = []
    for fold in range(5):
        held_out = fold_of == fold
        values = reference(protocol, penalty, (features[~held_out], labels[~held_out]), features[held_out])
        truth = labels[held_out].numpy()
        present = truth.any(0)
        scores.append(average_precision_score(truth[:, present], values[:, present], average="macro"))
    return float(np.mean(scores))


@pytest.mark.parametrize("protocol", ["clean", "paper"])
@pytest.mark.parametrize(("count", "size"), [(150, 10), (60, 90)])
def test_all_labels_together_are_scikit_learns_one_by_one(count: int, size: int, protocol: ProtocolName) -> None:
    features, labels = problem(count + 40, size)
    train, test = (features[:count], labels[:count]), features[count:]
    probe = MultiLabelProbe(PENALTIES, protocol=protocol, seed=3, tol=1e-7).fit(*train)
    expected = [cross_validated(protocol, penalty, *train, seed=3) for penalty in PENALTIES.tolist()]
    # Of 12 images in a fold, two that are nearly equal may change places.
    assert probe.cv_scores_.tolist() == pytest.approx(expected, abs=0.03 if count == 60 else 5e-3)
    assert probe.converged_
    values = torch.from_numpy(reference(protocol, probe.penalty_, train, test))
    assert torch.allclose(probe.predict(test), values, atol=1e-3 * float(values.abs().max()))
    truth = labels[count:].numpy()
    assert probe.score(test, labels[count:]) == pytest.approx(average_precision_score(truth, values.numpy()), abs=5e-3)


def test_a_label_that_is_constant_in_a_fold_breaks_nothing() -> None:
    features, labels = problem(80)
    fold_of = assign_folds(80, 5, seed=0)
    labels = torch.cat([labels, (fold_of == 2)[:, None], torch.ones(80, 1).bool(), torch.zeros(80, 1).bool()], dim=1)
    probe = MultiLabelProbe(PENALTIES).fit(features, labels)
    assert probe.converged_
    expected = [cross_validated("clean", penalty, features, labels, seed=0) for penalty in PENALTIES.tolist()]
    assert probe.cv_scores_.tolist() == pytest.approx(expected, abs=5e-3)
    assert probe.coef_[:, 4:].abs().max() < 1e-9
    assert probe.predict(features).isfinite().all()


def test_one_label_is_enough_and_the_seed_decides() -> None:
    features, labels = problem(80, labels=1)
    probe = MultiLabelProbe(PENALTIES).fit(features, labels)
    assert probe.predict(features).shape == (80, 1)
    torch.manual_seed(3)
    assert torch.equal(MultiLabelProbe(PENALTIES).fit(features, labels).coef_, probe.coef_)
    assert not torch.equal(MultiLabelProbe(PENALTIES, seed=1).fit(features, labels).cv_scores_, probe.cv_scores_)


def test_feature_weights_leave_features_out() -> None:
    features, labels = problem()
    weights = torch.tensor([1.0] * 8 + [0.0] * 2)
    weighted = MultiLabelProbe(PENALTIES, feature_weights=weights).fit(features, labels)
    cut = MultiLabelProbe(PENALTIES).fit(features[:, :8], labels)
    assert weighted.coef_[8:].abs().max() == 0
    assert torch.allclose(weighted.coef_[:8], cut.coef_, atol=1e-3 * float(cut.coef_.abs().max()))


def test_the_papers_grid_converges_and_is_described() -> None:
    described = MultiLabelProbe().fit(*problem(60, 80)).describe()
    assert described["penalties_tried"] == 45
    assert described["metric"] == "mean_average_precision"
    assert described["converged"] is True


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.ones(10, 2), r"labels of shape \(10, 2\) and type torch.float32, expected \(N, C\) bool"),
        (torch.ones(10).bool(), r"labels of shape \(10,\)"),
        (torch.ones(9, 2).bool(), "10 rows of features, but 9 labels"),
        (torch.zeros(10, 2).bool(), "no image has any of the labels"),
    ],
)
def test_other_labels_are_refused(labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiLabelProbe().fit(torch.rand(10, 3), labels)
