"""What changes the invariances of a trained backbone: the base of all shapers, and what they are fitted to."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple, Protocol, cast

from torch import Tensor

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.fused import FusedNetwork
from solo_invariance.backbones.fusion import Head
from solo_invariance.backbones.views import OrbitViews


class FactorMoments(NamedTuple):
    r"""What features vary by, and how much of it a factor makes; all float64.

    A factor is a transform of images, whose levels are the steps of its grid, each applied to every image; or a column
    of a table, whose levels are its values, each of other images.

    Args:
        mean: (D,), of all features.
        total: (D, D), their covariance.
        changed: (D, D), the part of it that the factor makes. Of a transform, the mean covariance of one image's
            features over the steps; of a column, the covariance of its levels' means.
        levels: (K, D), the mean features of each level.
        deviations: (K, D), the standard deviations of each level's features.
        weights: (K,), how much each level counts, summing to 1.
        coordinates: (K, C), what tells levels apart, as numbers: of a transform, its ``coordinates``; of a column, a 1
            in the place of the value.
        num_images: How many images these are of.
    """

    mean: Tensor
    total: Tensor
    changed: Tensor
    levels: Tensor
    deviations: Tensor
    weights: Tensor
    coordinates: Tensor
    num_images: int


class OrbitFeatures(NamedTuple):
    """Features of some images and of what transforms make of them, float32, on the device that computes them.

    Args:
        clean: (n, D), of the images themselves.
        views: (n, K, D), of what each transform makes of them at its K steps, by its name.
    """

    clean: Tensor
    views: Mapping[str, Tensor]


class Reached(NamedTuple):
    """What shaping did to one factor, on images that nothing was fitted to.

    Args:
        share_before: Of the variance of the backbone's features, summed over them, the part that the factor makes.
        share_after: The same of the shaped features.
        readout_before: R² of a linear read-out of what tells the factor's levels apart; 0 is chance, and it may be
            negative. None where there are too few images.
        readout_after: The same of the shaped features.
        taken_out: Of the variance that the factor makes, the part that is gone; negative where it grew.
        changed: How far features moved: mean squared distance, by their variance.
    """

    share_before: float
    share_after: float
    readout_before: float | None
    readout_after: float | None
    taken_out: float
    changed: float


class ShapingReference(Protocol):
    """What a shaper is fitted to: a backbone's features of reference images, as far as it asks for them.

    Attributes:
        transforms: Those that are asked for, with their steps; None without one.
        groups: The values of the table's column that is asked for, in their order; empty without one.
        seed: Of whatever a shaper draws.
    """

    transforms: OrbitViews | None
    groups: Sequence[str]
    seed: int

    def moments(self) -> Mapping[str, FactorMoments]:
        """Return the moments of each factor that is asked for, by its name; it takes one pass over the images."""

    def orbits(self) -> Iterator[OrbitFeatures]:
        """Yield the features of all images that a shaper is fitted to, some at a time; one pass over them."""


class Shaper(Head):
    """What changes a backbone's invariances; subclasses keep what they fit in buffers.

    It is made again, with a checkpoint's buffers, as ``type(shaper)(widths, **options)``: buffers have the same shapes
    before and after it is fitted, or those that options say.

    Args:
        widths: Of the features that it is given, a list of one.
        options: Further arguments of the subclass, as plain data; they are stored in checkpoints.

    Attributes:
        takes: Which factors it is for: ``transforms`` of images, a ``column`` of a table.
        is_fitted: Whether it looks at reference images to be fitted.
    """

    scales_features = False
    takes: ClassVar[frozenset[str]] = frozenset({"transforms", "column"})
    is_fitted: ClassVar[bool] = True

    @property
    def views(self) -> OrbitViews | None:
        """Over which the features that it is given are to be averaged, if any."""
        return None

    @abstractmethod
    def fit(self, reference: ShapingReference) -> "Shaper":
        """Return the shaper fitted to reference images.

        Raises:
            ValueError: There are too few images for it, or they do not show what it needs.
        """

    def of_groups(self, features: Tensor, groups: Tensor) -> Tensor:
        """Return the features (N, D) of images, of whose values of the column the numbers (N,) are known.

        By default it makes no difference.
        """
        shaped: Tensor = self([features])
        return shaped

    def missed(self, reached: Reached) -> str | None:
        """Return in words what was asked for and is not there on images that it was not fitted to; None for nothing."""
        return None


class ShapedNetwork(FusedNetwork):
    """A backbone whose invariances were changed: the network of a shaped ``Backbone``, a fusion of one member.

    Args:
        members: The backbone that was shaped, alone.
        fusion: The shaper.
        mode: Its name.
        fitted_on: Digests of the images that it was fitted to: none of them may be an image that it is scored on.
        factors: What was asked for, in words.
    """

    def __init__(
        self,
        members: Sequence[Backbone],
        fusion: Shaper,
        mode: str,
        fitted_on: frozenset[str] = frozenset(),
        factors: Sequence[str] = (),
    ) -> None:
        super().__init__(members, fusion, mode, fitted_on)
        self.factors = tuple(factors)
        self.label = label_of_shaped(self.label, mode, factors)

    @property
    def known_width(self) -> int:
        """Of the features: there is no image of which each shaper could say it, one that is for groups say."""
        return self.num_features

    @property
    def shaper(self) -> Shaper:
        """What changes the features."""
        return cast(Shaper, self.fusion)

    def with_members(self, members: Sequence[Backbone]) -> "ShapedNetwork":
        """Return the same change of another backbone, a list of one."""
        return ShapedNetwork(members, self.shaper, self.mode, self.fitted_on, self.factors)


def shaped_on(backbone: Backbone) -> frozenset[str]:
    """Return the digests of the images that a backbone, or a part of it, was shaped by; what they say is too good."""
    shaped = (module for module in backbone.modules() if isinstance(module, ShapedNetwork))
    return frozenset().union(*(module.fitted_on for module in shaped))


def label_of_shaped(label: str, mode: str, factors: Sequence[str]) -> str:
    """Return what a shaped backbone is called.

    Example:
        >>> label_of_shaped("ventral", "erase", ["hue", "blur"])
        'ventral erase:hue+blur'
    """
    return f"{label} {mode}:{'+'.join(factors)}"
