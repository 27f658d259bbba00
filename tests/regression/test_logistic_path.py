from collections.abc import Callable

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from solo_invariance.regression.binary_logistic import BinaryObjective
from solo_invariance.regression.logistic_path import (
    DesignMatrix,
    LogisticObjective,
    Point,
    logistic_path,
    minimise,
)

COUNT, CLASSES = 90, 3


def draw(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Centred features, labels, and three subsets, of which the last is everything."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(COUNT, size, generator=generator, dtype=torch.float64)
    noise = torch.randn(COUNT, CLASSES, generator=generator, dtype=torch.float64)
    labels = (2 * features[:, :CLASSES] + noise).argmax(1)
    subsets = torch.arange(COUNT)[:, None] % 2 != torch.arange(3)
    return features - features.mean(0), labels, subsets


def build(size: int) -> LogisticObjective:
    features, labels, subsets = draw(size)
    generator = torch.Generator().manual_seed(1)
    weights = 0.5 + torch.rand(size, 3, generator=generator, dtype=torch.float64)
    return LogisticObjective(DesignMatrix.of(features), labels, subsets, weights)


def build_binary(size: int) -> BinaryObjective:
    """Each of the three subsets has a label of its own."""
    features, labels, subsets = draw(size)
    generator = torch.Generator().manual_seed(1)
    weights = 0.5 + torch.rand(size, 3, generator=generator, dtype=torch.float64)
    return BinaryObjective(DesignMatrix.of(features), labels[:, None] == torch.arange(3), subsets, weights)


Builder = Callable[[int], LogisticObjective]
BUILDERS: list[Builder] = [build, build_binary]


def somewhere(objective: LogisticObjective) -> Point:
    start = objective.start()
    return objective.at(start + 0.3 * torch.randn(start.shape, generator=torch.Generator().manual_seed(2)))


@pytest.mark.parametrize("size", [5, 150])
@pytest.mark.parametrize("builder", BUILDERS)
def test_gradient_is_the_derivative_of_the_value(builder: Builder, size: int) -> None:
    objective = builder(size)
    point = somewhere(objective)
    coefficients = point.coefficients.clone().requires_grad_()
    expected = torch.autograd.grad(objective.value(objective.at(coefficients), 0.7).sum(), coefficients)[0]
    gradient = objective.gradient(point.coefficients, objective.probabilities(point.logits), 0.7)
    assert torch.allclose(gradient, expected, atol=1e-10)


@pytest.mark.parametrize("size", [5, 150])
@pytest.mark.parametrize("builder", BUILDERS)
def test_curvature_is_the_derivative_of_the_gradient(builder: Builder, size: int) -> None:
    objective = builder(size)
    point = somewhere(objective)
    direction = torch.randn(point.coefficients.shape, generator=torch.Generator().manual_seed(3)).double()

    def gradient(coefficients: Tensor) -> Tensor:
        return objective.gradient(coefficients, objective.probabilities(objective.at(coefficients).logits), 0.7)

    _, expected = torch.autograd.functional.jvp(gradient, point.coefficients, direction)
    product = objective.curvature(objective.probabilities(point.logits), 0.7)(direction.float())
    assert (product - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("builder", BUILDERS)
def test_hessian_is_the_matrix_of_the_curvature(builder: Builder) -> None:
    objective = builder(5)
    point = somewhere(objective)
    probabilities = objective.probabilities(point.logits)
    direction = torch.randn(point.coefficients.shape, generator=torch.Generator().manual_seed(3)).double()
    product = objective.curvature(probabilities, 0.7)(direction.float())
    for subset in range(3):
        matrix = objective.hessian(probabilities, 0.7, subset)
        expected = (matrix @ direction[:, subset].T.reshape(-1)).view(direction.shape[2], -1).T
        assert (product[:, subset] - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_classes_that_are_barely_inseparable_converge_at_weak_penalties() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(150, 16, generator=generator, dtype=torch.float64)
    slopes = torch.randn(16, 5, generator=generator, dtype=torch.float64) / 4
    labels = (features @ slopes + 0.3 * torch.randn(150, 5, generator=generator, dtype=torch.float64)).argmax(1)
    subsets = torch.arange(150)[:, None] % 5 != torch.arange(5)
    weights = torch.ones(16, 5, dtype=torch.float64)
    objective = LogisticObjective(DesignMatrix.of(features - features.mean(0)), labels, subsets, weights)
    penalties = torch.logspace(2, -6, 33, dtype=torch.float64)
    for solution in logistic_path(objective, penalties, 2e-2, 20):
        assert solution.converged(2e-2).all()


@pytest.mark.parametrize("size", [5, 150])
@pytest.mark.parametrize("builder", BUILDERS)
def test_preconditioner_is_symmetric_and_positive(builder: Builder, size: int) -> None:
    objective = builder(size)
    point = somewhere(objective)
    product = objective.preconditioner(objective.probabilities(point.logits), 0.7)
    left, right = torch.randn(2, *point.coefficients.shape, generator=torch.Generator().manual_seed(3))
    assert torch.allclose((left * product(right)).sum(), (right * product(left)).sum(), rtol=1e-3)
    assert ((left * product(left)).sum((0, 2)) > 0).all()


@pytest.mark.parametrize("size", [5, 150])
def test_every_subset_and_penalty_is_scikit_learns_solution(size: int) -> None:
    features, labels, subsets = draw(size)
    objective = build(size)
    scale = objective.feature_weights[:-1, :, 0].sqrt()
    penalties = torch.tensor([10.0, 1.0, 0.1], dtype=torch.float64)
    for penalty, solution in zip(penalties.tolist(), logistic_path(objective, penalties, 1e-8, 50), strict=True):
        assert (solution.gradient_norm <= 1e-8).all()
        for index, subset in enumerate(subsets.T):
            # To weigh a feature's penalty is to divide the feature by the weight's root.
            model = LogisticRegression(C=1 / penalty, solver="newton-cg", tol=1e-9, max_iter=500)
            model.fit((features[subset] / scale[:, index]).numpy(), labels[subset].numpy())
            expected = torch.from_numpy(model.coef_.T) / scale[:, index, None]
            slopes = solution.point.coefficients[:-1, index]
            assert (slopes - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_logits_keep_up_with_coefficients_along_the_path() -> None:
    objective = build(20)
    penalties = torch.logspace(4, -6, 40, dtype=torch.float64)
    *_, last = logistic_path(objective, penalties, 1e-2, 50)
    assert torch.allclose(last.point.logits, objective.at(last.point.coefficients).logits, atol=1e-9)


def test_a_class_that_a_subset_lacks_keeps_no_slope_and_no_probability() -> None:
    features, labels, subsets = draw(5)
    subsets[labels == 2, 0] = False
    objective = LogisticObjective(DesignMatrix.of(features), labels, subsets, torch.ones(5, 3, dtype=torch.float64))
    *_, solution = logistic_path(objective, torch.tensor([1.0, 0.1]), 1e-6, 50)
    assert solution.point.coefficients[:-1, 0, 2].abs().max() < 1e-9
    assert solution.probabilities[:, 0, 2].max() < 1e-50


def test_a_far_start_is_brought_back() -> None:
    objective = build(5)
    solution = minimise(objective, objective.at(objective.start()), 0.1, 1e-6, 50)
    far = objective.at(50 * torch.randn(objective.start().shape, generator=torch.Generator().manual_seed(3)).double())
    assert torch.allclose(
        minimise(objective, far, 0.1, 1e-6, 100).point.coefficients[:-1], solution.point.coefficients[:-1], atol=1e-4
    )


def test_what_has_converged_stays() -> None:
    objective = build(5)
    solution = minimise(objective, objective.at(objective.start()), 1.0, 1e-6, 50)
    assert minimise(objective, solution.point, 1.0, 1e-6, 50).point is solution.point


@pytest.mark.parametrize("size", [5, 150])
def test_every_label_is_scikit_learns_solution(size: int) -> None:
    features, labels, subsets = draw(size)
    objective = build_binary(size)
    scale = objective.feature_weights[:-1, :, 0].sqrt()
    penalties = torch.tensor([10.0, 1.0, 0.1], dtype=torch.float64)
    for penalty, solution in zip(penalties.tolist(), logistic_path(objective, penalties, 1e-8, 50), strict=True):
        for index, subset in enumerate(subsets.T):
            model = LogisticRegression(C=1 / penalty, solver="newton-cg", tol=1e-9, max_iter=500)
            model.fit((features[subset] / scale[:, index]).numpy(), (labels[subset] == index).numpy())
            expected = torch.from_numpy(model.coef_[0]) / scale[:, index]
            slopes = solution.point.coefficients[:-1, index, 0]
            assert (slopes - expected).abs().max() <= 1e-5 * expected.abs().max()
            assert float(solution.point.coefficients[-1, index, 0]) == pytest.approx(model.intercept_[0], abs=1e-4)


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_part_of_the_objectives_is_these_objectives(builder: Builder) -> None:
    objective = builder(5)
    point = somewhere(objective)
    chosen = torch.tensor([True, False, True])
    whole = objective.evaluate(point, 0.7)
    part = objective.part(chosen).evaluate(Point(point.coefficients[:, chosen], point.logits[:, chosen]), 0.7)
    for there, here in zip(whole.of(chosen)[1:4], part[1:4], strict=True):
        assert torch.allclose(there, here)
    assert torch.allclose(objective.part(chosen).value(part.point, 0.7), objective.value(point, 0.7)[chosen])
    back = whole.with_part(chosen, part)
    assert all(torch.allclose(there, here) for there, here in zip(back[1:4], whole[1:4], strict=True))


def test_a_subset_that_is_finished_stays_while_others_move() -> None:
    objective = build(5)
    done = minimise(objective, objective.at(objective.start()), 1.0, 1e-6, 50)
    mixed = done.point.coefficients.clone()
    mixed[:, 1] += 1
    solution = minimise(objective, objective.at(mixed), 1.0, 1e-6, 50)
    assert torch.equal(solution.point.coefficients[:, 0], mixed[:, 0])
    assert torch.allclose(solution.point.coefficients[:-1], done.point.coefficients[:-1], atol=1e-5)
    assert (solution.gradient_norm <= 1e-6).all()


def test_a_label_that_all_or_none_of_a_subset_have_keeps_no_slope() -> None:
    features, labels, subsets = draw(5)
    positive = labels[:, None] == torch.arange(3)
    positive[:, 0], positive[:, 1] = True, False
    objective = BinaryObjective(DesignMatrix.of(features), positive, subsets, torch.ones(5, 3, dtype=torch.float64))
    *_, solution = logistic_path(objective, torch.tensor([1.0, 0.1]), 1e-6, 50)
    assert solution.gradient_norm.max() <= 1e-6
    assert solution.point.coefficients[:-1, :2].abs().max() < 1e-9
    assert solution.probabilities[:, 0].min() == 1
    assert solution.probabilities[:, 1].max() < 1e-50


def test_a_step_that_was_to_gain_next_to_nothing_ends_it() -> None:
    objective = build(5)
    solution = minimise(objective, objective.at(objective.start()), 0.1, 1e-9, 50)
    before = objective.value(solution.point, 0.1)
    nudged = solution.point.coefficients + 1e-3
    ahead = minimise(objective, objective.at(nudged), 0.1, 0.0, 1)
    promised = ahead.gain * objective.value(objective.at(nudged), 0.1).clamp_max(1)
    fallen = objective.value(objective.at(nudged), 0.1) - before
    # A parabola falls by half its squared Newton decrement.
    assert torch.allclose(promised, 2 * fallen, rtol=0.05)
    assert ahead.converged(float(ahead.gain.max()) ** 0.5 * 1.01).all()
    assert not ahead.converged(0.0).any()
