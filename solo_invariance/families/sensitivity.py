"""The loss that keeps features sensitive to an augmentation which a method would make them ignore."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from solo_invariance.errors import UserError, did_you_mean
from solo_invariance.families.crops import generator_of
from solo_invariance.families.family import Family
from solo_invariance.families.operations.operation import Operation, Parameters, send

_DRAWS = 4096
_LEAST_DEVIATION = 1e-6


class SensitivityLoss(nn.Module):
    r"""How badly the difference of two views' drawn parameters is predicted from the features of both.

    .. math:: \sum_t \operatorname{mean}_c \operatorname{E}
              \Bigl(\phi_t(f(v), f(v'))_c - \frac{\omega_{t c} - \omega'_{t c}}{\sigma_{t c}}\Bigr)^2

    with :math:`\phi_t` a network of three layers for each operation :math:`t`, :math:`\omega` the numbers that it drew,
    and :math:`\sigma` the root mean square of their differences, so that 1 is chance for each operation, whatever its
    units. Whether an operation was applied is a number, too; the others count where both views have it applied.

    Source: Lee et al. (2021), "Improving Transferability of Representations via Augmentation-Aware Self-Supervision",
    equation 3.

    Args:
        operations: Names of operations that each view's family has, such as ``color_jitter`` and ``resized_crop``.
        families: The family of each view, at least two.
        num_features: D.
        hidden: Width of the networks.
        seed: Of their weights; the global random state is neither read nor changed.

    Raises:
        UserError: A family has no such operation, or draws nothing by which views differ; or there are no two views.

    Example:
        >>> import torch
        >>> from solo_invariance.families import FamilyViews, default
        >>> views, loss = FamilyViews(default, crop_size=32), SensitivityLoss(["color_jitter"], [default, default], 8)
        >>> drawn = views.pipeline.by_name(views.draw(4))
        >>> {name: value.shape for name, value in loss(torch.randn(2, 4, 8), drawn).items()}
        {'color_jitter': torch.Size([])}
    """

    def __init__(
        self,
        operations: Sequence[str],
        families: Sequence[Family],
        num_features: int,
        hidden: int = 512,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(families) < 2:
            raise UserError("what differs between two views needs two views of an image")
        self._operations = {name: [_operation_named(family, name) for family in families] for name in operations}
        # On the CPU, where the parameters are.
        self._scales = {name: _differences(name, of_views) for name, of_views in self._operations.items()}
        self.networks = nn.ModuleDict()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for name, scale in self._scales.items():
                self.networks[name] = nn.Sequential(
                    nn.Linear(2 * num_features, hidden),
                    nn.ReLU(),
                    nn.Linear(hidden, hidden),
                    nn.ReLU(),
                    nn.Linear(hidden, int((scale > 0).sum())),
                )

    def forward(self, features: Sequence[Tensor], parameters: Sequence[Mapping[str, Parameters]]) -> dict[str, Tensor]:
        """Return the loss of each operation, by its name; 1 is chance.

        Args:
            features: (N, D), of each view.
            parameters: What each view's operations drew for the N images, by name.
        """
        pairs = list(combinations(range(len(features)), 2))
        together = {pair: torch.cat([features[one] for one in pair], dim=1) for pair in pairs}
        return {
            name: torch.stack([self._loss(name, both, pair, parameters) for pair, both in together.items()]).mean()
            for name in self._operations
        }

    def _loss(
        self, name: str, both: Tensor, pair: tuple[int, int], parameters: Sequence[Mapping[str, Parameters]]
    ) -> Tensor:
        drawn = [_quantities(self._operations[name][view], parameters[view][name]) for view in pair]
        scale = self._scales[name]
        told = scale > 0
        difference = ((drawn[0][0] - drawn[1][0]) / scale.where(told, 1.0))[:, told]
        known = (drawn[0][1] & drawn[1][1])[:, told].float()
        # Each number's mean over the images that have it, and the mean of these.
        weights = known / known.sum(0).clamp(min=1) / known.any(0).sum().clamp(min=1)
        predicted = self.networks[name](both.to(next(self.networks[name].parameters()).dtype)).float()
        errors = mse_loss(predicted, send(difference, both.device), reduction="none")
        return (errors * send(weights, both.device)).sum()


def _operation_named(family: Family, name: str) -> Operation:
    if name not in family.names:
        hint = did_you_mean(name, family.names)
        raise UserError(f"{name}: the family {family.name} draws {', '.join(family.names) or 'nothing'}{hint}")
    return family.operations[family.names.index(name)]


def _quantities(operation: Operation, parameters: Parameters) -> tuple[Tensor, Tensor]:
    """Return the numbers (N, C) that were drawn, and where there are any (N, C): not where it was not applied."""
    applied = parameters.get("applied")
    values, known = [], []
    for name, value in parameters.items():
        if name in operation.no_quantities:
            continue
        numbers = value.float().flatten(1) if value.ndim > 1 else value.float()[:, None]
        values.append(numbers)
        everywhere = torch.ones_like(numbers, dtype=torch.bool)
        known.append(everywhere if applied is None or name == "applied" else everywhere & applied[:, None])
    return torch.cat(values, dim=1), torch.cat(known, dim=1)


def _differences(name: str, operations: Sequence[Operation]) -> Tensor:
    """Return how much each number (C,) differs between views, in the root mean square; 0 where it never does."""
    generator = generator_of((0,))
    drawn = [_quantities(operation, operation.draw(_DRAWS, generator)) for operation in operations]
    squares, counts = [], []
    for (one, one_known), (other, other_known) in combinations(drawn, 2):
        known = one_known & other_known
        squares.append(((one - other).square() * known).sum(0))
        counts.append(known.sum(0))
    scale = (torch.stack(squares).sum(0) / torch.stack(counts).sum(0).clamp(min=1)).sqrt()
    scale = torch.where(scale > _LEAST_DEVIATION, scale, 0.0)
    if not bool((scale > 0).any()):
        raise UserError(f"{name}: two views never differ by it, so that there is nothing to be sensitive to")
    return scale
