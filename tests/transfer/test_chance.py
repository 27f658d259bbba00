import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.metrics import average_precision_score, balanced_accuracy_score, r2_score

from solo_invariance.config.transfer import FewShotConfig
from solo_invariance.transfer.chance import chance_level, scores_of_outputs
from solo_invariance.transfer.probes.settings import ProbeSettings

_TRAIN = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
_TEST = torch.tensor([0] * 2 + [1] * 4 + [2] * 4)


def _classes(metric: str) -> ProbeSettings:
    return ProbeSettings("logistic", "classification", metric)


def test_accuracy_of_chance_is_that_of_the_most_frequent_training_class_or_of_any_at_random() -> None:
    dummy = DummyClassifier(strategy="most_frequent").fit(_TRAIN[:, None], _TRAIN)
    expected = dummy.score(_TRAIN[:, None], _TRAIN)
    assert chance_level(_TRAIN, _TRAIN, _classes("accuracy")) == pytest.approx(expected) == 0.5
    assert dummy.score(_TEST[:, None], _TEST) < 1 / 3
    assert chance_level(_TRAIN, _TEST, _classes("accuracy")) == pytest.approx(1 / 3)
    equal = torch.tensor([0, 0, 1, 1, 2])
    several = torch.tensor([0] * 4 + [1] * 4 + [2] * 2)
    assert chance_level(equal, several, _classes("accuracy")) == pytest.approx((0.4 + 0.4) / 2)


def test_accuracy_per_class_of_a_constant() -> None:
    expected = balanced_accuracy_score(_TEST, torch.zeros(10))
    assert chance_level(_TRAIN, _TEST, _classes("mean_per_class_accuracy")) == pytest.approx(expected)


def test_average_precision_of_scores_that_say_nothing() -> None:
    labels = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]]).bool()
    settings = ProbeSettings("logistic", "multilabel", "mean_average_precision")
    expected = [average_precision_score(labels[:, column], torch.zeros(4)) for column in (0, 1)]
    assert chance_level(labels, labels, settings) == pytest.approx(sum(expected) / 2) == 0.5


def test_numbers_and_episodes() -> None:
    assert chance_level(_TRAIN, _TEST, ProbeSettings("ridge", "regression", "r2")) == 0
    few = ProbeSettings("few_shot", "classification", "accuracy", few_shot=FewShotConfig(ways=4))
    assert chance_level(_TRAIN, _TEST, few) == 0.25


def test_each_of_several_numbers_has_its_score() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(30, 3, generator=generator)
    predictions = targets + torch.randn(30, 3, generator=generator) * torch.tensor([0.1, 1.0, 3.0])
    found = scores_of_outputs(predictions, targets, ["x", "y"])
    assert list(found) == ["x", "y", "3"]
    assert list(found.values()) == pytest.approx(r2_score(targets, predictions, multioutput="raw_values").tolist())
    assert scores_of_outputs(predictions[:, 0], targets[:, 0], ["x"]) == {}


def test_latents_are_scored_by_name(cli, host_checkpoint, tmp_path) -> None:
    import json

    arguments = ["transfer", f"backbone.checkpoint={host_checkpoint()}", "tasks=[position,hue,shape]", "device=cpu"]
    arguments += ["task.num_train=60", "task.num_test=30", "task.size=32", "folds=2", f"out={tmp_path / 'out'}"]
    code, printed, err = cli(*arguments)
    assert code == 0, err
    found = {name: json.loads((tmp_path / "out" / name / "transfer.json").read_text()) for name in ("position", "hue")}
    assert list(found["position"]["outputs"]) == ["position_x", "position_y", "position_z"]
    assert list(found["hue"]["outputs"]) == ["cos(object_hue)", "sin(object_hue)"]
    for one in found.values():
        outputs = one["outputs"].values()
        assert sum(outputs) / len(outputs) == pytest.approx(one["score"], abs=1e-9)
        assert one["chance"] == 0
    assert "position_y" in printed
