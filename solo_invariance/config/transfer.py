"""The keys of ``solo-invariance transfer``."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, ClassVar

from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.checks import Checked, require_at_least, require_positive, require_workers
from solo_invariance.config.kinds import FilePath, Names, chosen_from
from solo_invariance.config.protocol import ProtocolName
from solo_invariance.config.task import TaskConfig
from solo_invariance.errors import UserError, did_you_mean

METRICS = ("accuracy", "mean_per_class_accuracy", "r2", "mean_average_precision")
"""How a task may be scored."""


class ProbeName(Enum):
    """What is trained on frozen features."""

    ridge = "ridge"
    logistic = "logistic"
    kernel_ridge = "kernel_ridge"
    knn = "knn"
    few_shot = "few_shot"


class SolverName(Enum):
    """How logistic regression is fitted: as the paper's official code does, or until it has converged."""

    official = "official"
    converged = "converged"


@dataclass
class ProbeConfig:
    """What is trained on frozen features, by default what the task is usually scored by.

    ``solver`` is of logistic regression; by default ``official`` with ``protocol=paper``, and ``converged`` otherwise.
    """

    named_by: ClassVar[str] = "name"

    name: ProbeName | None = None
    solver: SolverName | None = None


@dataclass
class KNNConfig(Checked):
    """Weighted nearest neighbours: how many (default: chosen by cross-validation), and the weights' temperature."""

    section: ClassVar[str] = "knn."

    k: int | None = None
    temperature: float = 0.07

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "k", prefix=self.section)
        if self.temperature <= 0:
            raise UserError(f"knn.temperature={self.temperature}: expected a positive number")


@dataclass
class FewShotConfig(Checked):
    """Few-shot episodes: classes in each, labelled images and queries of each class, and how many episodes."""

    section: ClassVar[str] = "few_shot."

    ways: int = 5
    shots: int = 5
    queries: int = 15
    episodes: int = 600

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(2, self, "ways", "episodes", prefix="few_shot.")
        require_positive(self, "shots", "queries", prefix="few_shot.")


@dataclass
class TransferConfig(Checked):
    """``solo-invariance transfer``."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    tasks: Annotated[Any, list[str | TaskConfig] | None] = field(default=None, metadata=chosen_from(plugins="tasks"))
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    metric: str | None = field(default=None, metadata=chosen_from(*METRICS))
    knn: KNNConfig = field(default_factory=KNNConfig)
    few_shot: FewShotConfig = field(default_factory=FewShotConfig)
    protocol: ProtocolName = ProtocolName.clean
    folds: int = 5
    seed: int = 0
    against: FilePath | None = None
    device: str = "auto"
    devices: int = 1
    batch_size: int | None = None
    num_workers: int = 4
    cache: bool = True
    objective: Names = None
    out: FilePath = "runs/transfer"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "batch_size", "devices")
        require_workers(self)
        if self.metric is not None and self.metric not in METRICS:
            known = ", ".join(METRICS)
            raise UserError(f"metric={self.metric}: there is none{did_you_mean(self.metric, METRICS)}; known: {known}")
        if self.folds < 2:
            raise UserError(f"folds={self.folds}: cross-validation needs at least 2")
