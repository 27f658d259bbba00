"""From a batch of canvases to the list of crops that a self-supervised method trains on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_invariance.families.family import Family
from solo_invariance.families.operations.operation import send


@dataclass(frozen=True)
class CropEntry:
    """One entry of a run's list of augmentations.

    Args:
        family: Draws and applies the augmentation.
        crop_size: Side of the crops, in pixels.
        num_crops: How many crops an image.
    """

    family: Family
    crop_size: int
    num_crops: int


def generator_of(seed: Sequence[int]) -> torch.Generator:
    """Return a CPU generator that depends on all of several non-negative integers, of any size."""
    state = np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


@dataclass(frozen=True)
class CropPipeline:
    """All the crops of a run, normalised, made where the canvases are.

    Args:
        entries: In the order in which the method gets their crops.
        mean: Channel means that the backbone's input is normalised with.
        std: Channel standard deviations that crops are divided by, in [0, 1] units.
    """

    entries: tuple[CropEntry, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(
        self,
        canvases: Tensor,
        seed: Sequence[int],
        memory_format: torch.memory_format = torch.contiguous_format,
        sizes: Tensor | None = None,
    ) -> list[Tensor]:
        """Make the crops of one batch.

        Args:
            canvases: uint8 (N, 3, C, C).
            seed: Integers that name this batch, such as (run seed, rank, epoch, batch). The crops depend on nothing
                else, so a resumed run draws what an uninterrupted one draws, and no two ranks draw the same.
            memory_format: Of the crops, such as ``torch.channels_last``; their values are the same.
            sizes: Heights and widths (N, 2) of what the canvases show, in pixels of the files, on the CPU; (C, C) by
                default.

        Returns:
            ``num_crops`` tensors an entry, each (N, 3, crop_size, crop_size), normalised.
        """
        generator = generator_of(seed)
        images = canvases.to(torch.float32, copy=True).div_(255)
        crops = []
        for entry in self.entries:
            for _ in range(entry.num_crops):
                parameters = entry.family.draw(len(images), generator, sizes)
                views = self._normalize(entry.family.apply(images, parameters, entry.crop_size, sizes))
                crops.append(views.contiguous(memory_format=memory_format))
        return crops

    def _normalize(self, views: Tensor) -> Tensor:
        # Copied without waiting for the device, which making a tensor there would.
        statistics = send(torch.tensor([self.mean, self.std], dtype=views.dtype), views.device)
        mean, std = statistics[:, :, None, None]
        return (views - mean).div_(std)

    def fingerprint(self) -> str:
        """Return what a resumed run must share: each entry's family, crop size and number of crops, readable."""
        return "; ".join(
            f"{e.num_crops} x {e.family.name}@{e.crop_size} [{e.family.fingerprint()}]" for e in self.entries
        )

    def summary(self) -> str:
        """Return the fingerprint for a reader: with the families' numbers and units instead of hashes of them."""
        return "; ".join(f"{e.num_crops} x {e.family.name}@{e.crop_size} ({e.family.summary()})" for e in self.entries)

    def describe(self) -> list[dict[str, Any]]:
        """Return each entry as plain data: its family with all numbers, what they are measured in, and its crops."""
        return [
            {
                "num_crops": entry.num_crops,
                "crop_size": entry.crop_size,
                "family": entry.family.describe(),
                "units": {"crop_size": "pixels", **{o.name: o.units for o in entry.family.operations if o.units}},
            }
            for entry in self.entries
        ]
