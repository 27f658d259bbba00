import sys

import pytest
import torch
from torch import Tensor

from solo_invariance.errors import UserError
from solo_invariance.features.neighbours import nearest
from solo_invariance.regression.cross_validation import assign_folds
from solo_invariance.transfer.probes.nearest_neighbours import KNNProbe


def problem(count: int = 160, size: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator) * 5 - 3
    centres = torch.randn(20, size, generator=generator)
    return centres[labels + 3] + 1.5 * torch.randn(count, size, generator=generator), labels


def vote(query: Tensor, training: Tensor, labels: Tensor, k: int, temperature: float) -> int:
    """The definition, image by image."""
    query, training = query.double(), training.double()
    cosines = [float(query @ other / (query.norm() * other.norm())) for other in training]
    near = sorted(range(len(training)), key=lambda row: -cosines[row])[:k]
    votes: dict[int, float] = {}
    for row in near:
        label = int(labels[row])
        votes[label] = votes.get(label, 0.0) + 2.718281828459045 ** (cosines[row] / temperature)
    return max(sorted(votes), key=lambda label: votes[label])


@pytest.mark.parametrize("k", [1, 3, 40])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_predictions_are_the_definitions(k: int, temperature: float) -> None:
    features, labels = problem()
    probe = KNNProbe(k, temperature=temperature).fit(features[:100], labels[:100])
    expected = [vote(query, features[:100], labels[:100], k, temperature) for query in features[100:]]
    assert probe.predict(features[100:]).tolist() == expected
    hits = [guess == int(label) for guess, label in zip(expected, labels[100:], strict=True)]
    assert probe.score(features[100:], labels[100:]) == pytest.approx(sum(hits) / 60)


def test_k_is_chosen_by_cross_validation_on_the_training_images() -> None:
    features, labels = problem(60)
    probe = KNNProbe(seed=2).fit(features, labels)
    fold_of = assign_folds(60, 5, seed=2, labels=labels)
    expected = []
    for k in (1, 5, 10, 20):
        shares = []
        for fold in range(5):
            held_out = fold_of == fold
            guesses = [vote(query, features[~held_out], labels[~held_out], k, 0.07) for query in features[held_out]]
            shares.append(float((torch.tensor(guesses) == labels[held_out]).double().mean()))
        expected.append(sum(shares) / 5)
    assert probe.neighbours_ == [1, 5, 10, 20]
    assert probe.cv_scores_.tolist() == pytest.approx(expected)
    best = max(expected)
    assert probe.k_ == max(k for k, score in zip((1, 5, 10, 20), expected, strict=True) if score == pytest.approx(best))


def test_ties_go_to_the_image_that_came_first() -> None:
    gallery = torch.eye(3).repeat(5, 1)
    found = nearest(torch.eye(3), gallery, 7)
    assert found.rows[:, :5].tolist() == [[row, row + 3, row + 6, row + 9, row + 12] for row in range(3)]
    features = torch.tensor([[1.0, 0.0]]).repeat(12, 1)
    labels = torch.tensor([7, 2] * 6)
    assert KNNProbe(4, folds=2).fit(features, labels).predict(features[:2]).tolist() == [2, 2]


def test_the_length_of_features_does_not_count() -> None:
    features, labels = problem()
    plain = KNNProbe().fit(features, labels).predict(features)
    lengths = torch.logspace(-3, 3, len(features))[:, None]
    assert torch.equal(KNNProbe().fit(features * lengths, labels).predict(features * lengths), plain)


def test_sharp_weights_do_not_overflow() -> None:
    features, labels = problem()
    probe = KNNProbe(20, temperature=1e-4).fit(features, labels)
    assert torch.equal(probe.predict(features), labels)


def test_k_cannot_exceed_what_a_fold_trains_on() -> None:
    features, labels = problem(30)
    assert KNNProbe().fit(features, labels).neighbours_ == [1, 5, 10, 20]
    assert KNNProbe(24).fit(features, labels).k_ == 24
    with pytest.raises(ValueError, match="k=25, expected 1 to 24"):
        KNNProbe(25).fit(features, labels)


def test_description_is_plain_data() -> None:
    described = KNNProbe(5).fit(*problem()).describe()
    assert described["neighbours_tried"] == [5]
    assert described["k"] == 5
    assert isinstance(described["cv_score"], float)


def test_bad_input_is_refused() -> None:
    features, labels = problem()
    with pytest.raises(RuntimeError, match="KNNProbe has not been fitted"):
        KNNProbe().predict(features)
    with pytest.raises(ValueError, match="temperature=0, expected above 0"):
        KNNProbe(temperature=0).fit(features, labels)
    with pytest.raises(ValueError, match="metric='r2' is for RidgeProbe"):
        KNNProbe(metric="r2").fit(features, labels)
    features[3] = float("nan")
    with pytest.raises(ValueError, match="row 3 is not finite"):
        KNNProbe().fit(features, labels)
    with pytest.raises(ValueError, match=r"features of shape \(160, 2\), expected \(N, 12\)"):
        KNNProbe().fit(*problem()).predict(features[:, :2])


def test_faiss_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match="needs faiss: pip install"):
        KNNProbe().fit(*problem())
