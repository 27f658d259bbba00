"""The keys of ``solo-invariance advise``."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.checks import Checked, require_at_least, require_positive, require_workers
from solo_invariance.config.kinds import FamilyChoice, FilePath, Names, chosen_from
from solo_invariance.config.task import TaskConfig
from solo_invariance.errors import UserError

FAMILIES = ("default", "ventral", "dorsal", "identity")
"""Those that are ranked by default: the paper's, and no augmentation."""

FEWEST_IMAGES = 40
"""Of each split: of fewer, nothing could be told apart."""

LEAST_SIDE = 32
"""Of what untrained filters see of an image, in pixels: at the coarsest of their scales they need room."""


@dataclass
class AdviseConfig(Checked):
    """``solo-invariance advise``."""

    task: TaskConfig = field(default_factory=TaskConfig)
    num_images: int = 2000
    families: FamilyChoice = field(default_factory=lambda: [*FAMILIES], metadata=chosen_from(plugins="families"))
    transforms: Names = field(default="all", metadata=chosen_from("all", plugins="transforms"))
    k: int = 4
    tolerance: float = 0.25
    smallest: float = 0.05
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    runs: list[FilePath] = field(default_factory=list)
    backbones: Annotated[Any, list[FilePath | BackboneConfig]] = field(default_factory=list)
    seed: int = 0
    device: str = "auto"
    batch_size: int | None = None
    num_workers: int = 4
    cache: bool = True
    out: FilePath = "runs/advise"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_several(self.families)
        require_at_least(FEWEST_IMAGES, self, "num_images")
        require_at_least(2, self, "k")
        require_parts(self, "tolerance", "smallest")
        require_positive(self, "batch_size")
        require_workers(self)
        if not isinstance(self.backbones, list):
            raise UserError(f"backbones={self.backbones}: expected a list, backbones=[a.ckpt,b.ckpt]")
        if not self.reads_a_backbone:
            size = self.backbone.crop_size
            if size is not None and size < LEAST_SIDE:
                raise UserError(f"backbone.crop_size={size}: untrained filters need at least {LEAST_SIDE} pixels")
            for key in ("kwargs", "layer", "pool", "mean", "std", "interpolation", "label"):
                if getattr(self.backbone, key):
                    raise UserError(
                        f"backbone.{key}: is of a backbone; name it, too: backbone.checkpoint or backbone.name"
                    )

    @property
    def reads_a_backbone(self) -> bool:
        """Whether features are a backbone's, and not of untrained filters."""
        return self.backbone.checkpoint is not None or self.backbone.name is not None


def require_several(families: Any) -> None:
    """Raise UserError unless there are at least two families to choose from."""
    if isinstance(families, str) or not isinstance(families, list | tuple) or len(families) < 2:
        raise UserError(
            f"families={families}: expected at least two to choose from, 'families=[default,ventral,identity]'"
        )


def require_parts(config: object, *keys: str) -> None:
    """Raise UserError unless each key is a part of a score, from 0 to below 1."""
    for key in keys:
        value = getattr(config, key)
        if not 0 <= value < 1:
            raise UserError(f"{key}={value}: expected a part of the score, from 0 to below 1")
