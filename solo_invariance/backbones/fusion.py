"""What combines the features of several backbones."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn


class FusionHead(nn.Module, ABC):
    """A fusion that is fitted before it is used; subclasses keep what they fit in buffers.

    Args:
        widths: Of the members' features.
        options: Further arguments of the subclass, as plain data; they are stored in fused checkpoints.

    Attributes:
        num_features: Width of the fused features.
        scales_features: Whether the scale of the fused features means something: a probe then leaves it as it is.
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
    def fit(self, features: Sequence[Tensor]) -> "FusionHead":
        """Fit to the features of reference images, one (N, D_i) a member; return the head.

        Raises:
            ValueError: There are too few images for it.
        """

    @abstractmethod
    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return fused features (N, D) of features, one (N, D_i) a member."""


Fusion = Callable[[Sequence[Tensor]], Tensor]
"""From one (N, D_i) tensor a member to the fused features (N, D)."""
