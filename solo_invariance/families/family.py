"""A family: an ordered list of operations that a backbone is trained to be invariant to."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from solo_invariance.families.geometric import GeometricOperation, resample
from solo_invariance.families.operation import Operation, Parameters
from solo_invariance.families.photometric import PhotometricOperation


@dataclass(frozen=True)
class Family:
    """An augmentation family as data, with its two functions: draw parameters, apply parameters.

    Args:
        name: What configurations call it.
        operations: In the order of application. The geometric ones are composed to one sampling that comes first;
            the photometric ones follow in their order, at the resolution of the crop.
        invariant_to: A few words on what a backbone trained with it becomes invariant to.

    Example:
        >>> import torch
        >>> from solo_invariance.families import Family, HorizontalFlip
        >>> mirror = Family("mirror", (HorizontalFlip(p=1.0),), "left and right")
        >>> images = torch.rand(2, 3, 8, 8)
        >>> parameters = mirror.draw(2, torch.Generator().manual_seed(0))
        >>> torch.allclose(mirror.apply(images, parameters, crop_size=8), images.flip(-1), atol=1e-6)
        True
    """

    name: str
    operations: tuple[Operation, ...]
    invariant_to: str = ""

    def draw(self, n: int, generator: torch.Generator) -> list[Parameters]:
        """Draw the parameters for a batch.

        Args:
            n: Number of images.
            generator: A CPU generator; the global random state is neither read nor changed.

        Returns:
            One mapping of CPU tensors an operation. Applied again, they give the same views again.
        """
        return [operation.draw(n, generator) for operation in self.operations]

    @torch.no_grad()
    def apply(self, images: Tensor, parameters: Sequence[Parameters], crop_size: int) -> Tensor:
        """Make one view an image.

        Args:
            images: (N, 3, H, W), uint8 or floating point in [0, 1], on any device; square, as a canvas is.
            parameters: What ``draw(N, ...)`` returned.
            crop_size: Side of the views, in pixels.

        Returns:
            (N, 3, crop_size, crop_size) floating point in [0, 1] on the images' device.
        """
        views = images.float().div(255) if images.dtype == torch.uint8 else images
        views = self._sample(views, parameters, crop_size)
        for operation, drawn in zip(self.operations, parameters, strict=True):
            if isinstance(operation, PhotometricOperation):
                views = operation.apply(views, drawn)
        return views

    def _sample(self, images: Tensor, parameters: Sequence[Parameters], crop_size: int) -> Tensor:
        steps = [(o, p) for o, p in zip(self.operations, parameters, strict=True) if isinstance(o, GeometricOperation)]
        if not steps and images.shape[-2:] == (crop_size, crop_size):
            return images
        matrices = torch.eye(3).expand(len(images), 3, 3)
        for operation, drawn in steps:
            matrices = matrices @ operation.matrix(drawn)
        return resample(images, matrices, crop_size, axis_aligned=all(o.axis_aligned for o, _ in steps))

    def describe(self) -> dict[str, object]:
        """Return the family as plain data: its name and, for each operation, the numbers."""
        return {
            "name": self.name,
            "operations": [{"operation": type(o).__name__, **_fields(o)} for o in self.operations],
        }

    def fingerprint(self) -> str:
        """Return a short hash of what the family does; two families that draw the same views share it."""
        content = json.dumps(self.describe()["operations"], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def _fields(operation: Operation) -> dict[str, object]:
    return dataclasses.asdict(operation) if dataclasses.is_dataclass(operation) else {}
