"""The family ``sunset``: the colour of the light, from noon to dusk, and a resized crop."""

from dataclasses import dataclass

import torch
from torch import Tensor

from solo_invariance.families import Family, Parameters, PhotometricOperation, ResizedCrop, check_number


@dataclass(frozen=True)
class Warmth(PhotometricOperation):
    """Make the light warmer.

    Args:
        strength: The blue channel loses up to this fraction of its value, the green one half as much.
    """

    strength: float = 0.6

    def __post_init__(self) -> None:
        check_number(self, "strength", low=0.0, high=1.0)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``warmth`` (N,) in [0, strength]."""
        return {"warmth": self.strength * torch.rand(n, generator=generator)}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Take blue and green away."""
        warmth = parameters["warmth"].to(images.device, non_blocking=True)
        gain = torch.stack([torch.ones_like(warmth), 1 - warmth / 2, 1 - warmth], dim=1)
        return images * gain[:, :, None, None]


sunset = Family("sunset", (ResizedCrop(), Warmth()), invariant_to="place, size and the colour of the light")
