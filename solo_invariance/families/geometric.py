"""Geometry: operations that say where each output pixel looks in the input, sampled once for a whole family.

Coordinates are normalised: the image spans [-1, 1] on both axes, pixel borders at the ends (``align_corners=False``). A
geometric operation gives one homography an image that maps *output* coordinates to *input* coordinates, so that a list
of operations composes by matrix product and the pixels are interpolated only once.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from solo_invariance.families.operation import Operation, Parameters, check_probability, check_range, uniform

_CROP_ATTEMPTS = 10


class GeometricOperation(Operation):
    """An operation that moves pixels and leaves their values alone."""

    axis_aligned: ClassVar[bool] = False

    def matrix(self, parameters: Parameters) -> Tensor:
        """Return the homographies from output to input coordinates, shape (N, 3, 3), float32."""
        raise NotImplementedError


@dataclass(frozen=True)
class ResizedCrop(GeometricOperation):
    """Crop a box of random area and aspect ratio, anywhere in the image, and resize it to the crop size.

    Args:
        scale: Range of the box's area, as a fraction of the image's, in (0, 1].
        ratio: Range of the box's width / height; drawn uniformly in its logarithm.

    The distribution is torchvision's ``RandomResizedCrop``: up to ten draws until the box fits, otherwise the largest
    central box whose ratio is allowed. The image is taken to be square, as a canvas is.
    """

    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    axis_aligned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_range(self, "scale", low=0.0, high=1.0, low_open=True)
        check_range(self, "ratio", low=0.0, low_open=True)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``box`` (N, 4): left, top, width and height as fractions of the image."""
        area = uniform((n, _CROP_ATTEMPTS), *self.scale, generator)
        ratio = uniform((n, _CROP_ATTEMPTS), math.log(self.ratio[0]), math.log(self.ratio[1]), generator).exp()
        sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], dim=-1)
        fits = (sides <= 1).all(dim=-1)
        first = fits.int().argmax(dim=1)
        chosen = sides[torch.arange(n), first]
        chosen = torch.where(fits.any(dim=1, keepdim=True), chosen, self._largest_central_box())
        corner = uniform((n, 2), 0.0, 1.0, generator)
        corner = torch.where(fits.any(dim=1, keepdim=True), corner, torch.full_like(corner, 0.5)) * (1 - chosen)
        return {"box": torch.cat([corner, chosen], dim=1)}

    def _largest_central_box(self) -> Tensor:
        ratio = min(max(1.0, self.ratio[0]), self.ratio[1])
        return torch.tensor([min(1.0, ratio), min(1.0, 1 / ratio)])

    def matrix(self, parameters: Parameters) -> Tensor:
        """Return the homographies of the boxes, shape (N, 3, 3)."""
        corner, size = parameters["box"].split(2, dim=1)
        return axis_aligned_matrix(scale=size, shift=2 * corner + size - 1)


@dataclass(frozen=True)
class HorizontalFlip(GeometricOperation):
    """Mirror left and right.

    Args:
        p: Probability, in [0, 1].
    """

    p: float = 0.5
    axis_aligned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_probability(self)

    def draw(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``applied`` (N,) bool."""
        return {"applied": torch.rand(n, generator=generator) < self.p}

    def matrix(self, parameters: Parameters) -> Tensor:
        """Return the identity, or the mirror where it is applied, shape (N, 3, 3)."""
        sign = 1 - 2 * parameters["applied"].float()
        scale = torch.stack([sign, torch.ones_like(sign)], dim=1)
        return axis_aligned_matrix(scale=scale, shift=torch.zeros_like(scale))


def axis_aligned_matrix(scale: Tensor, shift: Tensor) -> Tensor:
    """Return homographies that scale and shift the axes.

    Args:
        scale: (N, 2), the factors of x and y.
        shift: (N, 2), in normalised coordinates.

    Returns:
        (N, 3, 3)
    """
    ones = torch.ones_like(scale[:, :1])
    matrix = torch.diag_embed(torch.cat([scale, ones], dim=1))
    matrix[:, :2, 2] = shift
    return matrix


def resample(images: Tensor, matrices: Tensor, size: int, *, axis_aligned: bool) -> Tensor:
    """Sample each image once through its homography, to squares of ``size`` pixels.

    Args:
        images: (N, C, H, W) floating point.
        matrices: (N, 3, 3), from output to input coordinates, on any device.
        size: Side of the output, in pixels.
        axis_aligned: The matrices only scale and shift the axes. Then the resampling is separable and antialiased:
            along each axis the weights are those of torchvision's ``resized_crop`` with bilinear interpolation and
            ``antialias=True``, and the images are two batched matrix products.

    Returns:
        (N, C, size, size)
    """
    matrices = matrices.to(images.device, images.dtype, non_blocking=True)
    if axis_aligned:
        horizontal = _axis_weights(matrices[:, 0, 0], matrices[:, 0, 2], images.shape[3], size)
        vertical = _axis_weights(matrices[:, 1, 1], matrices[:, 1, 2], images.shape[2], size)
        return vertical[:, None] @ images @ horizontal[:, None].transpose(2, 3)
    return _warp(images, matrices, size, mode="bilinear", padding_mode="reflection")


def _axis_weights(scale: Tensor, shift: Tensor, in_size: int, out_size: int) -> Tensor:
    """Weights (N, out_size, in_size) of a triangle filter as wide as the output pixel, each row summing to 1.

    Input pixels outside the box that the output covers get no weight, as if the box had been cut out first.
    """
    out_centres = (torch.arange(out_size, device=scale.device, dtype=scale.dtype) * 2 + 1) / out_size - 1
    centres = ((scale[:, None] * out_centres + shift[:, None]) + 1) * (in_size / 2)
    pixels = torch.arange(in_size, device=scale.device, dtype=scale.dtype) + 0.5
    support = (scale.abs() * (in_size / out_size)).clamp(min=1.0)
    weights = (1 - (pixels - centres[..., None]).abs() / support[:, None, None]).clamp(min=0)
    first = (shift - scale.abs() + 1) * (in_size / 2)
    last = (shift + scale.abs() + 1) * (in_size / 2)
    # Half a pixel of slack: a pixel that the box's border cuts through still counts.
    inside = (pixels > first[:, None] - 0.5 + 1e-4) & (pixels < last[:, None] + 0.5 - 1e-4)
    weights = weights * inside[:, None]
    return weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-12)


def _warp(images: Tensor, matrices: Tensor, size: int | tuple[int, int], mode: str, padding_mode: str) -> Tensor:
    height, width = (size, size) if isinstance(size, int) else size
    x = (torch.arange(width, device=images.device, dtype=images.dtype) * 2 + 1) / width - 1
    y = (torch.arange(height, device=images.device, dtype=images.dtype) * 2 + 1) / height - 1
    points = torch.stack([x.expand(height, width), y[:, None].expand(height, width), x.new_ones(height, width)], dim=-1)
    mapped = torch.einsum("nij,hwj->nhwi", matrices, points)
    grid = mapped[..., :2] / mapped[..., 2:]
    return torch.nn.functional.grid_sample(images, grid, mode=mode, padding_mode=padding_mode, align_corners=False)


def warp_nearest(images: Tensor, matrices: Tensor) -> Tensor:
    """Sample through homographies with the nearest pixel and zeros outside, as torchvision's ``affine`` does.

    Args:
        images: (N, C, H, W) floating point.
        matrices: (N, 3, 3), from output to input coordinates.

    Returns:
        (N, C, H, W)
    """
    matrices = matrices.to(images.device, images.dtype, non_blocking=True)
    return _warp(images, matrices, (images.shape[2], images.shape[3]), mode="nearest", padding_mode="zeros")
