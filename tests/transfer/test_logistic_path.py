import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from solo_invariance.transfer.logistic_path import Design, LogisticObjective, Point, logistic_path, minimise

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
    return LogisticObjective(Design.of(features), labels, subsets, weights)


def somewhere(objective: LogisticObjective) -> Point:
    start = objective.start()
    return objective.at(start + 0.3 * torch.randn(start.shape, generator=torch.Generator().manual_seed(2)))


@pytest.mark.parametrize("size", [5, 150])
def test_gradient_is_the_derivative_of_the_value(size: int) -> None:
    objective = build(size)
    point = somewhere(objective)
    coefficients = point.coefficients.clone().requires_grad_()
    expected = torch.autograd.grad(objective.value(objective.at(coefficients), 0.7).sum(), coefficients)[0]
    gradient = objective.gradient(point.coefficients, point.logits.softmax(2), 0.7)
    assert torch.allclose(gradient, expected, atol=1e-10)


@pytest.mark.parametrize("size", [5, 150])
def test_curvature_is_the_derivative_of_the_gradient(size: int) -> None:
    objective = build(size)
    point = somewhere(objective)
    direction = torch.randn(point.coefficients.shape, generator=torch.Generator().manual_seed(3)).double()

    def gradient(coefficients: Tensor) -> Tensor:
        return objective.gradient(coefficients, objective.at(coefficients).logits.softmax(2), 0.7)

    _, expected = torch.autograd.functional.jvp(gradient, point.coefficients, direction)
    product = objective.curvature(point.logits.softmax(2), 0.7)(direction.float())
    assert (product - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("size", [5, 150])
def test_preconditioner_is_symmetric_and_positive(size: int) -> None:
    objective = build(size)
    point = somewhere(objective)
    product = objective.preconditioner(point.logits.softmax(2), 0.7)
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
    objective = LogisticObjective(Design.of(features), labels, subsets, torch.ones(5, 3, dtype=torch.float64))
    *_, solution = logistic_path(objective, torch.tensor([1.0, 0.1]), 1e-6, 50)
    assert solution.point.coefficients[:-1, 0, 2].abs().max() < 1e-9
    assert solution.point.logits.softmax(2)[:, 0, 2].max() < 1e-50


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
