"""Images of coloured waves, and tasks whose wanted invariances are known because they were put there."""

import math

import torch
from torch import Tensor

NUM_TRAIN, NUM_TEST, SIDE = 240, 160, 32

Task = tuple[Tensor, Tensor, Tensor, Tensor]


def planted(name: str, seed: int) -> Task:
    """Return training images and targets, test images and targets.

    Args:
        name: What the target is: ``hue``, the ``angle`` of the wave, ``both``, the ``size`` of its stripes (coarse or
            fine, beyond what crops and blur confuse), or ``nothing``, drawn by lot.
        seed: Of all that is drawn.
    """
    count = NUM_TRAIN + NUM_TEST
    generator = torch.Generator().manual_seed(seed)
    hue, angle, phase, light, spread = torch.rand(5, count, generator=generator)
    is_fine = torch.rand(count, generator=generator) < 0.5
    lot = torch.randint(3, (count,), generator=generator)
    cycles = torch.where(is_fine, 3 + 1.5 * spread, 0.5 + 0.4 * spread) if name == "size" else 2 + 1.5 * spread
    images = _waves(hue, angle, cycles, phase, 0.6 + 0.4 * light, generator)
    targets = {
        "hue": _on_a_circle(hue),
        "angle": _on_a_circle(angle),
        "both": torch.cat([_on_a_circle(hue), _on_a_circle(angle)], dim=1),
        "size": is_fine.long(),
        "nothing": lot,
    }[name]
    return images[:NUM_TRAIN], targets[:NUM_TRAIN], images[NUM_TRAIN:], targets[NUM_TRAIN:]


def _on_a_circle(turns: Tensor) -> Tensor:
    return torch.stack([(2 * math.pi * turns).cos(), (2 * math.pi * turns).sin()], dim=1)


def _waves(
    hue: Tensor, angle: Tensor, cycles: Tensor, phase: Tensor, light: Tensor, generator: torch.Generator
) -> Tensor:
    """Return images (N, 3, S, S), uint8; hue and phase in turns, angle in half turns, cycles in the image's width."""
    places = torch.linspace(-1, 1, SIDE)
    across = (math.pi * angle).cos()[:, None, None] * places + (math.pi * angle).sin()[:, None, None] * places[:, None]
    wave = (math.pi * cycles[:, None, None] * across + 2 * math.pi * phase[:, None, None]).sin()
    level = (0.5 + 0.5 * wave) * light[:, None, None]
    thirds = torch.tensor([0.0, 1.0, 2.0]) / 3
    colour = 0.5 + 0.5 * (2 * math.pi * (hue[:, None] - thirds)).cos()
    images = (0.15 + 0.85 * colour)[:, :, None, None] * level[:, None]
    images += 0.03 * torch.randn(images.shape, generator=generator)
    return images.clamp(0, 1).mul(255).round().to(torch.uint8)
