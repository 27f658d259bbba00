"""The keys of ``solo-invariance shape``."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.checks import Checked, require_at_least, require_positive, require_workers
from solo_invariance.config.kinds import FilePath, Names, chosen_from
from solo_invariance.config.measure import DataConfig, ReferenceConfig, require_data
from solo_invariance.config.task import TaskConfig
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
    page: FilePath | None = None
    data: DataConfig = field(default_factory=DataConfig)
    measured: Names = field(default="all", metadata=chosen_from("all", plugins="transforms"))
    num_images: int = 256
    tasks: Annotated[Any, list[str | TaskConfig] | None] = field(default=None, metadata=chosen_from(plugins="tasks"))
    strengths: list[float] = field(default_factory=lambda: [0.0, 0.25, 0.5, 0.75, 1.0])

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(2, self, "k")
        require_positive(self, "batch_size")
        require_workers(self)
        require_positive(self, "num_images")
        if self.page is not None:
            require_data(self.data)
        elif self.data != DataConfig() or self.tasks:
            raise UserError("data and tasks are for the page: page=FOLDER")
        if any(not 0 <= one <= 1 for one in self.strengths):
            raise UserError(f"strengths={self.strengths}: expected numbers from 0 to 1")
        if not 0 < self.held_out < 1:
            raise UserError(f"held_out={self.held_out}: expected a share of the images, between 0 and 1")
