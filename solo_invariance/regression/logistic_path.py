r"""Logistic regression for every penalty and several subsets of the images at once.

The objective of one subset is :math:`\sum_i w_i \mathrm{CE}_i + \frac{\lambda}{2} \sum_d \tau_d \|W_d\|^2`, with the
intercept not penalised. It is minimised by Newton's method, whose steps come from conjugate gradients (Nocedal & Wright
2006, "Numerical Optimization", algorithm 7.1), from the largest penalty to the smallest, each solution continuing the
line through the two before: in :math:`\log \lambda` the path is close to straight.

Steps are found in float32, and cost most of the time; gradients, objectives and coefficients are float64, so the
solutions are as exact as the tolerance asks for. Classes that can all but be told apart without error leave Hessians
too ill-conditioned for conjugate gradients at weak penalties: those that are small enough are factored, in float64.
"""

from collections.abc import Callable, Iterator
from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor

from solo_invariance.regression.positive_definite import solve_positive
from solo_invariance.regression.standardise import principal_axes

# A step is precise to about 1e-7: a curvature below this share of the largest would drown in its rounding.
_LEAST_CURVATURE = 1e-6
# No gradient is asked to fall below the tolerance times this share of what it can be: rounding is not far from there.
_LEAST_GRADIENT = 1e-8
# In float32 a smaller one would turn into subnormal numbers, which some processors are a hundred times slower with.
LEAST_PROBABILITY = 1e-20
# The number of images of a class that is not there.
ABSENT = 1e-100
_MAX_DIRECTIONS = 100
_MAX_HALVINGS = 30
# Of a subset, up to which its Hessian may be factored: 72 MB.
_MOST_UNKNOWNS = 3000

Product = Callable[[Tensor], Tensor]


class Point(NamedTuple):
    """Coefficients (D + 1, F, C), float64, the intercept last, and the logits (N, F, C) of all images."""

    coefficients: Tensor
    logits: Tensor


class Solution(NamedTuple):
    """Minima for one penalty, or what is on the way there.

    Attributes:
        point: Where they are.
        probabilities: Of the classes there, (N, F, C).
        gradient: (D + 1, F, C).
        gradient_norm: Of each subset's objective, relative to the norm of its penalty's part (F,). As the objective
            is strongly convex in the slopes, this bounds their relative error.
        gain: By how much the step that led here was to lower the objective (the squared Newton decrement), relative to
            the objective where that is below 1 (F,); infinite at the start. With a weak penalty it says better than the
            bound that nothing is left to gain.
    """

    point: Point
    probabilities: Tensor
    gradient: Tensor
    gradient_norm: Tensor
    gain: Tensor

    def converged(self, tolerance: float) -> Tensor:
        """Return whether the gradient norm is within the tolerance, or the gain within its square, (F,), bool."""
        return (self.gradient_norm <= tolerance) | (self.gain <= tolerance**2)

    def of(self, subsets: Tensor) -> "Solution":
        """Return the part of some subsets (F,), bool."""
        coefficients, logits, probabilities, gradient = (
            stack[:, subsets] for stack in (*self.point, self.probabilities, self.gradient)
        )
        point = Point(coefficients, logits)
        return Solution(point, probabilities, gradient, self.gradient_norm[subsets], self.gain[subsets])

    def with_part(self, subsets: Tensor, part: "Solution") -> "Solution":
        """Return a copy in which some subsets (F,), bool, have moved to the given part."""
        coefficients, logits = (_replaced(*pair, subsets) for pair in zip(self.point, part.point, strict=True))
        probabilities = _replaced(self.probabilities, part.probabilities, subsets)
        gradient = _replaced(self.gradient, part.gradient, subsets)
        norm = self.gradient_norm.masked_scatter(subsets, part.gradient_norm)
        gain = self.gain.masked_scatter(subsets, part.gain)
        return Solution(Point(coefficients, logits), probabilities, gradient, norm, gain)


class DesignMatrix(NamedTuple):
    """Features in the forms that the solver needs; the same for all subsets of the images.

    Attributes:
        exact: Features and a column of ones, (N, D + 1), float64.
        rough: The same in float32.
        axes: Principal axes of the features, (D, R), float32.
        scatter: Along each axis, (R,), float64.
    """

    exact: Tensor
    rough: Tensor
    axes: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, features: Tensor) -> "DesignMatrix":
        """Return the design of centred features (N, D), float64."""
        axes, scatter = principal_axes(features)
        exact = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
        return cls(exact, exact.float(), axes.float(), scatter)


class LogisticObjective:
    """The multinomial objectives of F subsets of the same N images.

    Args:
        design: Of the features.
        labels: (N,), int64 in [0, C).
        subsets: Whether an image belongs to a subset, (N, F), bool.
        feature_weights: How much each feature is penalised, (D, F), float64.
    """

    def __init__(self, design: DesignMatrix, labels: Tensor, subsets: Tensor, feature_weights: Tensor) -> None:
        targets = torch.nn.functional.one_hot(labels)[:, None].expand(-1, subsets.shape[1], -1)
        self._build(design, targets.to(design.exact), subsets, feature_weights)

    def _build(self, design: DesignMatrix, targets: Tensor, subsets: Tensor, feature_weights: Tensor) -> None:
        """Take targets (N, F, C), float64."""
        self.design = design
        self.targets = targets
        self.subsets = subsets.to(design.exact)[:, :, None]
        self.feature_weights = torch.cat([feature_weights, torch.zeros_like(feature_weights[:1])])[:, :, None]
        self.largest_gradient = norm_of_stack(multiply_stack(design.exact.T, self.targets * self.subsets))

    def part(self, subsets: Tensor) -> "LogisticObjective":
        """Return the objectives of some of the subsets (F,), bool."""
        part = copy(self)
        part.targets = self.targets[:, subsets]
        part.subsets = self.subsets[:, subsets]
        part.feature_weights = self.feature_weights[:, subsets]
        part.largest_gradient = self.largest_gradient[subsets]
        return part

    def start(self) -> Tensor:
        """Return the minimum for an infinite penalty: no slopes, and the intercepts that the classes' numbers ask for.

        A class that a subset lacks gets an intercept so low that its probability is 0, and it stays there.
        """
        intercepts = self._intercepts((self.subsets * self.targets).sum(0), self.subsets.sum(0))
        return torch.cat([intercepts.new_zeros(self.design.exact.shape[1] - 1, *intercepts.shape), intercepts[None]])

    def learnable(self) -> Tensor:
        """Return whether a subset has images with a class and images without, (F, C), bool."""
        counts = (self.subsets * self.targets).sum(0)
        return (counts > 0) & (counts < self.subsets.sum(0))

    def at(self, coefficients: Tensor) -> Point:
        """Return coefficients (D + 1, F, C) with their logits."""
        return Point(coefficients, multiply_stack(self.design.exact, coefficients))

    def evaluate(self, point: Point, penalty: float) -> Solution:
        """Return a point with its gradients."""
        probabilities = self.probabilities(point.logits)
        gradient = self.gradient(point.coefficients, probabilities, penalty)
        norm = self._gradient_norm(gradient, point.coefficients, penalty)
        return Solution(point, probabilities, gradient, norm, torch.full_like(norm, torch.inf))

    def value(self, point: Point, penalty: float) -> Tensor:
        """Return the objectives (F,)."""
        cross_entropy = (self.cross_entropy(point.logits) * self.subsets[:, :, 0]).sum(0)
        return cross_entropy + penalty / 2 * (self.feature_weights * point.coefficients**2).sum((0, 2))

    def gradient(self, coefficients: Tensor, probabilities: Tensor, penalty: float) -> Tensor:
        """Return the gradients (D + 1, F, C), where the classes have these probabilities (N, F, C)."""
        residual = (probabilities - self.targets).mul_(self.subsets)
        return multiply_stack(self.design.exact.T, residual).addcmul_(self.feature_weights, coefficients, value=penalty)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities of the classes (N, F, C)."""
        return logits.softmax(2)

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Return the cross-entropy of each image (N, F)."""
        return -(logits.log_softmax(2) * self.targets).sum(2)

    def curvature(self, probabilities: Tensor, penalty: float) -> Product:
        """Return the product with the Hessians, a function of float32 (D + 1, F, C).

        All intercepts of a subset can rise together without a change: a trace of curvature there keeps steps finite.
        """
        trace = _LEAST_CURVATURE * self._curvature_of_intercepts(probabilities).amax(1)
        probabilities = torch.nn.functional.threshold(probabilities, LEAST_PROBABILITY, 0.0).float()
        weighted = probabilities * self.subsets.float()
        likeliest = probabilities.argmax(2, keepdim=True)
        ridge = penalty * self.feature_weights.float()
        ridge = torch.cat([ridge[:-1], trace.float()[None, :, None]])

        def product(direction: Tensor) -> Tensor:
            change = multiply_stack(self.design.rough, direction)
            # Where a class is nearly certain, its mean change all but equals its own: from 0, nothing cancels.
            change -= change.gather(2, likeliest)
            change -= (probabilities * change).sum(2, keepdim=True)
            return multiply_stack(self.design.rough.T, change.mul_(weighted)).addcmul_(ridge, direction)

        return product

    def hessian(self, probabilities: Tensor, penalty: float, subset: int) -> Tensor:
        """Return the Hessian of one subset, (C (D + 1), C (D + 1)), float64, class by class; see ``curvature``."""
        features, of_subset = self.design.exact, self.subsets[:, subset]
        shares = probabilities[:, subset]
        own = (shares * of_subset).T
        mixed = (shares * of_subset.sqrt())[:, :, None] * features[:, None]
        matrix = torch.block_diag(*(features.T @ (weights[:, None] * features) for weights in own))
        matrix.addmm_(mixed.flatten(1).T, mixed.flatten(1), alpha=-1)
        trace = _LEAST_CURVATURE * self._curvature_of_intercepts(probabilities)[subset].amax()
        ridge = torch.cat([penalty * self.feature_weights[:-1, subset, 0], trace[None]])
        matrix.diagonal().add_(ridge.repeat(shares.shape[1]))
        return matrix

    def preconditioner(self, probabilities: Tensor, penalty: float) -> Product:
        """Return an approximate product with the inverse Hessians, a function of float32 (D + 1, F, C).

        It gives every image the mean curvature of a class, and every subset the scatter of all images: then the
        Hessians are diagonal along the principal axes.
        """
        intercept = self._curvature_of_intercepts(probabilities)
        mean = intercept / len(probabilities)
        intercept = intercept.clamp_min(_LEAST_CURVATURE * intercept.amax(1, keepdim=True)).float()
        least = _LEAST_CURVATURE * (mean * self.design.scatter.norm() + penalty)
        within = torch.maximum(mean * self.design.scatter[:, None, None] + penalty, least).float()
        outside = least.clamp_min(penalty).float()

        def product(residual: Tensor) -> Tensor:
            loads = multiply_stack(self.design.axes.T, residual[:-1])
            slopes = multiply_stack(self.design.axes, loads / within)
            if len(self.design.axes) > len(loads):
                slopes += (residual[:-1] - multiply_stack(self.design.axes, loads)) / outside
            return torch.cat([slopes, (residual[-1] / intercept)[None]])

        return product

    def _intercepts(self, counts: Tensor, images: Tensor) -> Tensor:
        """Return intercepts (F, C) where classes have these numbers of images (F, C), of all (F, 1)."""
        return counts.clamp_min(ABSENT).log()

    def _gradient_norm(self, gradient: Tensor, coefficients: Tensor, penalty: float) -> Tensor:
        """Return the norms (F,) of gradients, relative to those of their penalty's part."""
        reference = (
            penalty * norm_of_stack(self.feature_weights * coefficients) + _LEAST_GRADIENT * self.largest_gradient
        )
        norm = norm_of_stack(gradient)
        return torch.where(norm > 0, norm / reference, 0)

    def _curvature_of_intercepts(self, probabilities: Tensor) -> Tensor:
        """Return the second derivatives (F, C), kept apart from 0."""
        return (probabilities * (1 - probabilities) * self.subsets).sum(0).clamp_min(LEAST_PROBABILITY)


def logistic_path(
    objective: LogisticObjective, penalties: Tensor, tolerance: float, max_iterations: int
) -> Iterator[Solution]:
    """Yield the solution for each penalty.

    Args:
        objective: What to minimise.
        penalties: (P,), descending.
        tolerance: Of the gradient norm, or its square of the gain; see ``Solution``.
        max_iterations: Newton steps for each penalty.
    """
    steps = penalties.log().diff()
    reaches = [0.0, 0.0, *(steps[1:] / steps[:-1]).nan_to_num().clamp(0, 1).tolist()]
    now = before = objective.at(objective.start())
    for penalty, reach in zip(penalties.tolist(), reaches, strict=False):
        guess = Point(*(there + reach * (there - behind) for there, behind in zip(now, before, strict=True)))
        solution = minimise(objective, guess, penalty, tolerance, max_iterations)
        before, now = now, solution.point
        yield solution


def minimise(
    objective: LogisticObjective, point: Point, penalty: float, tolerance: float, max_iterations: int
) -> Solution:
    """Return the solution for one penalty; subsets that have converged stay as they are.

    Args:
        objective: What to minimise.
        point: Where to start.
        penalty: Of the squared slopes.
        tolerance: Of the gradient norm, or its square of the gain; see ``Solution``.
        max_iterations: Newton steps.
    """
    solution = objective.evaluate(point, penalty)
    for _ in range(max_iterations):
        unfinished = ~solution.converged(tolerance)
        if not unfinished.any():
            break
        if unfinished.all():
            solution = _advance(objective, solution, penalty, tolerance)
        else:
            part = _advance(objective.part(unfinished), solution.of(unfinished), penalty, tolerance)
            solution = solution.with_part(unfinished, part)
    return solution


def _advance(objective: LogisticObjective, here: Solution, penalty: float, tolerance: float) -> Solution:
    """Return where a Newton step leads; it is taken in full where that is all that was needed."""
    change = objective.at(_newton_step(objective, here, penalty, tolerance))
    ahead = objective.evaluate(_moved(here.point, change), penalty)
    unfinished = ahead.gradient_norm > tolerance
    if not unfinished.any():
        return ahead
    value, slope = objective.value(here.point, penalty), _dot(here.gradient, change.coefficients)
    length = torch.where(unfinished, _step_length(objective, here.point, change, penalty, value, slope), 1)
    if (length < 1).any():
        ahead = objective.evaluate(_moved(here.point, change, length[:, None]), penalty)
    return ahead._replace(gain=-slope / value.clamp_max(1))


def _moved(point: Point, change: Point, length: float | Tensor = 1.0) -> Point:
    return Point(*(here + length * move for here, move in zip(point, change, strict=True)))


def _newton_step(objective: LogisticObjective, here: Solution, penalty: float, tolerance: float) -> Tensor:
    """Return a step (D + 1, F, C) that should bring the gradients within the tolerance, or at least nearer."""
    size = norm_of_stack(here.gradient).clamp_min(torch.finfo(here.gradient.dtype).tiny)[:, None]
    reduction = tolerance / here.gradient_norm
    step, solved = _conjugate_gradients(
        objective.curvature(here.probabilities, penalty),
        objective.preconditioner(here.probabilities, penalty),
        -(here.gradient / size).float(),
        # Twice as far as asked for, as the objective is no parabola; but a new parabola beats a factor beyond 1/20.
        (reduction / 2).clamp(0.05, 0.5).float(),
    )
    step = step.double() * size
    if here.gradient[:, 0].numel() <= _MOST_UNKNOWNS:
        for subset in (~solved).nonzero()[:, 0].tolist():
            step[:, subset] = _exact_step(objective, here, penalty, subset)
    return step


def _exact_step(objective: LogisticObjective, here: Solution, penalty: float, subset: int) -> Tensor:
    """Return the Newton step (D + 1, C) of a subset that is too ill-conditioned for conjugate gradients."""
    gradient = here.gradient[:, subset].T
    step = solve_positive(objective.hessian(here.probabilities, penalty, subset), -gradient.reshape(-1, 1))
    return step.view_as(gradient).T


def _conjugate_gradients(
    curvature: Product, precondition: Product, residual: Tensor, reduction: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve curvature(solution) = residual for each subset, until the residual's norm has fallen by ``reduction``.

    Return the solution, and which subsets were solved before there were too many directions (F,).
    """
    solution = torch.zeros_like(residual)
    direction = precondition(residual)
    energy = _dot(residual, direction)
    goal = reduction**2 * energy
    open_subsets = energy > goal
    for _ in range(_MAX_DIRECTIONS):
        image = curvature(direction)
        bend = _dot(direction, image)
        open_subsets &= bend > 0
        length = torch.where(open_subsets, energy / bend, 0)[:, None]
        solution.addcmul_(length, direction)
        residual = residual - length * image
        preconditioned = precondition(residual)
        energy, energy_before = _dot(residual, preconditioned), energy
        open_subsets &= energy > goal
        if not open_subsets.any():
            break
        direction = preconditioned + torch.where(open_subsets, energy / energy_before, 0)[:, None] * direction
    return solution, ~open_subsets


def _step_length(
    objective: LogisticObjective, here: Point, change: Point, penalty: float, value: Tensor, slope: Tensor
) -> Tensor:
    """Return what share of its step each subset takes (F,): it is halved until the objective falls enough (Armijo).

    A subset whose objective will not fall stays where it is.
    """
    rounding = 1e-10 * value + 1e-15 * len(change.logits)
    length = torch.ones_like(slope)
    for _ in range(_MAX_HALVINGS):
        ahead = _moved(here, change, length[:, None])
        too_long = ~(objective.value(ahead, penalty) <= value + 1e-4 * length * slope + rounding)
        if not too_long.any():
            return length
        length = torch.where(too_long, length / 2, length)
    return torch.where(too_long, 0, length)


def _replaced(stack: Tensor, part: Tensor, subsets: Tensor) -> Tensor:
    """Return a copy of (K, F, C) with some of its subsets (F,), bool, replaced."""
    stack = stack.clone()
    stack[:, subsets] = part
    return stack


def multiply_stack(matrix: Tensor, stack: Tensor) -> Tensor:
    """Multiply a matrix (M, K) with each column of (K, F, C), all in one product."""
    return (matrix @ stack.flatten(1)).view(-1, *stack.shape[1:])


def _dot(left: Tensor, right: Tensor) -> Tensor:
    return torch.einsum("dfc,dfc->f", left, right)


def norm_of_stack(stack: Tensor) -> Tensor:
    """Return the norms (F,) of (K, F, C)."""
    return _dot(stack, stack).sqrt()
