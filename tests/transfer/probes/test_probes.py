import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from solo_invariance.protocols import ProtocolName
from solo_invariance.regression.cross_validation import assign_folds, choose_penalty, penalty_grid
from solo_invariance.transfer.probes.logistic import LogisticProbe
from solo_invariance.transfer.probes.ridge import RidgeProbe

PROTOCOLS: list[ProtocolName] = ["clean", "paper"]
FEW_PENALTIES = torch.logspace(-3, 3, 7, dtype=torch.float64)


def draw_features(count: int, size: int, seed: int) -> Tensor:
    """Features as a backbone's: correlated, of unequal spread, off centre, some of them often 0."""
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(count, 8, generator=generator, dtype=torch.float64)
    mixing = torch.randn(8, size, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, size, generator=generator, dtype=torch.float64)
    spread = torch.logspace(-1, 1, size, dtype=torch.float64)
    return (0.5 + latent @ mixing + noise).relu() * spread


def regression_problem(count: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    features = draw_features(count, size, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    slopes = torch.randn(size, 3, generator=generator, dtype=torch.float64) / features.std(0)[:, None].clamp_min(0.1)
    noise = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return features, 5 + features @ slopes + 3 * noise


def classification_problem(count: int, size: int, seed: int = 0, classes: int = 4) -> tuple[Tensor, Tensor]:
    features = draw_features(count, size, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    slopes = torch.randn(size, classes, generator=generator, dtype=torch.float64) / features.std(0)[:, None]
    logits = (features - features.mean(0)) @ slopes
    noise = 4 * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    return features, 3 * (logits + noise).argmax(1) + 1


def ridge_reference(protocol: ProtocolName, penalty: float) -> Any:
    if protocol == "paper":
        return Ridge(1 / penalty)
    return make_pipeline(StandardScaler(), Ridge(penalty))


def logistic_reference(protocol: ProtocolName, penalty: float) -> Any:
    model = LogisticRegression(C=1 / penalty, solver="newton-cg", tol=1e-8, max_iter=1000)
    return model if protocol == "paper" else make_pipeline(StandardScaler(), model)


def cross_validate_reference(model: Any, features: Tensor, targets: Tensor, fold_of: Tensor) -> float:
    scores = []
    for fold in fold_of.unique():
        held_out = (fold_of == fold).numpy()
        model.fit(features.numpy()[~held_out], targets.numpy()[~held_out])
        scores.append(model.score(features.numpy()[held_out], targets.numpy()[held_out]))
    return float(np.mean(scores))


class TestRidge:
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize(("count", "size"), [(120, 20), (60, 50), (40, 100)])
    def test_equals_scikit_learn(self, count: int, size: int, protocol: ProtocolName) -> None:
        features, targets = regression_problem(count + 50, size)
        train, test = (features[:count], targets[:count]), (features[count:], targets[count:])
        probe = RidgeProbe(protocol=protocol, seed=3).fit(*train)
        grid, fold_of = penalty_grid(protocol=protocol), assign_folds(count, 5, seed=3)
        shuffled = KFold(5, shuffle=True, random_state=np.random.RandomState(3))
        scores = []
        for penalty in grid.tolist():
            if protocol == "paper":  # folds are drawn anew for every penalty, from one generator
                for fold, (_, rows) in enumerate(shuffled.split(train[0])):
                    fold_of[torch.from_numpy(rows)] = fold
            scores.append(cross_validate_reference(ridge_reference(protocol, penalty), *train, fold_of))
        expected = torch.tensor(scores, dtype=torch.float64)
        assert torch.allclose(probe.cv_scores_, expected, rtol=1e-6, atol=1e-6)
        assert probe.penalty_ == float(grid[choose_penalty(grid, expected, protocol)])
        reference = ridge_reference(protocol, probe.penalty_).fit(train[0].numpy(), train[1].numpy())
        predictions = torch.from_numpy(reference.predict(test[0].numpy()))
        assert torch.allclose(probe.predict(test[0]), predictions, rtol=1e-6, atol=1e-6)
        assert probe.score(*test) == pytest.approx(reference.score(test[0].numpy(), test[1].numpy()), abs=1e-6)

    @pytest.mark.parametrize("penalty", [1e-3, 1.0, 1e3])
    def test_coefficients_equal_scikit_learn_in_the_papers_protocol(self, penalty: float) -> None:
        features, targets = regression_problem(120, 20)
        probe = RidgeProbe(torch.tensor([penalty]), protocol="paper").fit(features, targets)
        reference = Ridge(1 / probe.penalty_).fit(features.numpy(), targets.numpy())
        assert torch.allclose(probe.coef_, torch.from_numpy(reference.coef_.T), rtol=1e-6, atol=1e-8)
        assert torch.allclose(probe.intercept_, torch.from_numpy(reference.intercept_), rtol=1e-6)

    def test_one_feature_has_the_closed_form(self) -> None:
        features, targets = torch.tensor([[-1.0], [0.0], [1.0], [4.0]]), torch.tensor([1.0, 2.0, 3.0, 6.0])
        probe = RidgeProbe(torch.tensor([0.5]), folds=2, protocol="paper").fit(features, targets)
        # Centred, both are (-2, -1, 0, 3), whose sum of squares is 14; the ridge is 1 / 0.5.
        assert probe.coef_.item() == pytest.approx(14 / (14 + 2))
        assert probe.intercept_.item() == pytest.approx(3 - 14 / 16)

    def test_few_and_many_features_agree(self) -> None:
        features, targets = regression_problem(40, 30)
        padded = torch.cat([features, torch.full((40, 30), 2.5)], dim=1)
        few, many = RidgeProbe().fit(features, targets), RidgeProbe().fit(padded, targets)
        assert torch.allclose(few.cv_scores_, many.cv_scores_, atol=1e-9)
        assert torch.allclose(few.coef_, many.coef_[:30], atol=1e-9)
        assert many.coef_[30:].abs().max() == 0

    def test_copies_of_a_member_share_its_penalty(self) -> None:
        features, targets = regression_problem(80, 20)
        once = RidgeProbe(FEW_PENALTIES).fit(features, targets)
        thrice = RidgeProbe(3 * FEW_PENALTIES).fit(torch.cat([features] * 3, dim=1), targets)
        assert torch.allclose(once.cv_scores_, thrice.cv_scores_, atol=1e-9)

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_protocols_read_the_penalty_in_opposite_ways(self, protocol: ProtocolName) -> None:
        features, targets = regression_problem(60, 10)
        weak, strong = (
            RidgeProbe(torch.tensor([penalty]), protocol=protocol).fit(features, targets).coef_.norm()
            for penalty in (1e-6, 1e6)
        )
        assert (weak > strong) == (protocol == "clean")

    def test_ill_conditioned_and_constant_features_change_nothing(self) -> None:
        features, targets = regression_problem(200, 15)
        odd = torch.cat([features, features[:, :5], 1e9 + 0 * features[:, :2], features[:, 5:7] * 1e-9], dim=1)
        probe = RidgeProbe(torch.tensor([1e-6])).fit(odd, targets)
        plain = RidgeProbe(torch.tensor([1e-6])).fit(features, targets)
        assert torch.allclose(probe.predict(odd), plain.predict(features), atol=1e-4)
        assert probe.coef_[20:22].abs().max() == 0

    def test_constant_features_predict_the_mean(self) -> None:
        targets = torch.arange(10.0)
        probe = RidgeProbe().fit(torch.ones(10, 3), targets)
        assert torch.allclose(probe.predict(torch.ones(2, 3)), torch.tensor([4.5, 4.5], dtype=torch.float64))

    def test_a_constant_target_is_predicted_and_scores_one(self) -> None:
        features, targets = regression_problem(50, 5)
        targets[:, 1] = 0.1
        probe = RidgeProbe().fit(features, targets)
        assert torch.allclose(probe.predict(features)[:, 1], targets[:, 1])
        alone = RidgeProbe().fit(features, targets[:, 1])
        assert alone.cv_scores_.tolist() == [1.0] * 45

    def test_one_target_may_be_a_vector(self) -> None:
        features, targets = regression_problem(50, 5)
        vector = RidgeProbe().fit(features, targets[:, 0])
        column = RidgeProbe().fit(features, targets[:, :1])
        assert vector.predict(features).shape == (50,)
        assert column.predict(features).shape == (50, 1)
        assert torch.equal(vector.predict(features), column.predict(features)[:, 0])
        assert vector.coef_.shape == (5, 1)
        assert vector.intercept_.shape == (1,)

    def test_a_feature_that_varies_in_one_fold_alone_is_left_out_of_the_others(self) -> None:
        features, targets = regression_problem(60, 6)
        fold_of = assign_folds(60, 5, seed=0)
        features[:, 0] = torch.where(fold_of == 2, features[:, 0], 1.0)
        probe = RidgeProbe(FEW_PENALTIES).fit(features, targets)
        expected = [
            cross_validate_reference(ridge_reference("clean", penalty), features, targets, fold_of)
            for penalty in FEW_PENALTIES.tolist()
        ]
        assert torch.allclose(probe.cv_scores_, torch.tensor(expected).double(), atol=1e-6)

    def test_a_target_that_varies_in_one_fold_alone_has_a_score(self) -> None:
        features, targets = regression_problem(60, 6)
        fold_of = assign_folds(60, 5, seed=0)
        targets[:, 0] = torch.where(fold_of == 2, targets[:, 0], 0.25)
        assert RidgeProbe().fit(features, targets).cv_scores_.isfinite().all()


class TestLogistic:
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize(("count", "size"), [(200, 12), (60, 80)])
    def test_equals_scikit_learn(self, count: int, size: int, protocol: ProtocolName) -> None:
        features, labels = classification_problem(count + 100, size)
        train, test = (features[:count], labels[:count]), (features[count:], labels[count:])
        probe = LogisticProbe(FEW_PENALTIES, protocol=protocol, seed=3).fit(*train)
        fold_of = assign_folds(count, 5, seed=3, labels=train[1] if protocol == "clean" else None)
        expected = torch.tensor(
            [
                cross_validate_reference(logistic_reference(protocol, penalty), *train, fold_of)
                for penalty in FEW_PENALTIES.tolist()
            ]
        )
        # One image in held-out folds may be a tie within the tolerance.
        assert (probe.cv_scores_ - expected).abs().max() <= 1.01 / count
        reference = logistic_reference(protocol, probe.penalty_).fit(train[0].numpy(), train[1].numpy())
        agree = probe.predict(test[0]) == torch.from_numpy(reference.predict(test[0].numpy()))
        assert agree.double().mean() >= 0.99
        assert probe.converged_
        assert probe.gradient_norm_ <= 1e-4

    @pytest.mark.parametrize("penalty", [1e-2, 1.0, 1e2])
    @pytest.mark.parametrize(("count", "size"), [(300, 10), (50, 60)])
    def test_coefficients_equal_scikit_learn(self, count: int, size: int, penalty: float) -> None:
        features, labels = classification_problem(count, size)
        features = (features - features.mean(0)) / features.std(0)
        probe = LogisticProbe(torch.tensor([penalty]), protocol="paper", tol=1e-7).fit(features, labels)
        reference = logistic_reference("paper", penalty).fit(features.numpy(), labels.numpy())
        expected = torch.from_numpy(reference.coef_.T)
        assert (probe.coef_ - expected).abs().max() <= 1e-3 * expected.abs().max()
        intercept = torch.from_numpy(reference.intercept_)
        assert torch.allclose(probe.intercept_, intercept - intercept.mean(), atol=1e-3)
        assert probe.classes_.tolist() == reference.classes_.tolist()

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_the_gradient_vanishes(self, protocol: ProtocolName) -> None:
        features, labels = classification_problem(150, 40)
        probe = LogisticProbe(torch.tensor([0.1]), protocol=protocol, tol=1e-9).fit(features, labels)
        deviation = features.std(0, correction=0)[:, None] if protocol == "clean" else torch.ones(40, 1)
        probabilities = (features @ probe.coef_ + probe.intercept_).softmax(1)
        residual = (labels[:, None] == probe.classes_).double() - probabilities
        pull = (features / deviation.T).T @ residual
        penalty = 0.1 * probe.coef_ * deviation
        assert (pull - penalty).norm() <= 1e-6 * penalty.norm()
        assert residual.sum(0).abs().max() <= 1e-6

    def test_two_classes_are_scikit_learns_with_half_the_penalty(self) -> None:
        features, labels = classification_problem(150, 8, classes=2)
        probe = LogisticProbe(torch.tensor([3.0]), protocol="paper", tol=1e-7).fit(features, labels)
        reference = logistic_reference("paper", 3.0 / 2).fit(features.numpy(), labels.numpy())
        expected = torch.from_numpy(reference.coef_[0])
        assert torch.allclose(probe.coef_[:, 1] - probe.coef_[:, 0], expected, atol=1e-4)
        assert torch.allclose(probe.coef_[:, 1], -probe.coef_[:, 0], atol=1e-6)

    def test_an_infinite_penalty_leaves_the_frequencies(self) -> None:
        features, _ = classification_problem(60, 5)
        labels = torch.tensor([0] * 10 + [1] * 20 + [2] * 30)
        probe = LogisticProbe(torch.tensor([1e12])).fit(features, labels)
        assert torch.allclose(probe.intercept_.softmax(0), torch.tensor([1, 2, 3]).double() / 6, atol=1e-6)

    def test_the_whole_grid_converges_on_separable_classes(self) -> None:
        features, labels = classification_problem(60, 100)
        probe = LogisticProbe().fit(features, labels)
        assert probe.converged_
        assert probe.cv_gradient_norm_ <= 2e-2
        weakest = LogisticProbe(penalty_grid()[:1]).fit(features, labels)
        assert weakest.converged_
        assert weakest.score(features, labels) == 1

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_ill_conditioned_and_constant_features_converge(self, protocol: ProtocolName) -> None:
        features, labels = classification_problem(300, 10)
        generator = torch.Generator().manual_seed(5)
        tiny = 1e-4 * torch.randn(300, 5, generator=generator, dtype=torch.float64)
        odd = torch.cat([features * 100, features[:, :3] * 100, 7 + 0 * features[:, :2], tiny], dim=1)
        probe = LogisticProbe(protocol=protocol).fit(odd, labels)
        assert probe.converged_
        assert probe.coef_[13:15].abs().max() == 0

    def test_constant_features_predict_the_most_frequent_class(self) -> None:
        labels = torch.tensor([3] * 10 + [5] * 20)
        probe = LogisticProbe(FEW_PENALTIES, folds=2).fit(torch.ones(30, 4), labels)
        assert probe.converged_
        assert probe.predict(torch.ones(2, 4)).tolist() == [5, 5]

    @pytest.mark.parametrize("metric", ["accuracy", "mean_per_class_accuracy"])
    def test_a_class_may_be_missing_from_a_fold(self, metric: str) -> None:
        features, labels = classification_problem(61, 6, classes=3)
        labels[17] = 99
        probe = LogisticProbe(FEW_PENALTIES, metric=metric).fit(features, labels)
        fold_of = assign_folds(61, 5, seed=0, labels=labels)
        scores = []
        for fold in range(5):
            held_out = (fold_of == fold).numpy()
            reference = logistic_reference("clean", 1.0)
            reference.fit(features.numpy()[~held_out], labels.numpy()[~held_out])
            predicted, truth = reference.predict(features.numpy()[held_out]), labels.numpy()[held_out]
            recalls = [(predicted[truth == label] == label).mean() for label in np.unique(truth)]
            scores.append((predicted == truth).mean() if metric == "accuracy" else np.mean(recalls))
        assert probe.cv_scores_[3].item() == pytest.approx(np.mean(scores), abs=1e-9)
        assert 99 in probe.classes_

    def test_mean_per_class_accuracy_is_what_it_scores(self) -> None:
        features, labels = classification_problem(120, 6)
        probe = LogisticProbe(FEW_PENALTIES, metric="mean_per_class_accuracy").fit(features, labels)
        expected = balanced_accuracy_score(labels.numpy(), probe.predict(features).numpy())
        assert probe.score(features, labels) == pytest.approx(expected)

    def test_penalties_may_come_in_any_order(self) -> None:
        features, labels = classification_problem(80, 6)
        order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
        sorted_probe = LogisticProbe(FEW_PENALTIES).fit(features, labels)
        shuffled = LogisticProbe(FEW_PENALTIES[order]).fit(features, labels)
        assert torch.equal(shuffled.cv_scores_, sorted_probe.cv_scores_[order])
        assert shuffled.penalty_ == sorted_probe.penalty_

    def test_too_few_steps_are_reported(self) -> None:
        features, labels = classification_problem(80, 6)
        with pytest.warns(RuntimeWarning, match=r"has not converged in max_iter=1 steps.*raise max_iter") as warned:
            probe = LogisticProbe(torch.tensor([1e-3]), max_iter=1).fit(features, labels)
        assert warned[0].filename == __file__
        assert not probe.converged_
        assert probe.gradient_norm_ > probe.tol

    def test_one_class_is_refused(self) -> None:
        with pytest.raises(ValueError, match="all 6 labels are 4, expected at least two classes"):
            LogisticProbe().fit(torch.rand(6, 2), torch.full((6,), 4))

    def test_labels_that_are_no_integers_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"type torch.float32, expected \(N,\) integers"):
            LogisticProbe().fit(torch.rand(6, 2), torch.rand(6))

    @pytest.mark.parametrize("seed", range(6))
    def test_many_problems_choose_as_well_as_scikit_learn(self, seed: int) -> None:
        """Wide and narrow, with copies of features, constants, unequal spreads, and rare classes."""
        generator = torch.Generator().manual_seed(seed)
        count, size = (int(torch.randint(40, 200, (), generator=generator)) for _ in range(2))
        features, labels = classification_problem(count, size, seed=seed, classes=3)
        odd = torch.cat([features, features[:, :9] * 1e3, torch.ones(count, 2)], dim=1)
        odd[:, 0] += 1e-7 * odd[:, 1]
        labels[: 1 + seed] = 50
        probe = LogisticProbe(FEW_PENALTIES, seed=seed).fit(odd, labels)
        assert probe.converged_
        fold_of = assign_folds(count, 5, seed=seed, labels=labels)
        scores = [
            cross_validate_reference(logistic_reference("clean", penalty), odd, labels, fold_of)
            for penalty in FEW_PENALTIES.tolist()
        ]
        assert float(probe.cv_scores_.max()) == pytest.approx(max(scores), abs=1.01 / count)

    def test_a_score_of_numbers_is_refused(self) -> None:
        with pytest.raises(ValueError, match="metric='r2' is for RidgeProbe"):
            LogisticProbe(metric="r2").fit(torch.rand(6, 2), torch.arange(6) % 2)


class TestLeaks:
    """In one fold, half of the features are a hundred times larger than elsewhere."""

    @staticmethod
    def plant(features: Tensor, fold_of: Tensor) -> Tensor:
        planted = features.clone()
        planted[fold_of == 0, ::2] *= 100
        return planted

    @staticmethod
    def leak(features: Tensor) -> Tensor:
        return (features - features.mean(0)) / features.std(0, correction=0)

    def test_ridge_standardises_by_training_images_alone(self) -> None:
        features, targets = regression_problem(60, 10)
        fold_of = assign_folds(60, 5, seed=0)
        features = self.plant(features, fold_of)
        honest = cross_validate_reference(ridge_reference("clean", 10.0), features, targets, fold_of)
        leaked = cross_validate_reference(Ridge(10.0), self.leak(features), targets, fold_of)
        score = RidgeProbe(torch.tensor([10.0])).fit(features, targets).cv_scores_.item()
        assert score == pytest.approx(honest, rel=1e-6)
        assert abs(leaked - honest) > 0.1 * abs(honest)

    def test_logistic_standardises_by_training_images_alone(self) -> None:
        features, labels = classification_problem(150, 10)
        fold_of = assign_folds(150, 5, seed=0, labels=labels)
        features = self.plant(features, fold_of)
        honest = cross_validate_reference(logistic_reference("clean", 10.0), features, labels, fold_of)
        leaked = cross_validate_reference(logistic_reference("paper", 10.0), self.leak(features), labels, fold_of)
        score = LogisticProbe(torch.tensor([10.0])).fit(features, labels).cv_scores_.item()
        assert score == pytest.approx(honest, abs=1.01 / 150)
        assert abs(leaked - honest) > 5 / 150


@pytest.fixture(params=[RidgeProbe, LogisticProbe])
def probe(request: pytest.FixtureRequest) -> RidgeProbe | LogisticProbe:
    made: RidgeProbe | LogisticProbe = request.param(FEW_PENALTIES)
    return made


class TestBoth:
    def test_the_constructor_only_stores(self, probe: RidgeProbe | LogisticProbe) -> None:
        assert probe.penalties is FEW_PENALTIES
        assert not [name for name in vars(probe) if name.endswith("_")]
        assert (probe.folds, probe.protocol, probe.seed) == (5, "clean", 0)

    def test_fit_returns_the_probe_and_the_seed_decides(self, probe: RidgeProbe | LogisticProbe) -> None:
        features, labels = classification_problem(90, 8)
        torch.manual_seed(1)
        assert probe.fit(features, labels) is probe
        torch.manual_seed(2)
        again = type(probe)(FEW_PENALTIES).fit(features, labels)
        assert torch.equal(probe.coef_, again.coef_)
        assert torch.equal(probe.cv_scores_, again.cv_scores_)
        other = type(probe)(FEW_PENALTIES, seed=1).fit(features, labels)
        assert not torch.equal(probe.cv_scores_, other.cv_scores_)

    def test_float32_features_are_computed_with_in_float64(self, probe: RidgeProbe | LogisticProbe) -> None:
        features, labels = classification_problem(90, 8)
        probe.fit(features.float(), labels)
        again = type(probe)(FEW_PENALTIES).fit(features.float().double(), labels)
        assert probe.coef_.dtype == torch.float64
        assert torch.equal(probe.coef_, again.coef_)

    def test_features_are_left_as_they_were(self, probe: RidgeProbe | LogisticProbe) -> None:
        features, labels = classification_problem(90, 8)
        before = features.clone()
        probe.fit(features, labels)
        assert torch.equal(features, before)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_the_first_row_that_is_not_finite_is_named(self, probe: RidgeProbe | LogisticProbe, bad: float) -> None:
        features, labels = classification_problem(20, 3)
        features[7, 1] = features[11, 0] = bad
        with pytest.raises(ValueError, match=r"features: row 7 is not finite \(NaN or inf\)"):
            probe.fit(features, labels)
        probe.fit(features[12:].repeat(2, 1), torch.arange(16) % 2)
        with pytest.raises(ValueError, match="features: row 7"):
            probe.predict(features)

    def test_unequal_lengths_are_both_named(self, probe: RidgeProbe | LogisticProbe) -> None:
        with pytest.raises(ValueError, match="10 rows of features, but 9 "):
            probe.fit(torch.rand(10, 2), torch.arange(9))

    def test_more_folds_than_images_are_refused(self, probe: RidgeProbe | LogisticProbe) -> None:
        with pytest.raises(ValueError, match="folds=5 for 4 images, expected at least 2 folds"):
            probe.fit(torch.rand(4, 2), torch.arange(4))

    @pytest.mark.parametrize("shape", [(8,), (8, 2, 2), (0, 2), (8, 0)])
    def test_features_of_another_shape_are_refused(
        self, probe: RidgeProbe | LogisticProbe, shape: tuple[int, ...]
    ) -> None:
        with pytest.raises(ValueError, match=r"features of shape .*, expected \(N, D\)"):
            probe.fit(torch.rand(shape), torch.arange(8))

    def test_features_of_another_width_are_refused(self, probe: RidgeProbe | LogisticProbe) -> None:
        features, labels = classification_problem(30, 3)
        probe.fit(features, labels)
        with pytest.raises(ValueError, match=r"features of shape \(30, 2\), expected \(N, 3\)"):
            probe.predict(features[:, :2])

    def test_prediction_before_fitting_is_refused(self, probe: RidgeProbe | LogisticProbe) -> None:
        with pytest.raises(RuntimeError, match="has not been fitted: call fit first"):
            probe.predict(torch.rand(3, 2))

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_feature_weights_are_ridges_of_their_own(
        self, probe: RidgeProbe | LogisticProbe, protocol: ProtocolName
    ) -> None:
        features, labels = classification_problem(120, 8)
        train, test = features[:90], features[90:]
        weights = torch.logspace(-1, 1, 8, dtype=torch.float64)
        probe.protocol, probe.feature_weights = protocol, weights
        reference: Any = (
            ridge_reference("paper", 1.0) if isinstance(probe, RidgeProbe) else logistic_reference("paper", 1.0)
        )
        probe.penalties, probe.tol = torch.ones(1).double(), 1e-7  # type: ignore[union-attr]
        prediction = probe.fit(train, labels[:90]).predict(test)
        deviation = train.std(0, correction=0) if protocol == "clean" else torch.ones(8)
        reference.fit((train * weights / deviation).numpy(), labels[:90].numpy())
        expected = torch.from_numpy(reference.predict((test * weights / deviation).numpy()))
        assert torch.allclose(prediction.double(), expected.double(), atol=1e-4)

    def test_weights_of_folds_are_cross_validated(self, probe: RidgeProbe | LogisticProbe) -> None:
        features, labels = classification_problem(90, 8)
        probe.feature_weights = torch.full((8,), 10.0)
        probe.penalties = FEW_PENALTIES * 100
        probe.fit(features, labels)
        plain = type(probe)(FEW_PENALTIES).fit(features, labels)
        assert torch.allclose(probe.cv_scores_, plain.cv_scores_, atol=1.01 / 90)
        assert torch.allclose(probe.coef_, plain.coef_, rtol=1e-3, atol=1e-3 * float(plain.coef_.abs().max()))

    def test_a_feature_of_weight_zero_is_left_out(self, probe: RidgeProbe | LogisticProbe) -> None:
        features, labels = classification_problem(90, 8)
        probe.feature_weights = torch.tensor([1.0] * 6 + [0.0] * 2)
        probe.fit(features, labels)
        assert probe.coef_[6:].abs().max() == 0
        cut = type(probe)(FEW_PENALTIES).fit(features[:, :6], labels)
        assert torch.allclose(probe.coef_[:6], cut.coef_, rtol=1e-3, atol=1e-3 * float(cut.coef_.abs().max()))

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            (torch.ones(7), r"feature_weights of shape \(7,\), expected \(8,\)"),
            (torch.tensor([1.0] * 7 + [-1.0]), "feature weight -1.0, expected finite and not negative"),
            (torch.zeros(8), "all feature weights are 0"),
        ],
    )
    def test_bad_feature_weights_are_refused(
        self, probe: RidgeProbe | LogisticProbe, weights: Tensor, message: str
    ) -> None:
        probe.feature_weights = weights
        with pytest.raises(ValueError, match=message):
            probe.fit(*classification_problem(30, 8))

    def test_description_is_plain_data(self, probe: RidgeProbe | LogisticProbe) -> None:
        described = probe.fit(*classification_problem(60, 5)).describe()
        assert described["penalty"] == probe.penalty_
        assert described["cv_score"] == pytest.approx(float(probe.cv_scores_.max()))
        assert described["penalties_tried"] == 7
        assert described["penalty_range"] == [float(probe.penalties_.min()), float(probe.penalties_.max())]
        plain = {name: value for name, value in described.items() if name != "penalty_range"}
        assert all(isinstance(value, str | int | float) for value in plain.values())
        if isinstance(probe, LogisticProbe):
            assert described["gradient_norm"] <= probe.tol
            assert described["converged"] is True

    def test_unknown_protocols_are_refused(self, probe: RidgeProbe | LogisticProbe) -> None:
        probe.protocol = "dirty"  # type: ignore[assignment]
        with pytest.raises(ValueError, match="protocol='dirty', expected one of clean, paper"):
            probe.fit(torch.rand(10, 2), torch.arange(10))


def test_targets_that_are_not_finite_are_named() -> None:
    targets = torch.rand(10, 2)
    targets[4, 1] = float("nan")
    with pytest.raises(ValueError, match="targets: row 4 is not finite"):
        RidgeProbe().fit(torch.rand(10, 2), targets)


def test_no_warning_is_swallowed() -> None:
    features, labels = classification_problem(60, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LogisticProbe(FEW_PENALTIES).fit(features, labels)
