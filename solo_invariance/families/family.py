"""A family: an ordered list of operations that a backbone is trained to be invariant to."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from solo_invariance.families.geometry import GeometricOperation
from solo_invariance.families.operation import Operation, Parameters
from solo_invariance.families.photometry import PhotometricOperation
from solo_invariance.families.resampling import resample


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
            (N, 3, crop_size, crop_size) in [0, 1] on the images' device; in their type, float32 for uint8. It is
            computed in float32, also under autocast: half precision would move pixels and round colours.
        """
        dtype = torch.float32 if images.dtype == torch.uint8 else images.dtype
        with _without_autocast(images.device):
            views = images.float().div_(255) if images.dtype == torch.uint8 else images.float()
            views = self._sample(views, parameters, crop_size)
            for operation, drawn in zip(self.operations, parameters, strict=True):
                if isinstance(operation, PhotometricOperation):
                    views = operation.apply(views, drawn)
        return views.to(dtype)

    def _sample(self, images: Tensor, parameters: Sequence[Parameters], crop_size: int) -> Tensor:
        moves = [(o, p) for o, p in zip(self.operations, parameters, strict=True) if isinstance(o, GeometricOperation)]
        if not moves and images.shape[-2:] == (crop_size, crop_size):
            return images
        steps = [operation.step(drawn) for operation, drawn in moves]
        return resample(images, steps, crop_size, axis_aligned=all(operation.axis_aligned for operation, _ in moves))

    def describe(self) -> dict[str, Any]:
        """Return the family as plain data, from which ``build_family`` builds it again."""
        return {
            "name": self.name,
            "invariant_to": self.invariant_to,
            "operations": [{operation.name: operation.numbers} for operation in self.operations],
        }

    def fingerprint(self) -> str:
        """Return a short hash of what the family does; two families that draw the same views share it."""
        content = json.dumps(self.describe()["operations"], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def _without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    available = torch.amp.autocast_mode.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if available else nullcontext()
