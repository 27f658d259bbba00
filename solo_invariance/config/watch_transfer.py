"""``invariance.transfer`` of a run: on which tasks it is scored while it trains, and how."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_invariance.config.checks import Checked, require_positive, require_workers
from solo_invariance.config.composed import as_object, literal
from solo_invariance.config.kinds import chosen_from
from solo_invariance.config.task import TaskConfig, task_from
from solo_invariance.config.transfer import METRICS, FewShotConfig, KNNConfig, ProbeName
from solo_invariance.errors import UserError, did_you_mean, none_of, reason_of

PROBES = ("auto", *ProbeName.__members__)
"""What may be trained on frozen features; ``auto`` is the task's usual one."""

_SECTION = "invariance.transfer"


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

    section: ClassVar[str] = f"{_SECTION}."

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

    @classmethod
    def from_mapping(cls, values: Any) -> "WatchTransferConfig":
        """Return what a run's configuration says.

        Raises:
            UserError: It is no mapping, a key is unknown, or a value is not what it should be; the message names it.
        """
        if not isinstance(values, Mapping):
            raise UserError(f"{_SECTION}={values}: expected keys and values; +{_SECTION.replace('.', '=')} has them")
        known = cls.__dataclass_fields__
        for key in values:
            if key not in known:
                hint = did_you_mean(str(key), known) or f"; there are {', '.join(known)}"
                raise UserError(f"{_SECTION}.{key}: there is no such key{hint}")
        try:
            return as_object(OmegaConf.merge(OmegaConf.structured(cls), literal(dict(values))), cls)
        except OmegaConfBaseException as error:
            key = getattr(error, "full_key", None) or ""
            raise UserError(f"{_SECTION}.{key}: {reason_of(error)}") from error


def watched_task(entry: Any) -> tuple[TaskConfig, str | None, str | None]:
    """Return a task of ``invariance.transfer.tasks``, with its own probe and metric, None where it has none.

    Raises:
        UserError: It is neither a name nor a mapping with a name, or a key or value of it is wrong.
    """
    own: dict[str, Any] = {}
    if isinstance(entry, dict):
        own = {key: entry[key] for key in ("probe", "metric") if entry.get(key) is not None}
        for key, known in (("probe", PROBES), ("metric", METRICS)):
            if key in own and own[key] not in known:
                there = none_of(str(own[key]), known)
                raise UserError(f"tasks: {entry.get('name')}: {key}={own[key]}: there is none{there}")
        entry = {key: value for key, value in entry.items() if key not in ("probe", "metric")}
    return task_from(entry), own.get("probe"), own.get("metric")
