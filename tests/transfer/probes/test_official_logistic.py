import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import KFold

from solo_invariance.errors import UserError
from solo_invariance.transfer.probes import LogisticProbe, OfficialLogisticProbe
from solo_invariance.transfer.probes.official_logistic import require_scikit_learn

PENALTIES = torch.logspace(-5, 3, 5)


def problem(count: int = 200, size: int = 24, classes: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, size, generator=generator).relu() * torch.logspace(-1, 1, size)
    slopes = torch.randn(size, classes, generator=generator) / torch.logspace(-1, 1, size)[:, None]
    noise = 3 * torch.randn(count, classes, generator=generator)
    return features, 5 * (features @ slopes + noise).argmax(1) + 2


def reference(
    features: np.ndarray, labels: np.ndarray, penalties: torch.Tensor, seed: int, per_class: bool
) -> tuple[list[float], LogisticRegression]:
    """The recipe, written down by itself: one estimator with warm starts, one generator for all folds."""
    model = LogisticRegression(warm_start=True)
    folds = KFold(5, shuffle=True, random_state=np.random.RandomState(seed))
    scores: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for penalty in penalties.tolist():
            model.set_params(C=1 / penalty)
            found = []
            for train, rest in folds.split(features):
                model.fit(features[train], labels[train])
                counts = confusion_matrix(labels[rest], model.predict(features[rest]))
                recalls = counts.diagonal() / counts.sum(1)
                found.append(recalls.mean() if per_class else model.score(features[rest], labels[rest]))
            scores.append(float(np.mean(found)))
        best = max(range(len(scores)), key=lambda index: (np.nan_to_num(scores[index], nan=-1), -index))
        model.set_params(C=1 / penalties[best].item()).fit(features, labels)
    return scores, model


@pytest.mark.parametrize("metric", ["accuracy", "mean_per_class_accuracy"])
def test_scores_are_the_recipes_to_the_last_digit(metric: str) -> None:
    features, labels = problem(260)
    train, test = (features[:200], labels[:200]), (features[200:], labels[200:])
    probe = OfficialLogisticProbe(PENALTIES, seed=3, metric=metric).fit(*train)
    scores, model = reference(train[0].numpy(), train[1].numpy(), PENALTIES, 3, metric != "accuracy")
    assert probe.cv_scores_.tolist() == scores
    assert probe.penalty_ == PENALTIES[int(np.argmax(scores))].item()
    assert probe.predict(test[0]).tolist() == model.predict(test[0].numpy()).tolist()
    assert train[0].dtype == torch.float32  # in which scikit-learn is given them: in double it finds other coefficients
    assert torch.equal(probe.coef_, torch.from_numpy(model.coef_.T).double())
    assert probe.steps_ == model.n_iter_.max()


def test_it_is_not_converged_and_other_seeds_draw_other_folds() -> None:
    features, labels = problem()
    official = OfficialLogisticProbe(PENALTIES).fit(features, labels)
    converged = LogisticProbe(PENALTIES, protocol="paper").fit(features, labels)
    stopped = OfficialLogisticProbe(PENALTIES[:1]).fit(features, labels)
    assert (stopped.steps_, stopped.describe()["converged"]) == (100, False)
    assert official.penalty_ < converged.penalty_  # weak penalties look better than they are
    again, other = (OfficialLogisticProbe(PENALTIES, seed=seed).fit(features, labels) for seed in (0, 1))
    assert torch.equal(again.cv_scores_, official.cv_scores_)
    assert not torch.equal(other.cv_scores_, official.cv_scores_)


def test_a_penalty_that_predicts_a_class_which_no_image_held_out_has_scores_nan_and_is_not_chosen() -> None:
    features, labels = problem(150, classes=3)
    labels[:3] = 99  # of three images: some folds hold none of them out
    features[:3] = features[3:6] + 1e-3  # and they look as others do
    scores, _ = reference(features.numpy(), labels.numpy(), PENALTIES, 0, True)
    assert 0 < np.isnan(scores).sum() < len(scores)
    probe = OfficialLogisticProbe(PENALTIES, metric="mean_per_class_accuracy").fit(features, labels)
    assert torch.equal(probe.cv_scores_.isnan(), torch.tensor(scores).isnan())
    assert probe.penalty_ == PENALTIES[int(np.nanargmax(scores))].item()
    plain = OfficialLogisticProbe(PENALTIES).fit(features, labels)
    assert not plain.cv_scores_.isnan().any()
    never = OfficialLogisticProbe(PENALTIES[:1], metric="mean_per_class_accuracy")
    with pytest.raises(ValueError, match="no penalty has a score"):
        never.fit(features, labels)


def test_a_class_that_a_fold_lacks_is_named() -> None:
    features, labels = problem()
    labels[0] = 99
    with pytest.raises(ValueError, match=r"no image of class 99, .*; take probe\.solver=converged"):
        OfficialLogisticProbe(PENALTIES).fit(features, labels)


def test_two_classes_have_the_objective_of_several() -> None:
    features, labels = problem(classes=2)
    official = OfficialLogisticProbe(torch.tensor([1e3])).fit(features.double(), labels)
    converged = LogisticProbe(torch.tensor([1e3]), protocol="paper").fit(features.double(), labels)
    slopes = converged.coef_[:, 1] - converged.coef_[:, 0]
    assert official.steps_ < 100
    assert torch.allclose(official.coef_[:, 0], slopes, atol=1e-3 * float(slopes.abs().max()))


def test_features_are_weighed() -> None:
    features, labels = problem()
    weights = torch.linspace(0.1, 2, 24)
    weighed = OfficialLogisticProbe(PENALTIES, feature_weights=weights).fit(features, labels)
    plain = OfficialLogisticProbe(PENALTIES).fit(features * weights, labels)
    assert torch.equal(weighed.cv_scores_, plain.cv_scores_)
    assert torch.equal(weighed.predict(features), plain.predict(features * weights))
    assert torch.allclose(weighed.coef_, weights[:, None].double() * plain.coef_)


def test_only_the_warning_of_its_quirk_is_silenced(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(*arguments: object, **options: object) -> None:
        warnings.warn("other", UserWarning, stacklevel=2)

    features, labels = problem()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        OfficialLogisticProbe(PENALTIES).fit(features, labels)
    monkeypatch.setattr(LogisticRegression, "fit", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="other"):
            OfficialLogisticProbe(PENALTIES).fit(features, labels)


def test_without_scikit_learn_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(UserError, match=r"pip install 'scikit-learn>=1\.5', or take probe\.solver=converged"):
        require_scikit_learn()
