"""Binary logistic regression for several labels of the same images, as objectives of the path."""

import torch
from torch import Tensor

from solo_invariance.regression.logistic_path import (
    ABSENT,
    LEAST_PROBABILITY,
    DesignMatrix,
    LogisticObjective,
    Product,
    multiply_stack,
    norm_of_stack,
)


class BinaryObjective(LogisticObjective):
    r"""The objectives of F pairs of a binary label and a subset of the same N images; C is 1.

    Each is :math:`\sum_i w_i \mathrm{CE}_i + \frac{\lambda}{2} \sum_d \tau_d \|v_d\|^2`, where the label has the
    probability :math:`1 / (1 + e^{-x^\top v})`.

    Args:
        design: Of the features.
        labels: Whether an image has the label, (N, F), bool.
        subsets: Whether it belongs to the subset, (N, F), bool.
        feature_weights: How much each feature is penalised, (D, F), float64.
    """

    def __init__(self, design: DesignMatrix, labels: Tensor, subsets: Tensor, feature_weights: Tensor) -> None:
        self._build(design, labels.to(design.exact)[:, :, None], subsets, feature_weights)
        # A label that no image of a subset has pulls at nothing, but the images do.
        self.largest_gradient += norm_of_stack(multiply_stack(design.exact.T, self.subsets))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities of the labels (N, F, 1)."""
        return logits.sigmoid()

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Return the cross-entropy of each image (N, F)."""
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, self.targets, reduction="none")[:, :, 0]

    def curvature(self, probabilities: Tensor, penalty: float) -> Product:
        """Return the product with the Hessians, a function of float32 (D + 1, F, 1)."""
        bend = probabilities * (1 - probabilities) * self.subsets
        bend = torch.nn.functional.threshold(bend, LEAST_PROBABILITY, 0.0).float()
        ridge = penalty * self.feature_weights.float()

        def product(direction: Tensor) -> Tensor:
            change = multiply_stack(self.design.rough, direction).mul_(bend)
            return multiply_stack(self.design.rough.T, change).addcmul_(ridge, direction)

        return product

    def hessian(self, probabilities: Tensor, penalty: float, subset: int) -> Tensor:
        """Return the Hessian of one pair, (D + 1, D + 1), float64."""
        features, share = self.design.exact, probabilities[:, subset]
        matrix = features.T @ (share * (1 - share) * self.subsets[:, subset] * features)
        matrix.diagonal().add_(penalty * self.feature_weights[:, subset, 0])
        return matrix

    def _intercepts(self, counts: Tensor, images: Tensor) -> Tensor:
        return counts.clamp_min(ABSENT).log() - (images - counts).clamp_min(ABSENT).log()
