"""Corruption: what sensors, motion and compression do to an image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from kornia.filters import filter2d
from torch import Tensor

from solo_invariance.families.operations.appearance import OccasionalOperation
from solo_invariance.families.operations.noise import draw_seeds, normal_noise
from solo_invariance.families.operations.operation import (
    Parameters,
    check_probability,
    check_range,
    send,
    uniform,
)


@dataclass(frozen=True)
class GaussianNoise(OccasionalOperation):
    """Add independent noise to every value, and clamp to [0, 1].

    Args:
        std: Range of the noise's standard deviation; 1 is the whole range of values.
        p: Probability, in [0, 1].
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {"std": "value in [0, 1]"}
    no_quantities: ClassVar[frozenset[str]] = frozenset({"seed"})

    std: tuple[float, float] = (0.01, 0.1)
    p: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "std", low=0.0)
        check_probability(self)

    def draw_numbers(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``std`` (N,) and ``seed`` (N,), from which the noise follows on any device."""
        return {"std": uniform((n,), *self.std, generator), "seed": draw_seeds(n, generator)}

    def change(self, images: Tensor, std: Tensor, seed: Tensor) -> Tensor:
        """Add the noise."""
        noise = normal_noise(seed, tuple(images.shape[1:]))
        return noise.mul_(std[:, None, None, None]).add_(images).clamp_(0, 1)


@dataclass(frozen=True)
class MotionBlur(OccasionalOperation):
    """Blur along a line, as a moving camera does.

    Args:
        length: Range of the line's length, as a fraction of the image's side; at most 0.5.
        p: Probability, in [0, 1].

    The direction is drawn uniformly; the border is reflected.
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {"length": "fraction of the image's side"}

    length: tuple[float, float] = (0.02, 0.08)
    p: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "length", low=0.0, high=0.5)
        check_probability(self)

    def draw_numbers(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``length`` (N,) as a fraction and ``degrees`` (N,) counter-clockwise."""
        return {"length": uniform((n,), *self.length, generator), "degrees": uniform((n,), 0.0, 180.0, generator)}

    def change(self, images: Tensor, length: Tensor, degrees: Tensor) -> Tensor:
        """Blur."""
        side = images.shape[3]
        radius = min(int(self.length[1] * side / 2 + 1), min(images.shape[-2:]) - 1)
        return filter2d(images, line_kernels(length * side, degrees, radius), border_type="reflect")


def line_kernels(length: Tensor, degrees: Tensor, radius: int) -> Tensor:
    """Return kernels (N, 2 radius + 1, 2 radius + 1) of lines through the centre, each summing to 1.

    Args:
        length: (N,), in pixels; one pixel or less is no blur.
        degrees: (N,), counter-clockwise from the horizontal.
        radius: In pixels.
    """
    offsets = torch.arange(-radius, radius + 1, device=length.device, dtype=length.dtype)
    angle = torch.deg2rad(degrees)[:, None, None]
    x, y = offsets[None, None, :], -offsets[None, :, None]
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    reach = (length.clamp(min=1.0) + 1)[:, None, None] / 2
    kernels = (reach - along.abs()).clamp(0, 1) * (1 - across.abs()).clamp(min=0)
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)


@dataclass(frozen=True)
class JPEG(OccasionalOperation):
    """Compress and decompress as JPEG does (ITU-T T.81), with the colours at half the resolution.

    Args:
        quality: Range of the quality, from 1 to 100, in libjpeg's meaning.
        p: Probability, in [0, 1].

    Written here because Kornia's codec rounds differentiably, which is not what a codec does, and waits for the device.
    """

    units_of_numbers: ClassVar[Mapping[str, str]] = {"quality": "libjpeg's quality, 1 to 100"}

    quality: tuple[float, float] = (20.0, 80.0)
    p: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "quality", low=1.0, high=100.0)
        check_probability(self)

    def draw_numbers(self, n: int, generator: torch.Generator) -> Parameters:
        """Draw ``quality`` (N,), whole numbers."""
        return {"quality": uniform((n,), *self.quality, generator).round()}

    def change(self, images: Tensor, quality: Tensor) -> Tensor:
        """Compress."""
        return compress_jpeg(images, quality)


def compress_jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """Return what is left of images (N, 3, H, W) in [0, 1] after JPEG of a quality (N,) from 1 to 100.

    As in a codec, every plane is rounded to 8 bits on the way in and out; decoding interpolates the colours.
    """
    height, width = images.shape[-2:]
    padded = F.pad(images.mul(255).round_(), (0, -width % 16, 0, -height % 16), mode="replicate")
    # Red, green and blue to luma and two colours around 0, all in [-128, 127].
    planes = _whole_(_mixed(padded, _YCBCR))
    luma = _quantised(planes[:, :1] - 128, _tables(_LUMA, quality)).add_(128)
    chroma = _quantised(F.avg_pool2d(planes[:, 1:], 2).round_(), _tables(_CHROMA, quality))
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    decoded = _mixed(torch.cat([luma, chroma], dim=1), _RGB)
    return _whole_(decoded[..., :height, :width]).clamp_(0, 255).div_(255)


def _whole_(values: Tensor) -> Tensor:
    """Round half up, in place, and what rounding errors may have left just below a half, too.

    Sums of whole numbers in eighths are often half way: the order of a sum would decide, which devices differ in.
    """
    return values.add_(0.5 + _SLACK).floor_()


def _mixed(planes: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Channels (N, 3, H, W) to other channels, one for each row of the matrix."""
    a, b, c = planes.unbind(dim=1)
    return torch.stack([(a * row[0]).add_(b, alpha=row[1]).add_(c, alpha=row[2]) for row in matrix], dim=1)


def _quantised(planes: Tensor, tables: Tensor) -> Tensor:
    """Round the cosine transform of each 8 x 8 block to multiples of a table; planes (N, C, H, W), tables (N, 8, 8)."""
    n, channels, height, width = planes.shape
    basis = _cosines(planes)
    both = torch.kron(basis, basis)  # of the 64 values of a block
    blocks = planes.reshape(n, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    steps = tables.reshape(n, 1, 64)
    coefficients = (blocks.reshape(n, -1, 64) @ both.T).div_(steps)
    # Halves away from zero, as libjpeg has it.
    coefficients = _whole_(coefficients.abs()).copysign_(coefficients).mul_(steps)
    decoded = (coefficients @ both).reshape(n, channels, height // 8, width // 8, 8, 8).transpose(3, 4)
    return _whole_(decoded.reshape(planes.shape)).clamp_(-128, 127)


def _cosines(like: Tensor) -> Tensor:
    """The orthonormal cosine transform of 8 values, (8, 8)."""
    places = torch.arange(8, device=like.device, dtype=like.dtype)
    basis = torch.cos((2 * places + 1) * places[:, None] * (torch.pi / 16)) / 2
    return torch.cat([basis[:1] / 2**0.5, basis[1:]])


def _tables(base: tuple[int, ...], quality: Tensor) -> Tensor:
    """The quantisation tables (N, 8, 8) of qualities (N,), as libjpeg scales them."""
    table = send(torch.tensor(base, dtype=quality.dtype), quality.device).reshape(8, 8)
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    return ((table * percent[:, None, None] + 50) / 100).floor().clamp(1, 255)


_SLACK = 2.0**-11  # more than the rounding errors of 64 products of 8 bits

# ITU-R BT.601: luma and colour differences of red, green and blue; and red, green and blue of these.
_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))

# ITU-T T.81, tables K.1 and K.2.
# fmt: off
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)
_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)
# fmt: on
