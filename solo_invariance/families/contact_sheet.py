"""A picture of what families do: one row an image, and for each family some draws."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from solo_invariance.families.crops import generator_of
from solo_invariance.families.family import Family

_GAP, _MARGIN, _TITLE = 3, 12, 26
_PAPER, _INK = (255, 255, 255), (40, 40, 40)


def contact_sheet(
    canvases: Tensor, families: Sequence[Family], crop_size: int, draws: int = 4, seed: int = 0
) -> Image.Image:
    """Draw a contact sheet.

    Args:
        canvases: uint8 (N, 3, C, C): one row each.
        families: For each a block of columns, with its name above.
        crop_size: Side of the views, in pixels.
        draws: Columns a family.
        seed: Of the draws; each family's are its own, whatever stands beside it.

    Returns:
        An RGB picture; the first column is the canvas, at the size of the crops.
    """
    whole = Family("canvas", ())
    blocks = [(whole.name, [_views(whole, canvases, crop_size, seed, 0)])]
    for family in families:
        columns = [_views(family, canvases, crop_size, seed, column) for column in range(draws)]
        blocks.append((family.name, columns))
    step = crop_size + _GAP
    widths = [max(len(columns) * step - _GAP, _text_width(name)) for name, columns in blocks]
    width = sum(widths) + _MARGIN * (len(blocks) + 1)
    sheet = Image.new("RGB", (width, _TITLE + len(canvases) * step + _MARGIN), _PAPER)
    pen, left = ImageDraw.Draw(sheet), _MARGIN
    for (name, columns), block in zip(blocks, widths, strict=True):
        pen.text((left, _TITLE / 2), name, _INK, _font(), anchor="lm")
        for column, views in enumerate(columns):
            for row, view in enumerate(views):
                sheet.paste(Image.fromarray(view), (left + column * step, _TITLE + row * step))
        left += block + _MARGIN
    return sheet


def _views(family: Family, canvases: Tensor, crop_size: int, seed: int, column: int) -> np.ndarray:
    parameters = family.draw(len(canvases), generator_of((seed, column)))
    views = family.apply(canvases, parameters, crop_size).clamp(0, 1)
    return views.mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(14)


def _text_width(text: str) -> int:
    return round(_font().getlength(text))
