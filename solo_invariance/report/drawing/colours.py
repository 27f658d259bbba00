"""Colours of the report, for a light and a dark page: a perceptually uniform ramp for numbers, and line colours.

The ramp has equal steps in Oklab (B. Ottosson, "A perceptual color space for image processing", 2020). On either page
it goes from a pale sand to a strong, darker blue, so that a picture of one says the same as a picture of the other. A
second ramp, for correlations, goes from orange through the page's pale to the same blue. The line colours stay apart
under the three kinds of dichromacy, and the dashes and markers of the lines say the same as their colours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NUM_LEVELS = 21

LMS_FROM_RGB = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929],
     [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
LAB_FROM_LMS = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468],
     [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip


class Shade(NamedTuple):
    """A background and the ink that is legible on it, as ``#rrggbb``."""

    background: str
    ink: str


class Theme(NamedTuple):
    """The colours of a light or a dark page; ``named`` are those of text and rules."""

    paper: str
    named: dict[str, str]
    ramp_anchors: tuple[str, ...]
    signed_anchors: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def ramp(self) -> list[Shade]:
        """``NUM_LEVELS`` shades, from the least to the most invariant."""
        return _shades(self.ramp_anchors)

    @property
    def signed_ramp(self) -> list[Shade]:
        """``NUM_LEVELS`` shades, from -1 to 1 of a correlation."""
        return _shades(self.signed_anchors)


LIGHT = Theme(
    paper="#fcfbf8",
    named={
        "raised": "#f4f1ea",
        "ink": "#1d1f23",
        "muted": "#5c6066",
        "rule": "#dcd8ce",
        "grid": "#e9e5dc",
        "link": "#1f4e86",
        "caution": "#7a4a00",
        "holds": "#17695a",
        "fails": "#a8360f",
        "open": "#5c6066",
    },
    ramp_anchors=("#f8f3df", "#b4d9b6", "#3f86b8"),
    signed_anchors=("#d98445", "#f4f1e6", "#3f86b8"),
    lines=("#254dc0", "#ad4d0a", "#2b9480", "#6a0a69", "#282a2e", "#8f8f00", "#dd44ff"),
)
DARK = Theme(
    paper="#14171b",
    named={
        "raised": "#1c2025",
        "ink": "#e7e5df",
        "muted": "#a2a6ad",
        "rule": "#32373e",
        "grid": "#262b31",
        "link": "#8fbcf0",
        "caution": "#e8b866",
        "holds": "#6fd0b8",
        "fails": "#ff9e74",
        "open": "#a2a6ad",
    },
    ramp_anchors=("#b3b0a4", "#7fa88c", "#2a6ca3"),
    signed_anchors=("#b0591c", "#b3b0a4", "#2a6ca3"),
    lines=("#3d9bff", "#f69e4c", "#9efcde", "#d8409c", "#adb5c1", "#fce80a", "#6644ee"),
)


def level(value: float, low: float, high: float) -> int:
    """The step of the ramp for a value on a scale from ``low`` to ``high``; ``low > high`` turns the scale round."""
    return round(min(max((value - low) / (high - low), 0.0), 1.0) * (NUM_LEVELS - 1))


def _shades(anchors: tuple[str, ...]) -> list[Shade]:
    return [Shade(background, ink_on(background)) for background in uniform_ramp(anchors, NUM_LEVELS)]


def uniform_ramp(anchors: tuple[str, ...], count: int) -> list[str]:
    """``count`` colours at equal distances along the path through the anchors in Oklab."""
    path = np.stack([oklab(linear_rgb(anchor)) for anchor in anchors])
    travelled = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    stops = np.linspace(0.0, travelled[-1], count)
    shades = np.stack([np.interp(stops, travelled, path[:, axis]) for axis in range(3)], axis=1)
    return [_hexadecimal(shade) for shade in shades]


def ink_on(background: str) -> str:
    """Black or white, whichever has the higher contrast on ``background``; it is at least 4.5 on any colour."""
    return max("#000000", "#ffffff", key=lambda ink: contrast(ink, background))


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2, definition of contrast ratio)."""
    darker, lighter = sorted(float(linear_rgb(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def linear_rgb(colour: str) -> Array:
    """Linear-light red, green and blue of ``#rrggbb``, shape ``(3,)``, 0 to 1."""
    encoded = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def oklab(rgb: Array) -> Array:
    """Oklab coordinates of a linear-light colour, shape ``(3,)``."""
    lab: Array = LAB_FROM_LMS @ np.cbrt(LMS_FROM_RGB @ rgb)
    return lab


def _hexadecimal(lab: Array) -> str:
    rgb = np.linalg.solve(LMS_FROM_RGB, np.linalg.solve(LAB_FROM_LMS, lab) ** 3).clip(0, 1)
    encoded = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * float(channel)):02x}" for channel in encoded)
