"""Illumination: the colour of the light, and light and shade that vary smoothly over the image."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from kornia.augmentation import RandomPlanckianJitter
from torch import Tensor

from solo_invariance.families.operations.appearance import OccasionalOperation
from solo_invariance.families.operations.operation import (
    Parameters,
    check_number,
    check_probability,
    check_range,
    send,
    uniform,
)


@dataclass(frozen=True)
class ColorTemperature(OccasionalOperation):
    """Change the light from daylight (6500 K) to a black body of another temperature: lower is redder, higher bluer.

    Args:
        kelvin: Range of the temperature, in [3000, 15000]; drawn uniformly in its reciprocal, along which equal steps
            look equal.
        p: Probability, in [0, 1].

    The gains of red and blue against green are those of Kornia's ``RandomPlanckianJitter`` (Zini et al., 2022),
    interpolated between its temperatures.
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {"kelvin": "K"}

    kelvin: tuple[float, float] = (3500.0, 12000.0)
    p: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "kelvin", low=3000.0, high=15000.0)
        check_probability(self)

    def draw_numbers(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``kelvin`` (N,)."""
        return {"kelvin": 1 / uniform((n,), 1 / self.kelvin[1], 1 / self.kelvin[0], generator)}

    def change(self, images: Tensor, kelvin: Tensor) -> Tensor:
        """Multiply the channels by the light's colour and clamp to [0, 1]."""
        return (images * black_body_gains(kelvin)[:, :, None, None]).clamp_(0, 1)


def black_body_gains(kelvin: Tensor) -> Tensor:
    """Return the gains of red, green and blue (N, 3) of a black body against one of 6500 K; kelvin (N,)."""
    table = send(_planckian_gains(), kelvin.device)
    place = (kelvin.clamp(3000, 15000) - 3000) / 500
    below = place.floor().long().clamp(max=len(table) - 2)
    red, blue = torch.lerp(table[below], table[below + 1], (place - below)[:, None]).unbind(dim=1)
    return torch.stack([red, torch.ones_like(red), blue], dim=1)


@lru_cache(maxsize=1)
def _planckian_gains() -> Tensor:
    """Red / green and blue / green (25, 2) of black bodies from 3000 to 15000 K in steps of 500, against 6500 K."""
    table = RandomPlanckianJitter(mode="blackbody").pl.clone()
    return table / table[7]


@dataclass(frozen=True)
class SmoothBrightness(OccasionalOperation):
    """Brighten and darken smoothly over the image.

    Args:
        stops: Range of the standard deviation of the exposure over the image, in stops (1 is a factor of 2).
        cells: The field is drawn at the corners of a lattice of so many cells a side, and bicubic in between.
        p: Probability, in [0, 1].
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {"stops": "stops", "cells": "cells a side"}

    stops: tuple[float, float] = (0.2, 0.8)
    cells: int = 2
    p: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "stops", low=0.0)
        check_number(self, "cells", low=1, high=64)
        check_probability(self)

    def draw_numbers(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``exposure`` (N, 1, cells + 1, cells + 1), in stops."""
        stops = uniform((n, 1, 1, 1), *self.stops, generator)
        return {"exposure": stops * _lattice(n, self.cells, generator)}

    def change(self, images: Tensor, exposure: Tensor) -> Tensor:
        """Expose, and clamp to [0, 1]."""
        return (images * torch.exp2(_field(exposure, images))).clamp_(0, 1)


@dataclass(frozen=True)
class SmoothShadow(OccasionalOperation):
    """Cast a soft shadow of random shape.

    Args:
        darkness: Range of the fraction of the light that the shadow takes, in [0, 1].
        softness: Width of its border: the smaller, the sharper.
        cells: Its shape is drawn at the corners of a lattice of so many cells a side, and bicubic in between.
        p: Probability, in [0, 1].
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {
        "darkness": "fraction of the light",
        "softness": "standard deviations of the shadow's field",
        "cells": "cells a side",
    }

    darkness: tuple[float, float] = (0.3, 0.7)
    softness: float = 0.15
    cells: int = 3
    p: float = 0.3

    def __post_init__(self) -> None:
        check_range(self, "darkness", low=0.0, high=1.0)
        check_number(self, "softness", low=1e-3)
        check_number(self, "cells", low=1, high=64)
        check_probability(self)

    def draw_numbers(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``darkness`` (N,) and ``height`` (N, 1, cells + 1, cells + 1).

        The shadow lies where the height is positive: on more or less of the image, a half on average.
        """
        darkness = uniform((n,), *self.darkness, generator)
        height = _lattice(n, self.cells, generator) + uniform((n, 1, 1, 1), -1.0, 1.0, generator)
        return {"darkness": darkness, "height": height}

    def change(self, images: Tensor, darkness: Tensor, height: Tensor) -> Tensor:
        """Darken."""
        shadow = torch.sigmoid(_field(height, images) / self.softness)
        return images * (1 - darkness[:, None, None, None] * shadow)


def _lattice(n: int, cells: int, generator: torch.Generator) -> Tensor:
    return torch.randn((n, 1, cells + 1, cells + 1), generator=generator)


def _field(lattice: Tensor, images: Tensor) -> Tensor:
    """Interpolate lattices (N, 1, G, G), whose corners are the images', to fields (N, 1, H, W)."""
    return F.interpolate(lattice, size=images.shape[-2:], mode="bicubic", align_corners=True)
