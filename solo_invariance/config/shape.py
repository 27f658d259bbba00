"""The keys of ``solo-invariance shape``."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.checks import Checked, require_at_least, require_positive, require_workers
from solo_invariance.config.kinds import FilePath, Names, chosen_from
from solo_invariance.config.measure import ReferenceConfig
from solo_invariance.errors import UserError


@dataclass
class ColumnConfig(Checked):
    """A column of a table of images, which is to be ignored, or kept: a scanner, a site, a camera.

    Args:
        table: A CSV or NPZ file that names images below ``reference.path``, or has their pixels.
        name: Of the column.
    """

    section: ClassVar[str] = "column."

    table: FilePath | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.table is None) != (self.name is None):
            missing = "name" if self.name is None else "table"
            raise UserError(f"column.{missing} is not set: column.table=FILE column.name=NAME go together")


@dataclass
class ShapeConfig(Checked):
    """``solo-invariance shape``."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    mode: str = field(default="erase", metadata=chosen_from(plugins="shapers"))
    transforms: Names = field(default_factory=list, metadata=chosen_from("all", plugins="transforms"))
    column: ColumnConfig = field(default_factory=ColumnConfig)
    k: int = 8
    options: dict[str, Any] = field(default_factory=dict)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    held_out: float = 0.2
    seed: int = 0
    device: str = "auto"
    batch_size: int | None = None
    precision: str = field(default="fp32", metadata=chosen_from("fp32", "bf16", "fp16"))
    num_workers: int = 4
    out: FilePath = "shaped.ckpt"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(2, self, "k")
        require_positive(self, "batch_size")
        require_workers(self)
        if not 0 < self.held_out < 1:
            raise UserError(f"held_out={self.held_out}: expected a share of the images, between 0 and 1")
