"""Fusions with numbers of their own, which come from the members' features on reference images."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from solo_invariance.backbones.fusion import FusionHead

# Of a member's largest standard deviation, or of that of a component: what is below is rounding, not signal.
_ROUNDING = 1e-6
# Of the root mean square of a member's standard deviations: a feature that varies less is not brought up to the others.
_LEAST_DEVIATION = 0.1


class Standardized(FusionHead):
    r"""Each member's features z-scored on reference images and scaled so that no width decides, then concatenated.

    A feature :math:`f` of member :math:`m` becomes :math:`w_m \sqrt{D / (M D_m)} (f - \mu) / \sigma`: with weights
    :math:`w_m = 1`, all members have the same total variance, and all features together the variance :math:`D` that
    plain z-scores would have. A feature that is constant on the reference images becomes 0, and does not count in
    :math:`D_m` and :math:`D`. One that hardly varies there, by less than a tenth of the root mean square of its
    member's :math:`\sigma`, is divided by that tenth: on other images it may vary a thousand times as much, and would
    drown all others.

    Args:
        widths: Of the members' features, :math:`D_m`.
        weights: :math:`w_m`, of each member; 1 by default.

    Raises:
        ValueError: The weights are not one for each member, or one is negative or not finite, or all are 0.
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, widths: Sequence[int], weights: Sequence[float] | None = None) -> None:
        super().__init__(widths, weights=None if weights is None else _checked_weights(weights, len(widths)))
        self.register_buffer("mean", torch.zeros(self.num_features))
        self.register_buffer("factor", torch.ones(self.num_features))

    def fit(self, features: Sequence[Tensor]) -> "Standardized":
        """Take mean and standard deviation from the features of reference images, one (N, D_i) a member.

        Raises:
            ValueError: There are fewer than two images.
        """
        together = _side_by_side(features, self.widths)
        deviation, self.mean = (statistic.to(self.mean) for statistic in torch.std_mean(together, dim=0))
        largest = _by_member(deviation, self.widths, Tensor.max)
        varies = deviation > _ROUNDING * self.mean.abs().maximum(largest)
        divisor = deviation.maximum(_LEAST_DEVIATION * _by_member(deviation, self.widths, _root_mean_square))
        variances = torch.where(varies, deviation / divisor, 0.0) ** 2
        self.factor = torch.where(varies, self._shares(variances) / divisor, 0.0)
        return self

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return fused features (N, D) of features, one (N, D_i) a member."""
        return (torch.cat(list(features), dim=1) - self.mean) * self.factor

    def _shares(self, variances: Tensor) -> Tensor:
        """Return what brings members, whose features have these variances (D,), to their shares of the whole, (D,)."""
        weights = self.mean.new_tensor(self.options["weights"] or [1.0] * len(self.widths))
        totals = torch.stack([member.sum() for member in variances.split(self.widths)])
        equal = (variances > 0).sum() / len(self.widths)
        shares = torch.where(totals > 0, weights * (equal / totals).sqrt(), 0.0)
        return shares.repeat_interleave(torch.tensor(self.widths, device=shares.device))


class Weighted(Standardized):
    r"""Standardised members, each with a penalty of its own in a linear probe.

    A probe that penalises all fused features by :math:`\lambda` penalises the features of member :math:`m`, as they
    were before its weight, by :math:`\lambda / w_m^2` (banded ridge regression; Nunez-Elizalde, Huth & Gallant 2019,
    "Voxelwise encoding models with non-spherical multivariate normal priors", section 2). Without weights,
    ``transfer`` chooses them by cross-validation for each task.
    """

    @property
    def open_widths(self) -> list[int] | None:
        """The members' widths, where each task is to choose what each member's features weigh; None elsewhere."""
        return self.widths if self.options["weights"] is None else None


class Projected(FusionHead):
    """The principal components of the standardised members, each scaled to unit variance.

    A fusion then costs downstream what a backbone of that width costs.

    Args:
        widths: Of the members' features.
        width: How many components are kept.

    Raises:
        ValueError: It is no positive number, or larger than the concatenation.
    """

    mean: Tensor
    axes: Tensor

    def __init__(self, widths: Sequence[int], width: int | None = None) -> None:
        super().__init__(widths, width=width)
        if width is None:
            raise ValueError("width is missing: say how many components are kept")
        if not 1 <= width <= sum(self.widths):
            raise ValueError(
                f"width={width}, expected at least 1 and at most {sum(self.widths)}, what the members have"
            )
        self.num_features = width
        self.register_buffer("mean", torch.zeros(sum(self.widths)))
        self.register_buffer("axes", torch.zeros(sum(self.widths), width))

    def fit(self, features: Sequence[Tensor]) -> "Projected":
        """Find the components of the features of reference images, one (N, D_i) a member.

        Raises:
            ValueError: The images span fewer dimensions than are to be kept.
        """
        standardized = Standardized(self.widths).double().fit([f.double() for f in features])
        fused = standardized([f.double() for f in features])
        variances, axes = _principal_components(fused)
        width = self.num_features
        if width > len(variances):
            raise ValueError(
                f"width={width}: {len(fused)} reference images span {len(variances)} dimensions; take more images, or "
                "a smaller width"
            )
        self.mean = standardized.mean.to(self.mean)
        self.axes = (standardized.factor[:, None] * axes[:, :width] / variances[:width].sqrt()).to(self.axes)
        self.axes = self.axes.contiguous()  # as they are read again: products are then the same, bit for bit
        return self

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return fused features (N, width) of features, one (N, D_i) a member."""
        return (torch.cat(list(features), dim=1) - self.mean) @ self.axes


def _by_member(values: Tensor, widths: Sequence[int], summary: Callable[[Tensor], Tensor]) -> Tensor:
    """Return, for each feature (D,), the summary of its member's values."""
    return torch.cat([summary(member).expand(len(member)) for member in values.split(list(widths))])


def _root_mean_square(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()


def _checked_weights(weights: Sequence[float], members: int) -> list[float]:
    numbers = [float(weight) for weight in weights]
    if len(numbers) != members or not all(0 <= weight < float("inf") for weight in numbers) or not any(numbers):
        raise ValueError(
            f"weights={numbers}, expected {members} finite numbers, of which none is negative and not all are 0"
        )
    return numbers


def _side_by_side(features: Sequence[Tensor], widths: Sequence[int]) -> Tensor:
    if [f.shape[1] for f in features] != list(widths):
        raise ValueError(f"features of widths {[f.shape[1] for f in features]}, expected {list(widths)}")
    if len(features[0]) < 2:
        raise ValueError(f"{len(features[0])} reference images, expected at least 2")
    return torch.cat([f.double() for f in features], dim=1)


def _principal_components(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Return the variances (R,), descending, and axes (D, R) of centred features (N, D), as far as they vary.

    Of each axis, the entry of the largest size is positive: what a decomposition leaves open must not differ between
    machines.
    """
    if len(centred) > centred.shape[1]:
        scatter, axes = (part.flip(-1) for part in torch.linalg.eigh(centred.T @ centred))
        axes = axes.T
    else:
        _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
        scatter = singular**2
    present = scatter > _ROUNDING**2 * scatter[0]
    axes = axes[present]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return scatter[present] / (len(centred) - 1), (axes * largest.sign()).T
