import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score

from solo_invariance.config.transfer import FewShotConfig
from solo_invariance.transfer.chance import chance_level, scores_of_outputs
from solo_invariance.transfer.probes.settings import ProbeSettings


def _settings(probe: str, metric: str) -> ProbeSettings:
    return ProbeSettings(probe, "any", metric)


@pytest.mark.parametrize("metric", ["accuracy", "mean_per_class_accuracy"])
def test_a_classifier_that_sees_nothing(metric: str) -> None:
    train, test = torch.tensor([0] * 7 + [1] * 3 + [2]), torch.tensor([0] * 3 + [1] * 4 + [2] * 5)
    dummy = DummyClassifier(strategy="most_frequent").fit(torch.zeros(len(train), 1), train)
    guess = dummy.predict(torch.zeros(len(test), 1))
    scored = {"accuracy": accuracy_score, "mean_per_class_accuracy": balanced_accuracy_score}[metric](test, guess)
    # Of three classes a random guess has a third right, and the most frequent of training is a quarter of the test.
    expected = max(scored, 1 / 3)
    assert chance_level(train, test, _settings("logistic", metric)) == pytest.approx(expected)
    assert chance_level(train, train, _settings("logistic", "accuracy")) == pytest.approx(7 / 11)


def test_classes_that_are_equally_frequent_are_scored_on_average() -> None:
    train, test = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 0, 1, 1])
    assert chance_level(train, test, _settings("knn", "accuracy")) == pytest.approx(0.5)


def test_labels_numbers_and_episodes() -> None:
    labels = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0]])
    constant = [average_precision_score(labels[:, column], torch.zeros(4)) for column in (0, 1)]  # of those that occur
    assert chance_level(labels, labels, _settings("logistic", "mean_average_precision")) == pytest.approx(
        sum(constant) / 2
    )
    assert chance_level(torch.rand(9), torch.rand(9), _settings("ridge", "r2")) == 0
    ways = FewShotConfig().ways
    assert chance_level(torch.tensor([0, 1]), torch.tensor([0, 1]), _settings("few_shot", "accuracy")) == 1 / ways


def test_each_number_has_its_own_r2() -> None:
    targets = torch.tensor([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]])
    predictions = torch.stack([targets[:, 0], torch.full((3,), 2.0)], 1)
    assert scores_of_outputs(predictions, targets, ["x"]) == {"x": 1.0, "2": 0.0}
    assert scores_of_outputs(predictions[:, :1], targets[:, :1], ["x"]) == {}
