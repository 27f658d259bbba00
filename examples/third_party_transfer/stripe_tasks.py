"""The task ``stripes``: how are the stripes of an image turned?"""

from dataclasses import dataclass

import torch
from torch import Tensor

from solo_invariance.transfer.tasks import Split, Task, TaskSettings


@dataclass(frozen=True)
class StripeImages:
    """Stripes, drawn when they are needed.

    Args:
        angles: Of the stripes, in radians, (N,).
        size: Side of an image, in pixels.
        period: Of the stripes, in pixels.
    """

    angles: Tensor
    size: int
    period: float

    def __len__(self) -> int:
        return len(self.angles)

    def __getitem__(self, index: int) -> Tensor:
        place = torch.arange(self.size)
        across = place * self.angles[index].cos() + place[:, None] * self.angles[index].sin()
        grey = 127.5 + 127.5 * torch.sin(across * (2 * torch.pi / self.period))
        return grey.round().to(torch.uint8).expand(3, -1, -1)

    def name_of(self, index: int) -> str:
        """Return what to call an image in a message."""
        return f"stripes at {self.angles[index]:.4f} radians"


@dataclass(frozen=True)
class Stripes(Task):
    """Regress the cosine and the sine of twice the angle: stripes turned by half a turn are the same.

    Args:
        period: Of the stripes, in pixels.
    """

    period: float = 8.0
    kind = "regression"
    metric = "r2"

    def load(self, settings: TaskSettings) -> tuple[Split, Split]:
        """Return the splits, of different images."""
        num_train, num_test = settings.num_train or 500, settings.num_test or 200
        generator = torch.Generator().manual_seed(settings.seed)
        angles = torch.rand(num_train + num_test, generator=generator) * torch.pi
        return self._split(angles[:num_train], settings.size), self._split(angles[num_train:], settings.size)

    def _split(self, angles: Tensor, size: int) -> Split:
        targets = torch.stack([(2 * angles).cos(), (2 * angles).sin()], dim=1)
        return Split(StripeImages(angles, size, self.period), targets)


stripes = Stripes()
