"""Shapers in closed form, and the one that averages over orbits."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from solo_invariance.backbones.shaping import FactorMoments, Reached, Shaper, ShapingReference
from solo_invariance.backbones.views import OrbitViews
from solo_invariance.errors import UserError
from solo_invariance.shape.closed_forms import Projection, covariance_with, erasing, ordered_directions, shrunk

Concept = Literal["coordinates", "levels"]
Keep = Literal["invariant", "sensitive"]


class _Linear(Shaper):
    """Takes directions out of features: :math:`x - A B^\\top (x - \\mu)`; the rest, and the width, stay.

    Args:
        widths: Of the features, a list of one.
        rank: How many directions it takes out, once it is fitted.
    """

    mean: Tensor
    reads: Tensor
    writes: Tensor

    def __init__(self, widths: Sequence[int], rank: int = 0, **options: float | str | None) -> None:
        super().__init__(widths, rank=rank, **options)
        (width,) = self.widths
        if not 0 <= rank <= width:
            raise ValueError(f"rank={rank}, expected 0 to {width}")
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("reads", torch.zeros(width, rank))
        self.register_buffer("writes", torch.zeros(width, rank))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return what is left (N, D) of features, a list of one (N, D)."""
        (own,) = features
        return Projection(self.mean, self.reads, self.writes)(own) if self.options["rank"] else own

    def _take_out(self, projection: Projection) -> None:
        self.options["rank"] = projection.rank
        self.mean, self.reads, self.writes = (part.to(self.mean).contiguous() for part in projection)


class Erase(_Linear):
    r"""Removes what a linear probe reads of a factor, and changes features the least otherwise.

    Source: Belrose et al. (2023), "LEACE: Perfect linear concept erasure in closed form", theorem 4.3.

    Args:
        widths: Of the features, a list of one.
        concept: What is not to be read. ``coordinates``: the numbers that tell levels apart, such as an angle's cosine
            and sine, as a linear regression would read them. ``levels``: each level by itself, as a linear classifier
            would; it takes out up to one direction less than there are levels. Of a column, both are the same.
        rank: How many directions it takes out, once it is fitted.

    Raises:
        ValueError: ``concept`` is neither.
    """

    def __init__(self, widths: Sequence[int], concept: Concept = "coordinates", rank: int = 0) -> None:
        super().__init__(widths, rank=rank, concept=concept)
        if concept not in get_args(Concept):
            raise ValueError(f"concept={concept}, expected {' or '.join(get_args(Concept))}")

    def fit(self, reference: ShapingReference) -> "Erase":
        """Return it, fitted: after it, features of the reference images are not correlated with any factor.

        Raises:
            ValueError: Nothing is left of what the reference images' features vary by.
        """
        moments = reference.moments()
        crosses = [covariance_with(one, self._concept(one)) for one in moments.values()]
        # Each factor's features have a covariance of their own; what is uncorrelated after it does not depend on it.
        mean, total, _ = pooled(moments)
        projection = erasing(mean, shrunk(total, _images(moments)), torch.cat(crosses, dim=1))
        spanned = len(ordered_directions(mean, total, total).share)
        if projection.rank >= spanned:
            raise ValueError(
                f"it would take out all {spanned} directions that {_images(moments)} images "
                f"show: take more images, a smaller k, or concept=coordinates"
            )
        self._take_out(projection)
        return self

    def missed(self, reached: Reached) -> str | None:
        """Return how much a linear read-out still explains, where that is more than a little."""
        left = reached.readout_after
        return None if left is None or left <= _LITTLE else f"a linear read-out still explains {left:.2f} of it"

    def _concept(self, moments: FactorMoments) -> Tensor:
        if self.options["concept"] == "levels":
            return torch.eye(len(moments.weights), dtype=torch.float64)
        return moments.coordinates


class Dial(_Linear):
    r"""Takes out the directions that a factor changes most, or least: from sensitive to invariant, or the other way.

    Directions are ordered by the share of their variance that the factor makes. ``keep=invariant`` takes out those of
    the largest share first, ``keep=sensitive`` those of the smallest. At least one direction stays. Shares are those of
    a covariance that is shrunk by how few the images are, since others vary in more directions.

    Args:
        widths: Of the features, a list of one.
        keep: Which directions stay: ``invariant`` or ``sensitive``.
        strength: How much is taken out, from 0 to 1: of the features' variance that the factor makes, or for
            ``sensitive`` of the rest; as few directions as it takes. 0 leaves the features as they are.
        directions: How many directions stay, in place of ``strength``.
        rank: How many directions it takes out, once it is fitted.

    Raises:
        ValueError: An argument is out of its range, or both ``strength`` and ``directions`` are given.
    """

    def __init__(
        self,
        widths: Sequence[int],
        keep: Keep = "invariant",
        strength: float | None = None,
        directions: int | None = None,
        rank: int = 0,
    ) -> None:
        super().__init__(widths, rank=rank, keep=keep, strength=strength, directions=directions)
        if keep not in get_args(Keep):
            raise ValueError(f"keep={keep}, expected {' or '.join(get_args(Keep))}")
        if (strength is None) == (directions is None):
            raise ValueError("expected a strength from 0 to 1, or a number of directions")
        if strength is not None and not 0 <= strength <= 1:
            raise ValueError(f"strength={strength}, expected a number from 0 to 1")
        if directions is not None and not 1 <= directions <= self.widths[0]:
            raise ValueError(f"directions={directions}, expected 1 to {self.widths[0]}")

    def fit(self, reference: ShapingReference) -> "Dial":
        """Return it, fitted to reference images.

        Raises:
            ValueError: They span fewer directions than are to stay.
        """
        moments = reference.moments()
        mean, total, changed = pooled(moments)
        spanned = len(ordered_directions(mean, total, total).share)
        found = ordered_directions(mean, shrunk(total, _images(moments)), changed)
        invariant = self.options["keep"] == "invariant"
        order = torch.arange(len(found.share))
        if invariant:
            order = order.flip(0)
        gone = found.variance * (found.share if invariant else 1 - found.share)
        taken_out = order[: self._count(gone[order], spanned)]
        self._take_out(found.without(taken_out) if len(taken_out) else Projection.of_nothing(len(mean)))
        return self

    def missed(self, reached: Reached) -> str | None:
        """Return how much of what the factor makes is gone, where that is less than was asked for."""
        strength = self.options["strength"]
        if strength is None or self.options["keep"] != "invariant" or reached.taken_out >= strength - _LITTLE:
            return None
        return f"{reached.taken_out:.2f} of what it makes is taken out, of the {strength:.2f} that were asked for"

    def _count(self, gone: Tensor, spanned: int) -> int:
        """Return how many directions to take out, of what goes with each, in the order to go."""
        wanted, strength = self.options["directions"], self.options["strength"]
        if wanted is not None:
            if wanted > spanned:
                raise ValueError(f"directions={wanted}: the reference images' features vary in {spanned}")
            return len(gone) - int(wanted)
        if not strength:
            return 0
        together = gone.cumsum(0)
        reached = int((together < float(strength) * float(together[-1]) * (1 - _EPSILON)).sum()) + 1
        return min(reached, len(gone) - 1)


class Centre(Shaper):
    r"""Gives the features of each value of a column the mean of all, and the deviation that values have on average.

    .. math:: y = \mu + \sigma (x - \mu_g) / \sigma_g, \quad \sigma^2 = \sum_g w_g \sigma_g^2

    It is for groups that are known when features are computed, such as sites or scanners: ``group`` names one.

    Args:
        widths: Of the features, a list of one.
        groups: The values that it was fitted to, once it is.
        group: Of which one the images are.

    Raises:
        ValueError: ``group`` is none of ``groups``.
    """

    takes = frozenset({"column"})
    mean: Tensor
    deviation: Tensor
    means: Tensor
    deviations: Tensor

    def __init__(self, widths: Sequence[int], groups: Sequence[str] = (), group: str | None = None) -> None:
        super().__init__(widths, groups=list(groups), group=group)
        if group is not None and groups and group not in groups:
            raise ValueError(f"group={group}, expected one of {', '.join(groups)}")
        (width,) = self.widths
        for name, shape in {"mean": (width,), "means": (len(groups), width)}.items():
            self.register_buffer(name, torch.zeros(shape))
        for name, shape in {"deviation": (width,), "deviations": (len(groups), width)}.items():
            self.register_buffer(name, torch.ones(shape))

    def fit(self, reference: ShapingReference) -> "Centre":
        """Return it, fitted to reference images.

        Raises:
            ValueError: A group has fewer than two images.
        """
        (moments,) = reference.moments().values()
        groups = list(reference.groups)
        few = [name for name, share in zip(groups, moments.weights, strict=True) if share * moments.num_images < 2]
        if few:
            raise ValueError(f"{few[0]} has one image: its deviation needs at least 2")
        self.options["groups"] = groups
        deviation = (moments.weights @ moments.deviations.square()).sqrt()
        varies = moments.deviations > _LEAST_DEVIATION * deviation
        self.mean, self.deviation = moments.mean.to(self.mean), deviation.to(self.mean)
        self.means = moments.levels.to(self.mean)
        self.deviations = torch.where(varies, moments.deviations, deviation.clamp(min=_EPSILON)).to(self.mean)
        return self

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the features (N, D) of images of the group, a list of one (N, D).

        Raises:
            UserError: No group is named.
        """
        (own,) = features
        groups, group = self.options["groups"], self.options["group"]
        if group is None:
            raise UserError(f"centre: say of which group the images are, backbone.kwargs.group={'|'.join(groups)}")
        return self.of_groups(own, torch.full((len(own),), groups.index(group), device=own.device))

    def of_groups(self, features: Tensor, groups: Tensor) -> Tensor:
        """Return the features (N, D) of images of groups (N,), by their numbers."""
        return self.mean + self.deviation * (features - self.means[groups]) / self.deviations[groups]


class Orbit(Shaper):
    """Averages features over the orbit of an image: what its transforms make of it at the steps of their grids.

    Exact for a group of transforms that map the square onto itself, such as flips and quarter turns, and nearly so for
    the grid of a continuous one. Each image takes as many forward passes as there are steps, of several transforms as
    many as their product.

    Args:
        widths: Of the features, a list of one.
    """

    takes = frozenset({"transforms"})
    is_fitted = False

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__(widths)
        self._views: OrbitViews | None = None

    @property
    def views(self) -> OrbitViews | None:
        """The steps of the transforms, once it is fitted; of one that a checkpoint has, its backbone has them."""
        return self._views

    def fit(self, reference: ShapingReference) -> "Orbit":
        """Take the transforms' steps; no image is looked at."""
        self._views = reference.transforms
        return self

    def missed(self, reached: Reached) -> str | None:
        """Return how much of what the transform makes is left, where that is more than a little."""
        left = 1 - reached.taken_out
        return None if left <= _LITTLE else f"{left:.2f} of what it makes is left: its steps are no group, or too few"

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return features (N, D), a list of one, as they are: they are averages already."""
        return features[0]


_EPSILON = 1e-9
_LITTLE = 0.05
# Of the deviation of all: a feature that varies less within a group is not brought up to others.
_LEAST_DEVIATION = 0.01


def _images(moments: Mapping[str, FactorMoments]) -> int:
    return min(one.num_images for one in moments.values())


def pooled(moments: Mapping[str, FactorMoments]) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean (D,), covariance (D, D) and the part that factors make, of several factors, all of which count alike.

    Args:
        moments: Of each, at least one.
    """
    found = [*moments.values()]
    mean = torch.stack([one.mean for one in found]).mean(0)
    apart = torch.stack([one.mean - mean for one in found])
    total = torch.stack([one.total for one in found]).mean(0) + apart.T @ apart / len(found)
    return mean, total, torch.stack([one.changed for one in found]).mean(0)
