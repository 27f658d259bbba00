"""From a batch of canvases to the list of crops that a self-supervised method trains on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_invariance.families.family import Family
from solo_invariance.families.operations.operation import Parameters, send


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
    return torch.Generator().manual_seed(int(state) >> 1)


@contextmanager
def _in_single_precision() -> Iterator[None]:
    """Make numbers of 32 bits, also where a trainer of half-precision weights has others made meanwhile."""
    before = torch.get_default_dtype()
    if before == torch.float32:
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


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
        return self.apply(canvases, self.draw(len(canvases), seed, sizes), memory_format, sizes)

    def draw(self, n: int, seed: Sequence[int], sizes: Tensor | None = None) -> list[list[Parameters]]:
        """Draw the parameters of all the crops of one batch.

        Args:
            n: Number of images.
            seed: Integers that name this batch, as above.
            sizes: Heights and widths (N, 2) of what the canvases show, on the CPU; all square by default.

        Returns:
            What the family of each crop draws for the batch, in the order of the crops.
        """
        generator = generator_of(seed)
        with _in_single_precision():
            return [entry.family.draw(n, generator, sizes) for entry in self._crops]

    def apply(
        self,
        images: Tensor,
        parameters: Sequence[Sequence[Parameters]],
        memory_format: torch.memory_format = torch.contiguous_format,
        sizes: Tensor | None = None,
    ) -> list[Tensor]:
        """Make the crops of one batch with parameters that were drawn for it.

        Args:
            images: uint8 (N, 3, C, C), or floating point in [0, 1], which are computed with in single precision; they
                stay as they are.
            parameters: What ``draw(N, ..., sizes)`` returned.
            memory_format: Of the crops.
            sizes: Those that the parameters were drawn for.

        Returns:
            ``num_crops`` tensors an entry, each (N, 3, crop_size, crop_size), normalised.

        Raises:
            ValueError: The images are no such ones, or the parameters were not drawn for them.
        """
        if len(parameters) != len(self._crops):
            raise ValueError(f"parameters of {len(parameters)} crops, expected those of {len(self._crops)}")
        images = images.to(torch.float32, copy=True).div_(255) if images.dtype == torch.uint8 else images.float()
        crops = []
        with _in_single_precision():
            for entry, drawn in zip(self._crops, parameters, strict=True):
                views = self._normalize(entry.family.apply(images, drawn, entry.crop_size, sizes))
                crops.append(views.contiguous(memory_format=memory_format))
        return crops

    @property
    def large(self) -> list[Family]:
        """The families of the crops that a method compares: those as large as the first, which come first in a run."""
        return [entry.family for entry in self._crops if entry.crop_size == self.entries[0].crop_size]

    def by_name(self, parameters: Sequence[Sequence[Parameters]]) -> list[dict[str, Parameters]]:
        """Return for each crop what each operation of its family drew, by the operation's name.

        Args:
            parameters: What ``draw`` returned.
        """
        return [
            dict(zip(entry.family.names, drawn, strict=True))
            for entry, drawn in zip(self._crops, parameters, strict=True)
        ]

    @property
    def _crops(self) -> list[CropEntry]:
        """The entry of each crop."""
        return [entry for entry in self.entries for _ in range(entry.num_crops)]

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
