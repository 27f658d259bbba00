"""The images of anybody's torch ``Dataset``."""

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from solo_invariance.data.decoding import resize_short_side, to_tensor
from solo_invariance.errors import UserError


@dataclass(frozen=True)
class DatasetSamples:
    """The images of a dataset's samples, with the short side resized.

    Args:
        dataset: Has a length, and gives samples by index: images, or tuples that begin with one, such as an image and
            its label. An image is one of Pillow's, or a tensor (3, H, W), uint8 or of floats in [0, 1].
        resize: Short side in pixels (bilinear, antialiased), None to keep the sizes.

    Example:
        >>> import torch
        >>> from torch.utils.data import TensorDataset
        >>> samples = DatasetSamples(TensorDataset(torch.rand(5, 3, 40, 60), torch.arange(5)), resize=20)
        >>> samples[0].shape, samples.name_of(0)
        (torch.Size([3, 20, 30]), 'TensorDataset image 0')
    """

    dataset: Any
    resize: int | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Tensor:
        sample = self.dataset[index]
        image = sample[0] if isinstance(sample, tuple | list) and len(sample) else sample
        if isinstance(image, Tensor):
            pixels = eight_bits(image, self.name_of(index))
            if pixels.ndim == 3 and pixels.shape[0] == 3:
                return _resized(pixels, self.resize)
        elif isinstance(image, Image.Image):
            return to_tensor(resize_short_side(image.convert("RGB"), self.resize))
        found = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise UserError(f"{self.name_of(index)}: {found}, expected an image of Pillow's or a tensor (3, H, W)")

    def name_of(self, index: int) -> str:
        """Return the dataset's class and the index."""
        return f"{type(self.dataset).__name__} image {index}"


def _resized(pixels: Tensor, size: int | None) -> Tensor:
    if size is None or min(pixels.shape[-2:]) == size:
        return pixels
    return to_tensor(resize_short_side(Image.fromarray(pixels.permute(1, 2, 0).numpy()), size))


def eight_bits(images: Tensor, what: str) -> Tensor:
    """Return images as uint8, on the CPU.

    Args:
        images: Of any shape, uint8 or of floats in [0, 1], which are rounded to multiples of 1/255.
        what: What to call them in messages.

    Raises:
        UserError: They are neither; the message says what they are.
    """
    if images.dtype == torch.uint8:
        return images.cpu()
    if not images.is_floating_point():
        raise UserError(f"{what}: {images.dtype}, expected uint8, or floats in [0, 1]")
    low, high = (float(bound) for bound in torch.aminmax(images)) if images.numel() else (0.0, 0.0)
    if not (low >= 0 and high <= 1):
        raise UserError(f"{what}: values from {low:g} to {high:g}, expected floats in [0, 1], or uint8")
    return images.mul(255).round().to(torch.uint8).cpu()
