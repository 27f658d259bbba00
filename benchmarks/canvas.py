"""What the canvas costs: detail, memory and time, at several sizes; and what decoding less than the file costs."""

import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.photographs import NAMES, photograph
from benchmarks.rows import Row
from benchmarks.running import Step
from benchmarks.timing import in_turns
from solo_invariance.data.decoding import decode
from solo_invariance.families import Canvas

_CROP_SIZES = (224, 96)
_CANVAS_FACTORS = (1, 8 / 7, 1.25, 1.5, 2)
_AREAS = (1.0, 0.5, 0.2, 0.08, 0.05)
_BOXES = 4
_PHOTO_SIZES = ((500, 375), (1000, 750), (2000, 1500), (4000, 3000))


def steps(quick: bool = False) -> list[Step]:
    crop_sizes, photo_sizes = (_CROP_SIZES[1:], _PHOTO_SIZES[:2]) if quick else (_CROP_SIZES, _PHOTO_SIZES)
    return [
        *(
            Step(f"what {what} keep for crops of {size} px", 15, partial(resolutions, size, whole))
            for what, whole in (("whole canvases", True), ("centre canvases", False))
            for size in crop_sizes
        ),
        *(Step(f"draft decoding of {size[0]} x {size[1]}", 5, partial(drafts, size)) for size in photo_sizes),
    ]


@dataclass(frozen=True)
class Resolution(Row):
    """Views cut from the canvas against views cut from the photograph itself, both by the same antialiased filter.

    Args:
        crop_size: Side of the views, in pixels.
        kept: What the canvas keeps of the photograph: the whole of it, stretched, or its centre square.
        canvas_size: Side of the canvas, in pixels.
        kilobytes: Memory of a canvas.
        seconds: To make one in a data worker, decoding in full.
        draft_seconds: Likewise, decoding no more than is needed.
        detail: Mean over photographs and boxes of the views' gradient energy over that of the photograph's, by the
            area of the box as a fraction of that of what is kept. Boxes have its shape.
        psnr: Mean of the views' peak signal-to-noise ratio, in decibels, likewise.
    """

    title: ClassVar[str] = "What the canvas keeps of the photograph: gradient energy and PSNR of views, by crop scale"
    crop_size: int
    kept: str
    canvas_size: int
    kilobytes: float
    seconds: float
    draft_seconds: float
    detail: dict[str, float]
    psnr: dict[str, float]

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "crop": f"{self.crop_size} px",
            "canvas": f"{self.kept}, {self.canvas_size} px",
            "memory": f"{self.kilobytes:.0f} kB",
            "worker": f"{self.seconds * 1000:.2f} ms",
            "draft": f"{self.draft_seconds * 1000:.2f} ms",
            **{f"scale {area}": f"{self.detail[area]:.2f} / {self.psnr[area]:.1f} dB" for area in self.detail},
        }


def resolutions(crop_size: int, whole: bool) -> Iterator[Resolution]:
    photographs = [photograph(name) if whole else _centre_square(photograph(name)) for name in NAMES]
    boxes = {area: _boxes(area) for area in _AREAS}
    wanted = [{area: _views(Image.fromarray(one), boxes[area], crop_size) for area in _AREAS} for one in photographs]
    with tempfile.TemporaryDirectory() as folder:
        path = _write(Path(folder), _photo((500, 375), "astronaut"))
        for factor in _CANVAS_FACTORS:
            canvas = Canvas(round(crop_size * factor), sharp=factor > 1, whole=whole)
            detail: dict[str, list[float]] = {str(area): [] for area in _AREAS}
            psnr: dict[str, list[float]] = {str(area): [] for area in _AREAS}
            for one, views in zip(photographs, wanted, strict=True):
                small = Image.fromarray(canvas(Image.fromarray(one)).pixels.permute(1, 2, 0).numpy())
                for area in _AREAS:
                    kept = _views(small, boxes[area], crop_size)
                    detail[str(area)].append(_detail(kept, views[area]))
                    psnr[str(area)].append(_psnr(kept, views[area]))
            full, draft = _seconds(canvas, path)
            yield Resolution(
                crop_size,
                "whole" if whole else "centre",
                canvas.size,
                3 * canvas.size**2 / 1000,
                full,
                draft,
                {area: statistics.mean(values) for area, values in detail.items()},
                {area: statistics.mean(values) for area, values in psnr.items()},
            )


@dataclass(frozen=True)
class Draft(Row):
    """A canvas of a JPEG decoded in no more detail than is needed, against that of the JPEG decoded in full.

    Args:
        photo: Width and height, in pixels.
        canvas_size: Side of the canvas, in pixels.
        seconds: To make a canvas, decoding in full.
        draft_seconds: Likewise, decoding no more than is needed.
        detail: Mean over photographs of the canvas's gradient energy over that of the one from full decoding.
        psnr: Mean of its peak signal-to-noise ratio, in decibels; None where the same pixels come out.
    """

    title: ClassVar[str] = "Draft decoding of JPEGs: mosaics of photographs at their full sharpness"
    photo: str
    canvas_size: int
    seconds: float
    draft_seconds: float
    detail: float
    psnr: float | None

    def cells(self) -> dict[str, str]:
        """Return the numbers, rounded."""
        return {
            "photo": self.photo,
            "canvas": f"{self.canvas_size} px",
            "full": f"{self.seconds * 1000:.1f} ms",
            "draft": f"{self.draft_seconds * 1000:.1f} ms",
            "detail": f"{self.detail:.3f}",
            "PSNR": "same" if self.psnr is None else f"{self.psnr:.1f} dB",
        }


def drafts(size: tuple[int, int]) -> Iterator[Draft]:
    with tempfile.TemporaryDirectory() as folder:
        paths = [_write(Path(folder), _photo(size, name), name) for name in NAMES]
        for canvas in (Canvas(96, sharp=True), Canvas(256, sharp=True)):
            pairs = [(canvas.load(path).pixels, canvas(decode(path)).pixels) for path in paths]
            same = all(torch.equal(draft, full) for draft, full in pairs)
            scaled = [(draft[None] / 255, full[None] / 255) for draft, full in pairs]
            full_seconds, draft_seconds = _seconds(canvas, paths[0])
            yield Draft(
                f"{size[0]} x {size[1]}",
                canvas.size,
                full_seconds,
                draft_seconds,
                statistics.mean(_detail(draft, full) for draft, full in scaled),
                None if same else statistics.mean(_psnr(draft, full) for draft, full in scaled),
            )


def _seconds(canvas: Canvas, path: str) -> tuple[float, float]:
    """Median seconds of a canvas from a file, decoded in full and in draft."""
    full, draft = in_turns([lambda: canvas(decode(path)), lambda: canvas.load(path)])
    return statistics.median(full), statistics.median(draft)


def _photo(size: tuple[int, int], name: str) -> Image.Image:
    """A photograph of any size, as sharp as the original: what is missing is its reflection."""
    pixels = photograph(name)
    missing = [(0, max(0, side - have)) for side, have in zip(reversed(size), pixels.shape, strict=False)]
    return Image.fromarray(np.pad(pixels, (*missing, (0, 0)), "symmetric")[: size[1], : size[0]])


def _write(folder: Path, image: Image.Image, name: str = "photo") -> str:
    path = folder / f"{name}.jpg"
    image.save(path, quality=90)
    return str(path)


def _centre_square(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    return pixels[top : top + short, left : left + short]


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def _boxes(area: float) -> Tensor:
    """Boxes (N, 4) of an area and of the image's shape, anywhere in it: left, top, width and height as fractions."""
    side = area**0.5
    corners = torch.rand(_BOXES if area < 1 else 1, 2, generator=torch.Generator().manual_seed(0)) * (1 - side)
    return torch.cat([corners, torch.full_like(corners, side)], dim=1)


def _views(image: Image.Image, boxes: Tensor, crop_size: int) -> Tensor:
    """Views (N, 3, crop_size, crop_size) of one image, by Pillow's bilinear filter: torchvision's, antialiased."""
    corners = (boxes[:, :2].repeat(1, 2) + boxes[:, 2:].repeat(1, 2) * torch.tensor([0, 0, 1, 1])).clamp(0, 1)
    scaled = (corners * torch.tensor(image.size).repeat(2)).tolist()
    views = [image.resize((crop_size, crop_size), Image.Resampling.BILINEAR, box=tuple(box)) for box in scaled]
    return torch.stack([_tensor(np.asarray(view)) for view in views]).float() / 255


def _detail(views: Tensor, wanted: Tensor) -> float:
    return (_gradient_energy(views) / _gradient_energy(wanted)).mean().item()


def _gradient_energy(views: Tensor) -> Tensor:
    across, down = (views.diff(dim=axis).square().sum(dim=(1, 2, 3)) for axis in (3, 2))
    return across + down


def _psnr(views: Tensor, wanted: Tensor) -> float:
    return -10 * (views - wanted).square().mean(dim=(1, 2, 3)).clamp(min=1e-10).log10().mean().item()
