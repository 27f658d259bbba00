"""``invariance.transfer`` of a run: on which tasks it is scored while it trains, and how."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from solo_invariance.config.checks import Checked, require_positive, require_workers
from solo_invariance.config.kinds import chosen_from
from solo_invariance.config.task import TaskConfig
from solo_invariance.config.transfer import METRICS, FewShotConfig, KNNConfig, ProbeName
from solo_invariance.errors import UserError, none_of

PROBES = ("auto", *ProbeName.__members__)
"""What may be trained on frozen features; ``auto`` is the task's usual one."""

WATCH_TRANSFER = "invariance.transfer"
"""Where a run's configuration has it."""


@dataclass
class WatchedTaskConfig(TaskConfig):
    """A task of ``invariance.transfer.tasks``, with its own probe and metric if it says so."""

    probe: str | None = field(default=None, metadata=chosen_from(*PROBES))
    metric: str | None = field(default=None, metadata=chosen_from(*METRICS))


@dataclass
class WatchTransferConfig(Checked):
    """``invariance.transfer`` of a run; see ``plugin_configs/invariance/transfer.yaml``.

    Args:
        every: Epochs between scores; the last epoch is always scored.
        tasks: Names, or mappings with a name, the task's keys, and ``probe`` and ``metric``.
        probe: What is trained on the frozen features; ``auto`` is the task's usual one.
        metric: Of the score; by default the task's usual one.
        num_images: Images of each split at most, None for all.
        folds: Of the cross-validation that chooses what a probe leaves open.
        knn: How nearest neighbours vote.
        few_shot: What an episode is.
        batch_size: Images in one forward pass, None for what suits the device.
        num_workers: Threads that read images, once.
        seed: Of folds and episodes.
    """

    section: ClassVar[str] = f"{WATCH_TRANSFER}."

    every: int = 5
    tasks: Annotated[Any, list[str | WatchedTaskConfig]] = field(
        default_factory=lambda: ["shape", "hue"], metadata=chosen_from(plugins="tasks")
    )
    probe: str = field(default="auto", metadata=chosen_from(*PROBES))
    metric: str | None = field(default=None, metadata=chosen_from(*METRICS))
    num_images: int | None = 1000
    folds: int = 5
    knn: KNNConfig = field(default_factory=KNNConfig)
    few_shot: FewShotConfig = field(default_factory=FewShotConfig)
    batch_size: int | None = None
    num_workers: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "every", "batch_size", prefix=self.section)
        require_workers(self, prefix=self.section)
        for key, least in (("num_images", 2), ("folds", 2)):
            value = getattr(self, key)
            if value is not None and value < least:
                raise UserError(f"{self.section}{key}={value}: expected at least {least}")
        for key, known in (("probe", PROBES), ("metric", METRICS)):
            value = getattr(self, key)
            if value is not None and value not in known:
                raise UserError(f"{self.section}{key}={value}: there is none{none_of(value, known)}")
        if not isinstance(self.tasks, list) or not self.tasks:
            raise UserError(f"{self.section}tasks={self.tasks}: expected a list, such as [shape,hue]")
