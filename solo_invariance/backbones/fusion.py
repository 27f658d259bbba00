"""What makes features of others': the base of all heads, that of all fusions, and a function as one of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeGuard

import torch
from torch import Tensor, nn

Fusion = Callable[[Sequence[Tensor]], Tensor]
"""From one (N, D_i) tensor a member to the fused features (N, D)."""


class Head(nn.Module, ABC):
    """What makes features of those of a network's members; what it knows of images is in its buffers.

    Args:
        widths: Of the members' features.
        options: Further arguments of the subclass, as plain data; they are stored in checkpoints.

    Attributes:
        num_features: Width of what it makes.
        scales_features: Whether the scale of what it makes means something: a probe then leaves it as it is.
    """

    scales_features: ClassVar[bool] = True
    num_features: int

    def __init__(self, widths: Sequence[int], **options: Any) -> None:
        super().__init__()
        self.widths = list(widths)
        self.options = options
        self.num_features = sum(self.widths)

    @property
    def open_widths(self) -> list[int] | None:
        """The members' widths, where each task is to choose what each member's features weigh; None elsewhere."""
        return None

    @abstractmethod
    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return features (N, D) of the members', one (N, D_i) a member."""


class FusionHead(Head):
    """A fusion that is fitted before it is used; subclasses keep what they fit in buffers.

    Args:
        widths: Of the members' features.
        options: Further arguments of the subclass, as plain data; they are stored in fused checkpoints.

    Attributes:
        num_features: Width of the fused features.
        scales_features: Whether the scale of the fused features means something: a probe then leaves it as it is.
        is_fitted: Whether it is fitted to reference images.
    """

    is_fitted: ClassVar[bool] = True

    @abstractmethod
    def fit(self, features: Sequence[Tensor]) -> "FusionHead":
        """Fit to the features of reference images, one (N, D_i) a member; return the head.

        Raises:
            ValueError: There are too few images for it.
        """


class FunctionHead(FusionHead):
    """A function of the members' features as a fusion: there is nothing to fit.

    Args:
        widths: Of the members' features.
        function: See ``Fusion``.

    Raises:
        ValueError: The function does not take members of these widths.
    """

    scales_features = False
    is_fitted = False

    def __init__(self, widths: Sequence[int], function: Fusion) -> None:
        super().__init__(widths)
        self.function = function
        self.num_features = function([torch.zeros(1, width) for width in widths]).shape[1]

    def fit(self, features: Sequence[Tensor]) -> "FunctionHead":
        """Return the head as it is."""
        return self

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the function of the features."""
        return self.function(features)


FusionPlugin = Fusion | type[FusionHead]
"""What a fusion's name stands for: a function of the members' features, or the class of a head that is fitted."""


def is_head(plugin: FusionPlugin) -> TypeGuard[type[FusionHead]]:
    """Whether a fusion is one that is fitted."""
    return isinstance(plugin, type) and issubclass(plugin, FusionHead)
