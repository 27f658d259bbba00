"""A picture of what families do: one row an image, and for each family some draws."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from solo_invariance.data.latent_scenes import LatentScenes
from solo_invariance.data.listing import list_images
from solo_invariance.errors import UserError
from solo_invariance.families.canvas import Canvas, CanvasImage, default_canvas_size, sizes_of
from solo_invariance.families.crops import generator_of
from solo_invariance.families.family import Family

_GAP, _MARGIN, _TITLE = 3, 12, 26
_LONGEST, _LARGEST = 65_500, 2**28  # pixels of a side, as JPEG has them, and of all
_SCREEN = 1600  # pixels, beyond which further families stand below
_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_Block = tuple[str, Sequence[Sequence[Image.Image]], int]
"""A name, its columns of views, and its width in pixels."""


def contact_sheet(
    canvases: Sequence[CanvasImage], families: Sequence[Family], crop_size: int, draws: int = 4, seed: int = 0
) -> Image.Image:
    """Draw a contact sheet.

    Args:
        canvases: One row each.
        families: For each a block of columns, with its name above.
        crop_size: Side of the views, in pixels.
        draws: Columns a family.
        seed: Of the draws; each family's are its own, whatever stands beside it.

    Returns:
        An RGB picture; the first column is what the canvas shows, in its own shape, as large as a view has room for.
        Where families are too many for a screen, some stand below the others, with the canvases before them again.

    Raises:
        UserError: It would be larger than pictures can be.
    """
    step = crop_size + _GAP
    wide, high = len(families) * draws * step, len(canvases) * step
    if wide > _LONGEST or wide * high > _LARGEST:
        raise UserError(f"draws={draws}: a picture of about {wide} x {high} pixels is too large; draw fewer")
    blocks: list[tuple[str, Sequence[Sequence[Image.Image]]]] = [
        ("canvas", [[_unstretched(canvas, crop_size) for canvas in canvases]])
    ]
    for family in families:
        views_of = [_views(family, canvases, crop_size, seed, column) for column in range(draws)]
        blocks.append((family.name, views_of))
    rows = _in_rows([(name, columns, max(len(columns) * step - _GAP, _text_width(name))) for name, columns in blocks])
    height = _TITLE + len(canvases) * step + _MARGIN
    width = max(sum(width + _MARGIN for *_, width in row) for row in rows) + _MARGIN
    sheet = Image.new("RGB", (width, height * len(rows)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        top, left = number * height, _MARGIN
        for name, columns, block in row:
            pen.text((left, top + _TITLE / 2), name, _INK, _font(), anchor="lm")
            for column, views in enumerate(columns):
                for place, view in enumerate(views):
                    spare = [(crop_size - side) // 2 for side in view.size]
                    sheet.paste(view, (left + column * step + spare[0], top + _TITLE + place * step + spare[1]))
            left += block + _MARGIN
    return sheet


def _in_rows(blocks: Sequence[_Block]) -> list[list[_Block]]:
    """Return blocks in rows that are no wider than a screen, each of which begins with the first block."""
    first, *others = blocks
    rows = [[first]]
    for block in others:
        if len(rows[-1]) > 1 and sum(width + _MARGIN for *_, width in (*rows[-1], block)) + _MARGIN > _SCREEN:
            rows.append([first])
        rows[-1].append(block)
    return rows


def _views(
    family: Family, canvases: Sequence[CanvasImage], crop_size: int, seed: int, column: int
) -> list[Image.Image]:
    sizes = sizes_of([canvas.extent for canvas in canvases])
    parameters = family.draw(len(canvases), generator_of((seed, column)), sizes)
    views = family.apply(torch.stack([canvas.pixels for canvas in canvases]), parameters, crop_size, sizes)
    return [_picture(view) for view in views.clamp(0, 1).mul(255).round().byte()]


def _unstretched(canvas: CanvasImage, room: int) -> Image.Image:
    height, width = sizes_of([canvas.extent])[0].tolist()
    long = max(height, width)
    shape = max(1, round(room * width / long)), max(1, round(room * height / long))
    return _picture(canvas.pixels).resize(shape, Image.Resampling.BILINEAR)


def _picture(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(14)


def _text_width(text: str) -> int:
    return round(_font().getlength(text))


def canvases_of(
    folder: Path | str | None,
    num_images: int,
    crop_size: int,
    canvas_size: int | None = None,
    seed: int = 0,
    *,
    whole: bool = True,
) -> list[CanvasImage]:
    """Return images on canvases of C pixels a side, to draw families on.

    Args:
        folder: Of images, taken evenly spaced so that a folder of classes shows several of them; the embedded data by
            default.
        num_images: How many, or all if there are fewer.
        crop_size: Side of the views, in pixels.
        canvas_size: C, in pixels; as in training by default.
        seed: Of the embedded data.
        whole: Whether a canvas keeps the whole image, or its centre square.

    Raises:
        UserError: The canvas is smaller than the views, there are no images, or more than a picture has room for.
    """
    size = canvas_size or default_canvas_size(crop_size)
    if size < crop_size:
        raise UserError(f"canvas_size={size}: at least crop_size={crop_size}")
    paths = None if folder is None else list_images(Path(folder))
    count = num_images if paths is None else min(num_images, len(paths))
    if count * (crop_size + _GAP) > _LONGEST:
        raise UserError(
            f"num_images={num_images}: a picture of {count} views above each other is too large; draw fewer"
        )
    canvas = Canvas(size, sharp=size > crop_size, whole=whole)
    if paths is None:
        scenes = LatentScenes(count, size=max(64, canvas.size), seed=seed)
        return [canvas(image) for image in scenes.images]
    spaced = [paths[index * len(paths) // count] for index in range(count)]
    return [canvas.load(str(path)) for path in spaced]
