"""Noise that is a function of its seed and place: the same on every device, drawn where it is needed."""

import math

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF


def draw_seeds(n: int, generator: torch.Generator) -> Tensor:
    """Draw one seed an image, (N,) int64 below 2^32."""
    return torch.randint(0, _MASK, (n,), generator=generator)


def uniform_noise(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return independent uniform numbers in (0, 1), float32.

    Args:
        seeds: (N,) int64, on the device of the result.
        shape: Of one image.

    Returns:
        (N, *shape); row i depends on ``seeds[i]`` and ``shape`` alone.
    """
    places = _scramble(torch.arange(math.prod(shape), device=seeds.device))
    mixed = _scramble(places[None, :] ^ _scramble(seeds + 1)[:, None])
    # The upper 24 bits, which float32 holds exactly, and a half so that neither 0 nor 1 comes out.
    return ((mixed >> 8).float() + 0.5).mul_(2.0**-24).reshape(len(seeds), *shape)


def normal_noise(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return independent standard normal numbers, float32; see ``uniform_noise`` (Box & Muller, 1958)."""
    first, second = uniform_noise(seeds, shape), uniform_noise(seeds ^ 0x5851F42D, shape)
    return first.log().mul_(-2).sqrt_() * second.mul_(2 * math.pi).cos_()


def _scramble(values: Tensor) -> Tensor:
    """Map integers below 2^32 one to one to integers below 2^32 without any pattern left.

    The constants are Wellons' for this mixer of two rounds; both are below 2^31, so that products of int64 are exact.
    """
    values = values & _MASK
    values = ((values ^ (values >> 16)) * 0x21F0AAAD) & _MASK
    values = ((values ^ (values >> 15)) * 0x735A2D97) & _MASK
    return values ^ (values >> 15)
