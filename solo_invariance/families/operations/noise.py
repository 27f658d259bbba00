"""Noise that is a function of its seed and place: the same on every device, drawn where it is needed."""

import math

import torch
from torch import Tensor


def draw_seeds(n: int, generator: torch.Generator) -> Tensor:
    """Draw one seed an image, (N,) int64 below 2^32."""
    return torch.randint(0, 2**32 - 1, (n,), generator=generator)


def uniform_noise(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return independent uniform numbers in (0, 1), float32.

    Args:
        seeds: (N,) int64, on the device of the result.
        shape: Of one image.

    Returns:
        (N, *shape); row i depends on ``seeds[i]`` and ``shape`` alone.
    """
    places = _scramble_(torch.arange(math.prod(shape), device=seeds.device, dtype=torch.int32))
    # The mixer leaves 0 as it is, so that seed 0 would leave the places as they are: seeds count from 1.
    mixed = _scramble_(places[None, :] ^ _scramble_((seeds + 1).int())[:, None])
    # The upper 23 bits and a half, which float32 holds exactly: neither 0 nor 1 comes out.
    return _shift(mixed, 9).float().add_(0.5).mul_(2.0**-23).reshape(len(seeds), *shape)


def normal_noise(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return independent standard normal numbers, float32; see ``uniform_noise`` (Box & Muller, 1958)."""
    count = math.prod(shape)
    # Two uniform numbers make two normal ones.
    first, second = uniform_noise(seeds, (2, (count + 1) // 2)).unbind(dim=1)
    radius, angle = first.log().mul_(-2).sqrt_(), second * (2 * math.pi)
    both = torch.cat([angle.cos().mul_(radius), angle.sin_().mul_(radius)], dim=1)
    return both[:, :count].reshape(len(seeds), *shape)


def _scramble_(values: Tensor) -> Tensor:
    """Map int32 one to one to int32 without any pattern left, in place; products wrap around.

    The constants are Wellons' for this mixer of two rounds.
    """
    values.bitwise_xor_(_shift(values, 16)).mul_(0x21F0AAAD)
    values.bitwise_xor_(_shift(values, 15)).mul_(0x735A2D97)
    return values.bitwise_xor_(_shift(values, 15))


def _shift(values: Tensor, bits: int) -> Tensor:
    """Shift to the right as if there were no sign."""
    return (values >> bits).bitwise_and_((1 << (32 - bits)) - 1)
