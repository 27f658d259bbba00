import itertools

import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from solo_invariance.protocols import ProtocolName
from solo_invariance.regression.banded_ridge import FewFeatures, FewImages, banded_ridge
from solo_invariance.regression.cross_validation import penalty_grid
from solo_invariance.transfer.probes.logistic import LogisticProbe
from solo_invariance.transfer.probes.member_weights import MemberWeights, _with_largest_one, choose_member_weights
from solo_invariance.transfer.probes.ridge import RidgeProbe


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planted(
    spreads: tuple[float, ...], count: int = 150, width: int = 20, targets: int = 6
) -> tuple[list[Tensor], Tensor]:
    """Members whose true coefficients have these spreads: the best penalties are noise^2 / spread^2."""
    members = [draw(count, width, seed=index) for index in range(len(spreads))]
    signal = sum(
        spread * member @ draw(width, targets, seed=50 + index)
        for index, (spread, member) in enumerate(zip(spreads, members, strict=True))
    )
    return members, signal + 2 * draw(count, targets, seed=99)


def fitted_score(
    members: list[Tensor], targets: Tensor, found: MemberWeights, protocol: ProtocolName = "clean"
) -> float:
    probe = RidgeProbe(torch.tensor([found.penalty]).double(), protocol=protocol, feature_weights=found.feature_weights)
    return float(probe.fit(torch.cat(members, 1), targets).cv_scores_.max())


@pytest.mark.parametrize("width", [20, 90])
@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_a_member_of_noise_is_left_out_and_the_score_is_the_probes(width: int, protocol: ProtocolName) -> None:
    members, targets = planted((1.0, 0.0, 0.5), width=width)
    found = choose_member_weights(members, targets, "regression", protocol=protocol)
    assert found.weights[1] <= 0.1 * found.weights.max()
    assert found.weights.max() == 1
    if protocol == "clean":  # the paper's probe draws folds of its own
        assert found.cv_score == pytest.approx(fitted_score(members, targets, found, protocol), abs=1e-6)
    assert found.cv_score == max(trial.score for trial in found.table)


def test_planted_weights_are_found() -> None:
    members, targets = planted((1.0, 0.1), count=250, targets=40)
    found = choose_member_weights(members, targets, "regression")
    assert found.weights[0] == 1
    assert 0.1 / 2 <= found.weights[1] <= 0.1 * 2
    assert 4 / 2.5 <= found.penalty <= 4 * 2.5  # noise^2 / spread^2
    truth = RidgeProbe(torch.tensor([4.0]), feature_weights=torch.tensor([1.0, 0.1]).repeat_interleave(20))
    assert found.cv_score == pytest.approx(float(truth.fit(torch.cat(members, 1), targets).cv_scores_), abs=2e-3)
    equal = RidgeProbe().fit(torch.cat(members, 1), targets)
    assert found.cv_score > float(equal.cv_scores_.max())


@pytest.mark.parametrize("width", [12, 80])
def test_equal_weights_are_the_probes_cross_validation(width: int) -> None:
    members, targets = planted((1.0, 1.0), width=width)
    found = choose_member_weights(members, targets, "regression", seed=4)
    probe = RidgeProbe(seed=4).fit(torch.cat(members, 1), targets)
    begun = {trial.penalty: trial.score for trial in found.table[:12]}
    assert all(trial.weights == (1.0, 1.0) for trial in found.table[:12])
    at = [int((penalty_grid().log() - torch.tensor(penalty).log()).abs().argmin()) for penalty in begun]
    assert sorted(at) == list(range(0, 45, 4))
    assert list(begun.values()) == pytest.approx(probe.cv_scores_[at].tolist(), abs=1e-6)


def test_weights_are_scaled_to_a_largest_of_one_and_the_regression_stays_the_same() -> None:
    features, targets = draw(30, 4, seed=0).numpy(), draw(30, seed=1).numpy()
    (first, second), strength = _with_largest_one((0.5, 4.0), 8.0)
    assert (first, second) == (0.125, 1.0)
    before, after = features * [0.5, 0.5, 4.0, 4.0], features * [first, first, second, second]
    expected = Ridge(alpha=8.0).fit(before, targets).predict(before)
    assert Ridge(alpha=strength).fit(after, targets).predict(after) == pytest.approx(expected)


def test_the_scale_and_width_of_a_member_do_not_decide() -> None:
    members, targets = planted((1.0, 0.3))
    plain = choose_member_weights(members, targets, "regression")
    scaled = choose_member_weights([1e3 * members[0] - 5, members[1]], targets, "regression")
    assert torch.equal(scaled.weights, plain.weights)
    assert scaled.cv_score == pytest.approx(plain.cv_score)
    doubled = choose_member_weights([members[0].repeat(1, 3), members[1]], targets, "regression")
    assert doubled.weights.log() == pytest.approx(plain.weights.log(), abs=0.6)  # the penalties tried are others
    assert doubled.cv_score == pytest.approx(plain.cv_score, rel=0.01)


@pytest.mark.parametrize(("by_accuracy", "most"), [(False, 0.6), (True, 0.1)])
def test_noise_says_little_about_classes(by_accuracy: bool, most: float) -> None:
    useful, noise = draw(120, 6, seed=0), draw(120, 100, seed=1)
    labels = (useful[:, :3] + 0.3 * draw(120, 3, seed=2)).argmax(1) * 7
    found = choose_member_weights([noise, useful], labels, "classification", by_accuracy=by_accuracy)
    assert found.weights[0] <= most
    assert found.weights[1] == 1
    features = torch.cat([noise, useful], 1)
    grid = penalty_grid()[::4]
    plain = LogisticProbe(grid).fit(features, labels)
    weighted = LogisticProbe(grid, feature_weights=found.feature_weights).fit(features, labels)
    assert weighted.cv_scores_.max() > plain.cv_scores_.max() + 0.05
    if by_accuracy:
        assert found.cv_score == pytest.approx(float(weighted.cv_scores_.max()), abs=0.08)


def test_labels_are_scored_by_average_precision() -> None:
    useful, noise = draw(120, 6, seed=0), draw(120, 60, seed=1)
    labels = useful[:, :4] + 0.3 * draw(120, 4, seed=2) > 0.5
    found = choose_member_weights([useful, noise], labels, "multilabel")
    assert found.weights.tolist()[0] == 1
    assert found.weights[1] <= 0.1
    assert 0.7 < found.cv_score <= 1


def test_scores_come_from_all_images_once_and_nothing_else() -> None:
    members, _ = planted((1.0, 1.0))
    labels = torch.randint(2, (150,), generator=torch.Generator().manual_seed(0))
    found = choose_member_weights(members, labels, "classification", by_accuracy=True)
    # The best of many trials of nothing, but no more.
    assert 0.4 < found.cv_score < 0.65
    assert all(abs(trial.score * 150 - round(trial.score * 150)) < 1e-6 for trial in found.table)


def test_no_more_images_are_chosen_by_than_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solo_invariance.transfer.probes.member_weights._MOST_IMAGES", 50)
    members, _ = planted((1.0, 1.0))
    labels = torch.randint(2, (150,), generator=torch.Generator().manual_seed(0))
    found = choose_member_weights(members, labels, "classification", by_accuracy=True)
    right = torch.tensor([trial.score for trial in found.table]) * 50
    torch.testing.assert_close(right, right.round())


def test_base_weights_come_first() -> None:
    members, targets = planted((1.0, 1.0))
    base = torch.ones(40).double()
    base[:10] = 0
    found = choose_member_weights(members, targets, "regression", feature_weights=base)
    assert found.feature_weights[:10].tolist() == [0] * 10
    cut = choose_member_weights([members[0][:, 10:], members[1]], targets, "regression")
    assert found.cv_score == pytest.approx(cut.cv_score)
    assert torch.allclose(found.feature_weights[10:], cut.feature_weights)


def test_constant_members_and_one_member_are_no_trouble() -> None:
    members, targets = planted((1.0, 1.0))
    found = choose_member_weights([members[0], torch.ones(150, 3)], targets, "regression")
    assert found.feature_weights[20:].tolist() == [0] * 3
    alone = choose_member_weights(members[:1], targets, "regression")
    assert alone.weights.tolist() == [1.0]
    assert found.cv_score == pytest.approx(alone.cv_score)


def test_the_seed_alone_decides() -> None:
    members, targets = planted((1.0, 0.4), count=60)
    torch.manual_seed(0)
    first = choose_member_weights(members, targets, "regression", seed=1)
    torch.manual_seed(1)
    assert choose_member_weights(members, targets, "regression", seed=1).table == first.table
    assert choose_member_weights(members, targets, "regression", seed=2).cv_score != first.cv_score


@pytest.mark.parametrize(("count", "form"), [(40, FewFeatures), (9, FewImages)])
def test_banded_ridge_is_ridge_of_weighted_features(count: int, form: type) -> None:
    training, targets, others = draw(count, 14, seed=0), draw(count, 2, seed=1), draw(5, 14, seed=2)
    regression = banded_ridge(training, targets, others, [4, 10])
    assert isinstance(regression, form)
    for weights, penalty in itertools.product([(1.0, 0.5), (0.0, 2.0)], [0.1, 3.0]):
        each = torch.tensor(weights).double().repeat_interleave(torch.tensor([4, 10]))
        weighted = training * each
        normal = weighted.T @ weighted + penalty * torch.eye(14, dtype=torch.float64)
        expected = (others * each) @ torch.linalg.solve(normal, weighted.T @ targets)
        assert torch.allclose(regression.predict(torch.tensor(weights).double(), penalty), expected)


def test_bad_input_is_refused() -> None:
    members, targets = planted((1.0, 1.0))
    with pytest.raises(ValueError, match="no members were given"):
        choose_member_weights([], targets, "regression")
    with pytest.raises(ValueError, match="members have features of 150, 149 images"):
        choose_member_weights([members[0], members[1][1:]], targets, "regression")
    with pytest.raises(ValueError, match="kind='latents', expected classification, multilabel or regression"):
        choose_member_weights(members, targets, "latents")
