"""Transforms that change pixels' values."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from solo_invariance.families.operations.appearance import (
    adjust_hue,
    blend,
    depths,
    gaussian_blur,
    luma,
    mean_grey,
    to_grayscale,
)
from solo_invariance.families.operations.appearance import equalize as equalize_histograms
from solo_invariance.families.operations.appearance import posterize as keep_highest_bits
from solo_invariance.families.operations.operation import send
from solo_invariance.measure.transforms.spatial import _on_a_circle, _OnOff
from solo_invariance.measure.transforms.transform import (
    ResizeCrop,
    Window,
    WindowTransform,
    in_eight_bits,
    one_of_the_same,
)
from solo_invariance.protocols import ProtocolName

_HALVES = 2e-5  # in levels of 8 bits: halves go up, though floating point is off by less


class _Photometric(WindowTransform):
    """A change of pixel values by one number."""

    kind = "appearance"
    unit = "factor"

    def reach(self, geometry: ResizeCrop) -> int | None:
        """Return from how far, in pixels, a pixel's new value depends on others, None for the whole image."""
        return 0

    @abstractmethod
    def adjust(self, images: Tensor, amount: Tensor, geometry: ResizeCrop) -> Tensor:
        """Return the changed images (N, 3, H, W); ``amount`` is (N,), on the CPU.

        Where all are to be made of one image, it is given once, (1, 3, H, W): what does not depend on the amount is
        computed once then.
        """

    def adjust_in_eight_bits(self, images: Tensor, amount: Tensor, geometry: ResizeCrop) -> Tensor:
        """Return the changed images, rounded to 8 bits as Pillow or torchvision does; arguments as ``adjust``."""
        return in_eight_bits(self.adjust(images, amount, geometry))

    def change(self, images: Tensor, parameters: Tensor, window: Window, *, eight_bits: bool) -> Tensor:
        images, amount, box = one_of_the_same(images), parameters[:, 0].to(images.dtype), window.box
        reach = self.reach(window.geometry)
        if reach is not None:
            images, box = box.grown(reach, images)
        adjust = self.adjust_in_eight_bits if eight_bits else self.adjust
        return box.cut(adjust(images, amount, window.geometry))


class _Blend(_Photometric):
    """A blend with other images by a factor: 0 is those, 1 the images themselves, and more goes on from there."""

    @abstractmethod
    def others(self, images: Tensor) -> Tensor:
        """Return what images (N, 3, H, W) are blended with, of the same shape or one that is expanded to it."""

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
        return torch.linspace(0.25, 5, k)[:, None]

    def adjust(self, images: Tensor, amount: Tensor, geometry: ResizeCrop) -> Tensor:
        return blend(images, self.others(images), send(amount, images.device))

    def adjust_in_eight_bits(self, images: Tensor, amount: Tensor, geometry: ResizeCrop) -> Tensor:
        """Blend as Pillow does: the other image is rounded, and of the blend, decimals are cut off."""
        levels, others = images.mul(255).round_(), self.others(images).mul(255).round_()
        blended = others + send(amount, images.device)[:, None, None, None] * (levels - others)
        return blended.clamp_(0, 255).floor_().div_(255)

    @property
    def neutral(self) -> tuple[float, ...]:
        return (1.0,)


@dataclass(frozen=True)
class Brightness(_Blend):
    """Multiply the values by a factor; ``linspace(0.25, 5, k)``."""

    def others(self, images: Tensor) -> Tensor:
        return images.new_zeros(1, 1, 1, 1)


@dataclass(frozen=True)
class Contrast(_Blend):
    """Blend with the image's mean grey; ``linspace(0.25, 5, k)``."""

    def others(self, images: Tensor) -> Tensor:
        return mean_grey(images)

    def reach(self, geometry: ResizeCrop) -> int | None:
        return None


@dataclass(frozen=True)
class Saturation(_Blend):
    """Blend with the greyscale image; ``linspace(0.25, 5, k)``."""

    def others(self, images: Tensor) -> Tensor:
        return luma(images)


@dataclass(frozen=True)
class Hue(_Photometric):
    """Shift the hue; ``linspace(-0.5, 0.5, k)`` turns."""

    unit = "turns"

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
        return torch.linspace(-0.5, 0.5, k)[:, None]

    def adjust(self, images: Tensor, amount: Tensor, geometry: ResizeCrop) -> Tensor:
        return adjust_hue(images.expand(len(amount), -1, -1, -1), send(amount, images.device))

    def adjust_in_eight_bits(self, images: Tensor, amount: Tensor, geometry: ResizeCrop) -> Tensor:
        """Shift the hue of 8-bit HSV images, as Pillow makes them: hue and saturation are cut off to whole levels."""
        hue, saturation, value = _eight_bit_hsv(images.mul(255).round_())
        shifts = send((amount * 255).trunc(), images.device)
        hue = hue.add(shifts[:, None, None]).remainder_(256).div_(255)
        levels = value[:, None] * (1 - saturation[:, None].div(255) * depths(hue))
        return levels.add_(0.5 + _HALVES).floor_().div_(255)

    def coordinates(self, parameters: Tensor) -> Tensor:
        return _on_a_circle(parameters)

    @property
    def neutral(self) -> tuple[float, ...]:
        return (0.0,)


def _eight_bit_hsv(levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return hue, saturation and value, whole numbers to 255, (N, H, W) each, of 8-bit images (N, 3, H, W).

    The divisions are in single precision and the rest is in double, as in Pillow: where a level is met exactly,
    rounding decides which one is cut off to.
    """
    red, green, blue = levels.unbind(dim=1)
    high = levels.amax(dim=1)
    spread = high - levels.amin(dim=1)
    far = [((high - one) / spread.clamp(min=1)).double() for one in (red, green, blue)]
    sixths = torch.where(
        high == red, far[2] - far[1], torch.where(high == green, 2 + far[0] - far[2], 4 + far[1] - far[0])
    )
    turns = sixths.float().double().div_(6).add_(1).remainder_(1).float()
    hue = torch.where(spread > 0, turns.double().mul_(255).floor_().float(), 0.0)
    saturation = (spread / high.clamp(min=1)).double().mul_(255).floor_().float()
    return hue, saturation, high


@dataclass(frozen=True)
class Blur(_Photometric):
    """Gaussian blur; sigma on ``linspace(1e-5, 20, k)`` pixels, with a kernel of 23 at a crop of 224."""

    unit = "pixels"

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
        return torch.linspace(1e-5, 20, k)[:, None]

    def adjust(self, images: Tensor, amount: Tensor, geometry: ResizeCrop) -> Tensor:
        return gaussian_blur(images.expand(len(amount), -1, -1, -1), amount, self._kernel_size(geometry))

    def reach(self, geometry: ResizeCrop) -> int | None:
        return self._kernel_size(geometry) // 2

    @staticmethod
    def _kernel_size(geometry: ResizeCrop) -> int:
        return 1 + geometry.crop_size // 20 * 2

    @property
    def neutral(self) -> tuple[float, ...]:
        return (1e-5,)


@dataclass(frozen=True)
class Sharpness(_Blend):
    """Blend with the 3x3 smoothing (1 1 1; 1 5 1; 1 1 1) / 13; ``linspace(1, 30, k)``."""

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
        return torch.linspace(1, 30, k)[:, None]

    def others(self, images: Tensor) -> Tensor:
        """Smooth; the image's outermost pixels, which have no neighbours all round, stay as they are."""
        smooth, inner = images.clone(), images[..., 1:-1, 1:-1]
        sums = torch.nn.functional.avg_pool2d(images, 3, stride=1, divisor_override=1)
        smooth[..., 1:-1, 1:-1] = sums.add_(inner, alpha=4).div_(13)
        return smooth

    def reach(self, geometry: ResizeCrop) -> int | None:
        return 1


@dataclass(frozen=True)
class Posterize(_Photometric):
    """Keep the highest bits of each value; 1 to 7."""

    unit = "bits"

    def grid(self, k: int, geometry: ResizeCrop, protocol: ProtocolName) -> Tensor:
        return torch.arange(1.0, 8.0)[:, None]

    def weights(self, grid: Tensor) -> Tensor:
        """Return the same for all steps: there is nothing between them."""
        return torch.full((len(grid),), 1 / len(grid), dtype=torch.float64)

    def adjust(self, images: Tensor, amount: Tensor, geometry: ResizeCrop) -> Tensor:
        return keep_highest_bits(images.expand(len(amount), -1, -1, -1), send(amount, images.device))


@dataclass(frozen=True)
class Grayscale(_OnOff):
    """Remove the colour."""

    kind = "appearance"

    def changed(self, images: Tensor) -> Tensor:
        return to_grayscale(images)


@dataclass(frozen=True)
class Invert(_OnOff):
    """Turn every value v into 1 - v."""

    kind = "appearance"

    def changed(self, images: Tensor) -> Tensor:
        return 1 - images


@dataclass(frozen=True)
class Equalize(_OnOff):
    """Equalise each channel's histogram, in 8 bits."""

    kind = "appearance"

    def changed(self, images: Tensor) -> Tensor:
        return equalize_histograms(images)


brightness = Brightness()


contrast = Contrast()


saturation = Saturation()


hue = Hue()


blur = Blur()


sharpness = Sharpness()


posterize = Posterize()


grayscale = Grayscale()


invert = Invert()


equalize = Equalize()
