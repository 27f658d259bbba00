"""Geometry: operations that say where each output pixel looks in the input."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from kornia.geometry.transform import get_perspective_transform
from torch import Tensor

from solo_invariance.families.operations.operation import (
    Operation,
    Parameters,
    check_number,
    check_probability,
    check_range,
    draw_applied,
    uniform,
)

_BOX_ATTEMPTS = 10


class GeometricOperation(Operation):
    """An operation that moves pixels and leaves their values alone.

    A family composes the steps of all its geometric operations to one map, so that the pixels are interpolated once;
    see ``resampling``, which also defines the coordinates.
    """

    axis_aligned: ClassVar[bool] = False
    """Whether the step is a homography that stays inside the image and only scales and shifts its axes."""

    @abstractmethod
    def step(self, parameters: Parameters) -> Tensor:
        """Return the map from output to input: homographies (N, 3, 3) or displacements (N, 2, G, G), float32, CPU."""


class Framing(GeometricOperation):
    """Cut a box out of an image of any shape and resize it to a square: what comes after sees that square alone."""

    axis_aligned: ClassVar[bool] = True

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator, sizes: Tensor | None = None) -> Parameters:
        """Draw ``box`` (N, 4): left, top, width and height as fractions of the image.

        Args:
            n: Number of images.
            generator: A CPU generator.
            sizes: Their heights and widths (N, 2), in pixels; all square by default.
        """

    def step(self, parameters: Parameters) -> Tensor:
        """Return the homographies of the boxes, shape (N, 3, 3)."""
        corner, size = parameters["box"].split(2, dim=1)
        return homography(torch.diag_embed(size), shift=2 * corner + size - 1)


@dataclass(frozen=True)
class CentreCrop(Framing):
    """Cut out the centre square: all of the image's short side."""

    def draw(self, n: int, generator: torch.Generator, sizes: Tensor | None = None) -> Parameters:
        """Return ``box`` (N, 4): left, top, width and height as fractions of the image; nothing is drawn."""
        return {"box": centre_squares(torch.ones(n, 2) if sizes is None else sizes)}


def centre_squares(sizes: Tensor) -> Tensor:
    """Return the boxes (N, 4) of the centre squares of images of heights and widths (N, 2).

    Left, top, width and height are fractions of the image.
    """
    size = sizes.amin(dim=1, keepdim=True) / sizes.flip(1).float()
    return torch.cat([(1 - size) / 2, size], dim=1)


@dataclass(frozen=True)
class ResizedCrop(Framing):
    """Crop a box of random area and aspect ratio, anywhere in the image, and resize it to the crop size.

    Args:
        scale: Range of the box's area, as a fraction of the image's, in (0, 1].
        ratio: Range of the box's width / height, in pixels of the image; drawn uniformly in its logarithm.

    The distribution is torchvision's ``RandomResizedCrop``: up to ten draws until the box fits, otherwise the largest
    central box whose ratio is allowed.
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {"scale": "fraction of the image's area", "ratio": "width / height"}

    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        check_range(self, "scale", low=0.0, high=1.0, low_open=True)
        check_range(self, "ratio", low=0.0, low_open=True)

    def draw(self, n: int, generator: torch.Generator, sizes: Tensor | None = None) -> Parameters:
        """Draw ``box`` (N, 4): left, top, width and height as fractions of images of heights and widths (N, 2)."""
        shapes = torch.ones(n) if sizes is None else sizes[:, 1] / sizes[:, 0]
        box, fits = draw_boxes(n, self.scale, self.ratio, generator, shapes)
        relative = shapes.clamp(*self.ratio) / shapes
        size = torch.stack([relative, 1 / relative], dim=1).clamp(max=1)
        return {"box": torch.where(fits[:, None], box, torch.cat([(1 - size) / 2, size], dim=1))}


def draw_boxes(
    n: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
    shapes: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw boxes inside images as torchvision's ``RandomResizedCrop`` and ``RandomErasing`` do.

    Args:
        n: How many.
        scale: Range of the area, as a fraction of the image's.
        ratio: Range of width / height, in pixels; drawn uniformly in its logarithm.
        generator: A CPU generator.
        shapes: Width / height (N,) of the images; 1 by default.

    Returns:
        (N, 4): left, top, width and height as fractions of the image; and (N,) bool: whether one of ten draws fitted
        into the image. Where none did, the box means nothing.
    """
    area = uniform((n, _BOX_ATTEMPTS), *scale, generator)
    aspect = uniform((n, _BOX_ATTEMPTS), math.log(ratio[0]), math.log(ratio[1]), generator).exp()
    if shapes is not None:
        aspect = aspect / shapes[:, None]  # in fractions of the image
    sides = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=-1)
    fits = (sides <= 1).all(dim=-1)
    size = sides[torch.arange(n), fits.int().argmax(dim=1)]
    corner = torch.rand((n, 2), generator=generator) * (1 - size)
    return torch.cat([corner, size], dim=1), fits.any(dim=1)


class _Flip(GeometricOperation):
    axis_aligned: ClassVar[bool] = True
    p: float
    axis: ClassVar[int]

    def __post_init__(self) -> None:
        check_probability(self)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``applied`` (N,) bool."""
        return {"applied": draw_applied(n, self.p, generator)}

    def step(self, parameters: Parameters) -> Tensor:
        """Return the identity, or the mirror where it is applied, shape (N, 3, 3)."""
        scale = torch.ones(len(parameters["applied"]), 2)
        scale[:, self.axis] -= 2 * parameters["applied"].float()
        return homography(torch.diag_embed(scale))


@dataclass(frozen=True)
class HorizontalFlip(_Flip):
    """Mirror left and right.

    Args:
        p: Probability, in [0, 1].
    """

    p: float = 0.5
    axis: ClassVar[int] = 0


@dataclass(frozen=True)
class VerticalFlip(_Flip):
    """Mirror top and bottom.

    Args:
        p: Probability, in [0, 1].
    """

    p: float = 0.5
    axis: ClassVar[int] = 1


@dataclass(frozen=True)
class Rotation(GeometricOperation):
    """Turn the image about its centre, counter-clockwise.

    Args:
        degrees: Range of the angle.
        p: Probability, in [0, 1].
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {"degrees": "degrees"}

    degrees: tuple[float, float] = (-30.0, 30.0)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "degrees", low=-360.0, high=360.0)
        check_probability(self)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``degrees`` (N,), 0 where the image is left alone."""
        return {"degrees": draw_applied(n, self.p, generator) * uniform((n,), *self.degrees, generator)}

    def step(self, parameters: Parameters) -> Tensor:
        """Return the homographies, shape (N, 3, 3)."""
        return homography(rotation_matrix(parameters["degrees"]))


@dataclass(frozen=True)
class Translation(GeometricOperation):
    """Move the image.

    Args:
        x: Range of the shift to the right, as a fraction of the image's width.
        y: Range of the shift downwards, as a fraction of the image's height.
        p: Probability, in [0, 1].
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {
        "x": "fraction of the image's width",
        "y": "fraction of the image's height",
    }

    x: tuple[float, float] = (-0.1, 0.1)
    y: tuple[float, float] = (-0.1, 0.1)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "x", low=-1.0, high=1.0)
        check_range(self, "y", low=-1.0, high=1.0)
        check_probability(self)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``shift`` (N, 2), 0 where the image is left alone."""
        applied = draw_applied(n, self.p, generator)
        shift = torch.stack([uniform((n,), *self.x, generator), uniform((n,), *self.y, generator)], dim=1)
        return {"shift": applied[:, None] * shift}

    def step(self, parameters: Parameters) -> Tensor:
        """Return the homographies, shape (N, 3, 3)."""
        return homography(torch.eye(2).expand(len(parameters["shift"]), 2, 2), shift=-2 * parameters["shift"])


@dataclass(frozen=True)
class Scale(GeometricOperation):
    """Zoom about the image's centre.

    Args:
        factor: Range of the magnification; below 1 the image shrinks.
        p: Probability, in [0, 1].
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {"factor": "times"}

    factor: tuple[float, float] = (0.75, 1.25)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "factor", low=0.0, low_open=True)
        check_probability(self)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``factor`` (N,), 1 where the image is left alone."""
        applied = draw_applied(n, self.p, generator)
        return {"factor": torch.where(applied, uniform((n,), *self.factor, generator), 1.0)}

    def step(self, parameters: Parameters) -> Tensor:
        """Return the homographies, shape (N, 3, 3)."""
        return homography(torch.diag_embed((1 / parameters["factor"])[:, None].expand(-1, 2)))


@dataclass(frozen=True)
class Shear(GeometricOperation):
    """Shear the image about its centre, in torchvision's convention.

    Args:
        x: Range of the angle along the horizontal axis, in degrees.
        y: Range of the angle along the vertical axis, in degrees.
        p: Probability, in [0, 1].
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {"x": "degrees", "y": "degrees"}

    x: tuple[float, float] = (-15.0, 15.0)
    y: tuple[float, float] = (-15.0, 15.0)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "x", low=-80.0, high=80.0)
        check_range(self, "y", low=-80.0, high=80.0)
        check_probability(self)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``degrees`` (N, 2), 0 where the image is left alone."""
        applied = draw_applied(n, self.p, generator)
        degrees = torch.stack([uniform((n,), *self.x, generator), uniform((n,), *self.y, generator)], dim=1)
        return {"degrees": applied[:, None] * degrees}

    def step(self, parameters: Parameters) -> Tensor:
        """Return the homographies, shape (N, 3, 3)."""
        return homography(shear_matrix(parameters["degrees"]))


@dataclass(frozen=True)
class Perspective(GeometricOperation):
    """Look at the image from an angle: its corners move inwards.

    Args:
        distortion: Each corner moves by up to this fraction of half the image, along both axes; at most 0.95. Above
            0.5 the horizon can come into view.
        p: Probability, in [0, 1].
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {"distortion": "fraction of half the image's side"}

    distortion: float = 0.5
    p: float = 0.5

    def __post_init__(self) -> None:
        check_number(self, "distortion", high=0.95)
        check_probability(self)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``corners`` (N, 4, 2): where top left, top right, bottom right and bottom left go, normalised."""
        applied = draw_applied(n, self.p, generator)
        inwards = uniform((n, 4, 2), 0.0, self.distortion, generator) * applied[:, None, None]
        return {"corners": _CORNERS * (1 - inwards)}

    def step(self, parameters: Parameters) -> Tensor:
        """Return the homographies, shape (N, 3, 3)."""
        corners = parameters["corners"]
        return get_perspective_transform(corners, _CORNERS.expand_as(corners))


_CORNERS = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


@dataclass(frozen=True)
class Elastic(GeometricOperation):
    """Bend the image by a smooth random field.

    Args:
        magnitude: Range of the displacements' standard deviation, as a fraction of the image's side.
        cells: The field is drawn at the corners of a lattice of so many cells a side, and bicubic in between: more
            cells bend more finely.
        p: Probability, in [0, 1].

    torchvision's ``ElasticTransform`` smooths noise at every pixel instead. Its defaults (alpha 50, sigma 5) displace
    by about 0.9 pixels, 0.4 % of 224, at a much finer scale.
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {
        "magnitude": "fraction of the image's side",
        "cells": "cells a side",
    }

    magnitude: tuple[float, float] = (0.0, 0.03)
    cells: int = 4
    p: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "magnitude", low=0.0, high=0.5)
        check_number(self, "cells", low=1, high=64)
        check_probability(self)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``displacement`` (N, 2, cells + 1, cells + 1), normalised: 2 is the image's side."""
        applied = draw_applied(n, self.p, generator)
        magnitude = 2 * uniform((n,), *self.magnitude, generator) * applied
        lattice = torch.randn((n, 2, self.cells + 1, self.cells + 1), generator=generator, dtype=torch.float32)
        return {"displacement": lattice * magnitude[:, None, None, None]}

    def step(self, parameters: Parameters) -> Tensor:
        """Return the displacements, shape (N, 2, cells + 1, cells + 1)."""
        return parameters["displacement"]


def homography(linear: Tensor, shift: Tensor | None = None) -> Tensor:
    """Return homographies (N, 3, 3) of a linear part (N, 2, 2) and a shift (N, 2) in normalised coordinates."""
    matrices = torch.eye(3, dtype=linear.dtype).repeat(len(linear), 1, 1)
    matrices[:, :2, :2] = linear
    if shift is not None:
        matrices[:, :2, 2] = shift
    return matrices


def rotation_matrix(degrees: Tensor) -> Tensor:
    """Return the map from output to input (N, 2, 2) that turns images counter-clockwise by angles (N,)."""
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)


def shear_matrix(degrees: Tensor) -> Tensor:
    """Return the map from output to input (N, 2, 2) of shears by x and y angles (N, 2), in torchvision's convention."""
    x, y = torch.deg2rad(degrees).tan().unbind(dim=1)
    one = torch.ones_like(x)
    return torch.stack([torch.stack([1 + x * y, x], dim=1), torch.stack([y, one], dim=1)], dim=1)
