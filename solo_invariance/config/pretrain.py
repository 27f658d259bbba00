"""The keys of ``solo-invariance pretrain``."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from solo_invariance.config.checks import Checked, require_at_least, require_positive, require_sides, require_workers
from solo_invariance.config.kinds import FamilyChoice, FilePath, MonitorKeys, Names, chosen_from, in_words
from solo_invariance.config.watch_transfer import WatchTransferConfig
from solo_invariance.errors import UserError, did_you_mean

METHODS = ("mocov2", "mocov2plus", "simclr")
"""What the embedded host trains by."""

OPTIMIZERS = ("sgd", "adam", "adamw")
"""What takes the steps."""

SCHEDULES = ("warmup_cosine", "none")
"""How the learning rate goes."""

INTERVALS = ("step", "epoch")
"""After what the learning rate changes."""

MODES = ("max", "min")
"""Which value of a number is best."""

DATASETS = ("latent_scenes", "custom", "cifar10", "cifar100", "stl10")
"""What the embedded host reads; ``custom`` is a folder of one's own."""


@dataclass
class PretrainBackboneConfig(Checked):
    """The backbone to train."""

    section: ClassVar[str] = "backbone."

    name: str = "resnet10w025"
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class PretrainDataConfig(Checked):
    """The images to train on, in solo-learn's keys; the last three are for ``dataset: latent_scenes``."""

    section: ClassVar[str] = "data."

    dataset: str = field(default="latent_scenes", metadata=chosen_from(*DATASETS))
    train_path: FilePath | None = None
    val_path: FilePath | None = None
    format: str = "image_folder"
    no_labels: bool = False
    num_workers: int = 0
    num_images: int = 4000
    size: int = 64
    seed: int = 0


@dataclass
class OptimizerConfig(Checked):
    """The optimiser; the learning rate is for a batch of 256 and scales with the batch, as solo-learn's does.

    Where it and the weight decay are left open, they are the optimiser's usual ones.
    """

    section: ClassVar[str] = "optimizer."

    name: str = field(default="sgd", metadata=chosen_from(*OPTIMIZERS))
    batch_size: int = 128
    lr: float | None = None
    classifier_lr: float = 0.3
    weight_decay: float | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class SchedulerConfig(Checked):
    """The learning rate's schedule; ``interval`` is step or epoch, after each of which it changes."""

    section: ClassVar[str] = "scheduler."

    name: str = field(default="warmup_cosine", metadata=chosen_from(*SCHEDULES))
    warmup_epochs: float = 1
    warmup_start_lr: float = 3e-5
    min_lr: float = 0.0
    interval: str = field(default="step", metadata=chosen_from(*INTERVALS))


@dataclass
class MomentumConfig(Checked):
    """The momentum encoder's, rising from the first to the last along a cosine."""

    section: ClassVar[str] = "momentum."

    base_tau: float = 0.99
    final_tau: float = 0.999


@dataclass
class CheckpointConfig(Checked):
    """Where checkpoints go and how often; by ``monitor``, a logged number, the best one is kept beside the last."""

    section: ClassVar[str] = "checkpoint."

    enabled: bool = True
    dir: FilePath = "trained_models"
    frequency: int = 1
    keep_prev: bool = False
    monitor: str | None = None
    mode: str = field(default="max", metadata=chosen_from(*MODES))


@dataclass
class AutoResumeConfig(Checked):
    """Whether an interrupted run of the same configuration goes on."""

    enabled: bool = True


@dataclass
class InvarianceConfig(Checked):
    """Our own keys in a run's configuration."""

    section: ClassVar[str] = "invariance."

    family: FamilyChoice = field(default=None, metadata=chosen_from(plugins="families"))
    views: FamilyChoice = field(default=None, metadata=chosen_from(plugins="families"))
    operations: dict[str, Any] = field(default_factory=dict)
    crop_size: int | None = None
    small_crop_size: int | None = None
    canvas: str | None = field(default=None, metadata=chosen_from("whole", "centre"))
    canvas_size: int | None = None
    sensitive: Names = None
    sensitive_weight: float | None = None
    monitor: Annotated[Any, MonitorKeys | None] = None
    transfer: Annotated[Any, WatchTransferConfig | None] = None


@dataclass
class PretrainConfig(Checked):
    """``solo-invariance pretrain``: solo-learn's schema, as far as the embedded host goes."""

    name: str = "${method}-${data.dataset}"
    method: str = field(default="mocov2plus", metadata=chosen_from(*METHODS))
    backbone: PretrainBackboneConfig = field(default_factory=PretrainBackboneConfig)
    method_kwargs: dict[str, Any] = field(default_factory=dict)
    momentum: MomentumConfig = field(default_factory=MomentumConfig)
    data: PretrainDataConfig = field(default_factory=PretrainDataConfig)
    augmentations: Annotated[list[Any], Any] = field(default_factory=list)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    auto_resume: AutoResumeConfig = field(default_factory=AutoResumeConfig)
    invariance: InvarianceConfig = field(default_factory=InvarianceConfig)
    max_epochs: int = 20
    accelerator: str = "auto"
    devices: Any = field(default=1, metadata=in_words("whole number"))
    precision: Any = field(default="32-true", metadata=in_words("text"))
    seed: int = 5
    objective: Names = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "max_epochs")
        require_positive(self.data, "num_images", prefix="data.")
        require_sides(self.data, "size", least=16, prefix="data.")
        require_workers(self.data, prefix="data.")
        require_positive(self.optimizer, "batch_size", prefix="optimizer.")
        require_at_least(0, self.optimizer, "weight_decay", prefix="optimizer.")
        require_positive(self.checkpoint, "frequency", prefix="checkpoint.")
        require_sides(self.invariance, "crop_size", "small_crop_size", "canvas_size", prefix="invariance.")
        if self.method not in METHODS:
            raise UserError(
                f"method={self.method}: the embedded host has {', '.join(METHODS)}; solo-learn has the others"
            )
        for key, value, known in (
            ("optimizer.name", self.optimizer.name, OPTIMIZERS),
            ("scheduler.name", self.scheduler.name, SCHEDULES),
            ("scheduler.interval", self.scheduler.interval, INTERVALS),
            ("data.dataset", self.data.dataset, DATASETS),
            ("checkpoint.mode", self.checkpoint.mode, MODES),
        ):
            if value not in known:
                raise UserError(f"{key}={value}: choose from {', '.join(known)}{did_you_mean(value, known)}")
        if self.data.dataset != "latent_scenes" and self.data.train_path is None:
            raise UserError(f"data.train_path is missing: data.dataset={self.data.dataset} is read from a folder")
        if "/" in self.name:
            raise UserError(f"name={self.name!r}: names the checkpoints, and so has no /")
        if self.optimizer.lr is not None and not self.optimizer.lr > 0:
            raise UserError(f"optimizer.lr={self.optimizer.lr}: expected a positive number")
        if not self.checkpoint.enabled:
            raise UserError("checkpoint.enabled=false: the embedded host trains for the sake of its checkpoint")
        for key in ("base_tau", "final_tau"):
            if not 0 <= getattr(self.momentum, key) <= 1:
                raise UserError(f"momentum.{key}={getattr(self.momentum, key)}: lies in [0, 1]")
