"""The keys of ``solo-invariance families``."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

from solo_invariance.config.checks import Checked, require_positive, require_sides
from solo_invariance.config.kinds import FamilyChoice, FilePath, chosen_from


class CanvasName(Enum):
    """What a canvas keeps of an image."""

    whole = "whole"
    centre = "centre"


@dataclass
class SheetDataConfig(Checked):
    """The images of a contact sheet: a folder, or the embedded data without one."""

    section: ClassVar[str] = "data."

    path: FilePath | None = None


@dataclass
class FamiliesConfig(Checked):
    """``solo-invariance families``.

    Args:
        show: The families to print or draw, all of them by default; a list in the list is composed.
        operations: Other numbers for their operations, by operation.
        data: What to draw them on.
        out: The picture to write.
        num_images: Rows.
        draws: Columns a family.
        crop_size: Side of the views, in pixels.
        canvas: ``whole`` keeps all of an image, ``centre`` its centre square; in training, ``invariance.canvas``.
        canvas_size: Side of the canvas; default: as in training.
        seed: Of the draws.
    """

    show: FamilyChoice = field(default=None, metadata=chosen_from(plugins="families"))
    operations: dict[str, Any] = field(default_factory=dict)
    data: SheetDataConfig = field(default_factory=SheetDataConfig)
    out: FilePath | None = None
    num_images: int = 6
    draws: int = 4
    crop_size: int = 128
    canvas: CanvasName = CanvasName.whole
    canvas_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "num_images", "draws")
        require_sides(self, "crop_size", "canvas_size")
