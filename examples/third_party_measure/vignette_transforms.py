"""The transform ``vignette``: corners that are darker than the centre, as of a wide lens."""

from dataclasses import dataclass

import torch
from torch import Tensor

from solo_invariance.measure.transforms import ResizeCrop, Transform, centre_crop
from solo_invariance.protocols import ProtocolName


@dataclass(frozen=True)
class Vignette(Transform):
    """Darken towards the corners; ``linspace(0, 1, k)`` of their light is taken away."""

    kind = "appearance"
    unit = "share of the corners' light"

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
        """Return the parameters (k, 1)."""
        return torch.linspace(0, 1, k)[:, None]

    def apply(self, images: Tensor, parameters: Tensor, geometry: ResizeCrop) -> Tensor:
        """Return the darkened centre crops of images (N, 3, H, W), by parameters (N, 1)."""
        views = centre_crop(images, geometry)
        place = torch.linspace(-1, 1, views.shape[-1], device=views.device)
        from_centre = (place**2 + place[:, None] ** 2) / 2  # 1 in the corners
        return views * (1 - parameters.to(views)[:, :, None, None] * from_centre)

    @property
    def neutral(self) -> tuple[float, ...]:
        """The parameter that changes nothing."""
        return (0.0,)


vignette = Vignette()
