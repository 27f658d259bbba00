"""What a transform is, and the sizes that it works with."""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor

from solo_invariance.data.framing import resize_for
from solo_invariance.protocols import ProtocolName

_ROUNDING = 1e-3  # in levels of 8 bits, more than floating point is off by


class ResizeCrop(NamedTuple):
    """Sizes in pixels: images have their short side at ``resize``; the backbone sees crops of ``crop_size``.

    Four classes say that a short side is resized and a square cut out, each at its own place: an ``InputSpec`` is what
    a network was trained on, and its size is what ``ResizeCrop.of_crop`` starts from; a ``ResizeCrop`` is for
    measuring, where transforms need what lies around the crop; a ``Framing`` is for tasks, whose images are resized to
    the crop itself and whose targets move along; and a ``Canvas`` is the square that data workers keep of an image in
    training, out of which random crops are taken.

    Args:
        resize: Short side of the images.
        crop_size: Side of the crops, not more than ``resize``.
    """

    resize: int = 256
    crop_size: int = 224

    @classmethod
    def of_crop(cls, crop_size: int) -> "ResizeCrop":
        """Return the sizes for crops of some pixels, out of images 8/7 as large.

        Example:
            >>> ResizeCrop.of_crop(64)
            ResizeCrop(resize=73, crop_size=64)
        """
        return cls(resize_for(crop_size), crop_size)


Geometry = ResizeCrop
"""Its former name."""


class Transform(ABC):
    """A transform of images by parameters; subclasses are frozen dataclasses.

    Attributes:
        kind: Whether it moves pixels (``spatial``) or changes their values (``appearance``).
        unit: Of the parameters.
    """

    kind: Literal["spatial", "appearance"]
    unit: str

    @abstractmethod
    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
        """Return the parameters (K, P) to measure at; K is at most ``k``, or fixed where the transform is on or off."""

    @abstractmethod
    def apply(self, images: Tensor, parameters: Tensor, geometry: ResizeCrop) -> Tensor:
        """Return the transformed images.

        Args:
            images: (N, 3, H, W) in [0, 1], short side ``geometry.resize``.
            parameters: (N, P), a row an image.
            geometry: Sizes of images and crops.

        Returns:
            (N, 3, crop_size, crop_size) in [0, 1]
        """

    def apply_in_eight_bits(self, images: Tensor, parameters: Tensor, geometry: ResizeCrop) -> Tensor:
        """Return the transformed images as the official code has them, which keeps 8 bits of them.

        Values are multiples of 1/255, in the images and in what is returned; arguments as ``apply``, whose result is
        rounded by default. Backbones see the difference where an image is smooth.
        """
        return in_eight_bits(self.apply(images, parameters, geometry))

    def identity(self, grid: Tensor) -> int | None:
        """Return the index of the parameters that change nothing, None where the grid has none."""
        neutral = self.neutral
        if neutral is None:
            return None
        matches = torch.isclose(grid.double(), torch.tensor(neutral).double(), atol=1e-4).all(dim=1).nonzero()
        return int(matches[0, 0]) if len(matches) else None

    def is_exact(self, grid: Tensor, identity: int | None) -> bool:
        """Return whether the parameters at ``identity`` truly change nothing: the paper shears by a degree even so."""
        if identity is None or self.neutral is None:
            return True
        return not grid[identity, len(self.neutral) :].any()

    def coordinates(self, parameters: Tensor) -> Tensor:
        """Return parameters (..., P) as numbers (..., C) that change as smoothly as the views do.

        An angle, for one, becomes its cosine and sine: 359 degrees are next to 0.
        """
        return parameters

    @property
    def neutral(self) -> tuple[float, ...] | None:
        """The parameters that change nothing."""
        return None


def in_eight_bits(values: Tensor) -> Tensor:
    """Round values in [0, 1] to the nearest multiples of 1/255."""
    return values.mul(255).round_().div_(255)


def centre_crop(images: Tensor, geometry: ResizeCrop) -> Tensor:
    """Cut the centre square of ``geometry.crop_size`` pixels out of images (N, 3, H, W)."""
    return F.center_crop(images, [geometry.crop_size, geometry.crop_size])


class _CentreBox(NamedTuple):
    """The centre crop's place in an image: its first row and column, and its side, all in pixels."""

    top: int
    left: int
    size: int

    @classmethod
    def of(cls, images: Tensor, geometry: ResizeCrop) -> "_CentreBox":
        """Return the box that ``centre_crop`` cuts out of images (N, 3, H, W), which are not smaller than it."""
        size, (height, width) = geometry.crop_size, images.shape[-2:]
        return cls(round((height - size) / 2), round((width - size) / 2), size)

    def grown(self, margin: int, images: Tensor) -> tuple[Tensor, "_CentreBox"]:
        """Return the box of images with a margin round it, as far as they go, and its place in that."""
        top, left = max(0, self.top - margin), max(0, self.left - margin)
        bottom, right = self.top + self.size + margin, self.left + self.size + margin
        return images[..., top:bottom, left:right], _CentreBox(self.top - top, self.left - left, self.size)

    def cut(self, images: Tensor) -> Tensor:
        """Return the box of images."""
        return images[..., self.top : self.top + self.size, self.left : self.left + self.size]
