"""The keys of ``solo-invariance fuse``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from solo_invariance.config.backbone import BackboneConfig, config_of
from solo_invariance.config.checks import Checked, require_at_least, require_positive, require_workers
from solo_invariance.config.export import require_format
from solo_invariance.config.kinds import FilePath, Names, chosen_from
from solo_invariance.config.measure import EMBEDDED
from solo_invariance.config.task import TaskConfig
from solo_invariance.errors import UserError


@dataclass
class FusionReferenceConfig(Checked):
    """The images that a fusion is fitted to, where it is not fitted to a task's training images.

    Args:
        path: A folder of images.
        name: ``latent_scenes``, the embedded dataset, in place of a folder.
        num_images: How many of them; the first ones by path.
    """

    section: ClassVar[str] = "reference."

    path: FilePath | None = None
    name: str | None = field(default=None, metadata=chosen_from(EMBEDDED))
    num_images: int = 5000

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(2, self, "num_images", prefix=self.section)


def require_members(members: Sequence[Any]) -> None:
    """Raise UserError where there is nothing to fuse."""
    if not members:
        raise UserError("members: name the checkpoints to fuse, members=[a.ckpt,b.ckpt]")


def in_keys_of_members(error: UserError, member: Any) -> UserError:
    """Return an error about a backbone in the keys that ``members`` has, where those of ``backbone`` are unknown.

    Args:
        error: What loading the member says.
        member: As it was named.
    """
    without_name = re.sub(r"\bbackbone\.name=(?=[\w.]+:)", "", str(error))
    message = re.sub(r"\bbackbone\.(?=[a-z])", "", without_name)
    if message == without_name:
        return error if message == str(error) else UserError(f"members: {message}")
    if isinstance(member, str) and config_of(member).name is not None:
        return UserError(
            f"members: {message.rstrip('.')}; a member's keys go with it, members=[{{name: {member}, KEY: VALUE}}]"
        )
    keys = f"checkpoint: {member}" if isinstance(member, str | Path) else "checkpoint: FILE"
    return UserError(f"members: {message.rstrip('.')}; a member's keys go with it, members=[{{{keys}, name: NAME}}]")


@dataclass
class FuseConfig(Checked):
    """``solo-invariance fuse``."""

    members: Annotated[Any, list[FilePath | BackboneConfig]] = field(default_factory=list)
    mode: str = field(default="concat", metadata=chosen_from("auto", plugins="fusions"))
    width: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    reference: FusionReferenceConfig = field(default_factory=FusionReferenceConfig)
    task: TaskConfig = field(default_factory=lambda: TaskConfig(name=None))
    max_members: int | None = None
    folds: int = 5
    seed: int = 0
    measured: list[FilePath] = field(default_factory=list)
    device: str = "auto"
    batch_size: int | None = None
    num_workers: int = 4
    cache: bool = True
    export: FilePath | None = None
    objective: Names = None
    out: FilePath = "fused.ckpt"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.members, list):
            raise UserError(f"members={self.members}: expected a list, members=[a.ckpt,b.ckpt]")
        require_positive(self, "width", "max_members", "batch_size")
        require_workers(self)
        require_at_least(2, self, "folds")
        if self.export is not None:
            require_format(self.export, "export")
