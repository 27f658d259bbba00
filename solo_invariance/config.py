"""The schema of every command's configuration: what may be set, of which type. Imports nothing heavy."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from solo_invariance.errors import UserError


class ProtocolName(Enum):
    """``paper`` follows the paper to the letter, quirks included; ``clean`` repairs the quirks."""

    paper = "paper"
    clean = "clean"


class Budget(Enum):
    """How much to measure; ``full`` is every image at every parameter, ``adaptive`` as little as is precise enough."""

    full = "full"
    adaptive = "adaptive"


class PrecisionName(Enum):
    """In which type the forward passes compute; ``bf16`` and ``fp16`` where autocast thinks them safe."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class OnError(Enum):
    """What to do about an image that cannot be read."""

    stop = "stop"
    skip = "skip"


class ViewKind(Enum):
    """What changes between views: where the pixels are, or their values."""

    spatial = "spatial"
    appearance = "appearance"


class ProbeName(Enum):
    """What is trained on frozen features."""

    ridge = "ridge"
    logistic = "logistic"
    kernel_ridge = "kernel_ridge"
    knn = "knn"
    few_shot = "few_shot"


@dataclass
class BackboneConfig:
    """Which backbone.

    Args:
        checkpoint: A host or fused checkpoint, one of MoCo's own code, or a bare state dict (then ``name`` is needed).
        name: ``timm:NAME``, ``torchvision:NAME``, ``random:NAME``, or the architecture of a checkpoint without
            ``args.json``; it overrides that and the ``arch`` of MoCo's checkpoints.
        kwargs: Further arguments for building the network.
        layer: A layer to take the features from, averaged over positions, or a list of layers, whose features are put
            side by side; the network's output by default.
        crop_size: Side of the input in pixels, where the checkpoint does not say it.
        label: The name in tables and reports.
    """

    checkpoint: str | None = None
    name: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    layer: Any = None
    crop_size: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.layer is None:
            return
        layers = self.layer if isinstance(self.layer, list) else [self.layer]
        if not layers or not all(isinstance(layer, str) and layer for layer in layers):
            raise UserError(
                f"backbone.layer={self.layer!r}: expected a layer's name or a list of names, such as [layer3,layer4] "
                f"(a name that is a number wants quotes: '\"0\"')"
            )
        if len(set(layers)) < len(layers):
            twice = next(layer for layer in layers if layers.count(layer) > 1)
            raise UserError(f"backbone.layer={self.layer!r}: names {twice} twice")


@dataclass
class DataConfig:
    """Which images to measure on: a folder, a view set by name in a folder, or the embedded dataset by name."""

    path: str | None = None
    name: str | None = None
    kind: ViewKind | None = None
    num_images: int = 2000
    size: int = 64
    seed: int = 1
    num_groups: int = 64
    num_views: int = 8


@dataclass
class ReferenceConfig:
    """The images of the features' mean and covariance; those of ``data`` by default."""

    path: str | None = None


@dataclass
class MeasureConfig:
    """``solo-invariance measure``."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: DataConfig = field(default_factory=DataConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    twin: bool = False
    transforms: Any = None
    views: list[str] | None = None
    metrics: Any = field(default_factory=lambda: ["similarity", "distance"])
    protocol: ProtocolName = ProtocolName.clean
    budget: Budget = Budget.full
    target_se: float = 0.002
    k: int = 256
    num_images: int | None = None
    gallery: int = 1000
    resize: int | None = None
    crop_size: int | None = None
    precision: PrecisionName = PrecisionName.fp32
    compile: bool = False
    seed: int = 0
    on_error: OnError = OnError.stop
    max_unreadable: float = 0.01
    device: str = "auto"
    devices: int = 1
    batch_size: int | None = None
    num_workers: int = 4
    against: str | None = None
    out: str = "runs/measure"

    def __post_init__(self) -> None:
        require_at_least(2, self, "num_images")  # or there is no interval
        require_positive(self, "k", "gallery", "batch_size", "resize", "crop_size", "devices")
        require_positive(self.backbone, "crop_size", prefix="backbone.")
        require_positive(self.data, "num_images", "num_groups", prefix="data.")
        require_at_least(16, self.data, "size", prefix="data.")
        require_at_least(2, self.data, "num_views", prefix="data.")
        require_at_least(0, self, "seed", "num_workers")
        require_at_least(0, self.data, "seed", prefix="data.")
        if self.target_se <= 0:
            raise UserError(f"target_se={self.target_se}: expected a positive number")
        if not 0 <= self.max_unreadable <= 1:
            raise UserError(f"max_unreadable={self.max_unreadable}: expected a share, 0 to 1")


@dataclass
class TaskConfig:
    """Which task, and where it finds its images.

    Args:
        name: Of the task.
        path: The dataset's folder, or the images' where the targets are in a table.
        download: Whether a dataset that is not there may be fetched.
        num_train: Images to train on; default: all, or 2000 rendered ones.
        num_test: Images to test on; default: all, or 1000 rendered ones.
        size: Side of rendered images, in pixels.
        seed: Of rendered images, and of splits and draws that a dataset does not come with.
        options: Further keys of the task's own, such as a table's columns.
        label: The name in tables, reports and folders; default: the task's.
    """

    name: str | None = "shape"
    path: str | None = None
    download: bool = False
    num_train: int | None = None
    num_test: int | None = None
    size: int = 64
    seed: int = 2
    options: dict[str, Any] = field(default_factory=dict)
    label: str | None = None

    def __post_init__(self) -> None:
        require_at_least(2, self, "num_train", "num_test", prefix="task.")
        require_at_least(16, self, "size", prefix="task.")
        require_at_least(0, self, "seed", prefix="task.")


@dataclass
class FusionReferenceConfig:
    """The images that a fusion is fitted to, where it is not fitted to a task's training images.

    Args:
        path: A folder of images.
        name: ``latent_scenes``, the embedded dataset, in place of a folder.
        num_images: How many of them; the first ones by path.
    """

    path: str | None = None
    name: str | None = None
    num_images: int = 5000

    def __post_init__(self) -> None:
        require_at_least(2, self, "num_images", prefix="reference.")


@dataclass
class FuseConfig:
    """``solo-invariance fuse``."""

    members: Any = field(default_factory=list)
    mode: str = "concat"
    width: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    reference: FusionReferenceConfig = field(default_factory=FusionReferenceConfig)
    task: TaskConfig = field(default_factory=lambda: TaskConfig(name=None))
    max_members: int | None = None
    folds: int = 5
    seed: int = 0
    measured: list[str] = field(default_factory=list)
    device: str = "auto"
    batch_size: int | None = None
    num_workers: int = 4
    cache: bool = True
    export: str | None = None
    out: str = "fused.ckpt"

    def __post_init__(self) -> None:
        if not isinstance(self.members, list):
            raise UserError(f"members={self.members}: expected a list, members=[a.ckpt,b.ckpt]")
        require_positive(self, "width", "max_members", "batch_size")
        require_at_least(0, self, "seed", "num_workers")
        require_at_least(2, self, "folds")


@dataclass
class KNNConfig:
    """Weighted nearest neighbours: how many (default: chosen by cross-validation), and the weights' temperature."""

    k: int | None = None
    temperature: float = 0.07

    def __post_init__(self) -> None:
        require_positive(self, "k", prefix="knn.")
        if self.temperature <= 0:
            raise UserError(f"knn.temperature={self.temperature}: expected a positive number")


@dataclass
class FewShotConfig:
    """Few-shot episodes: classes in each, labelled images and queries of each class, and how many episodes."""

    ways: int = 5
    shots: int = 5
    queries: int = 15
    episodes: int = 600

    def __post_init__(self) -> None:
        require_at_least(2, self, "ways", "episodes", prefix="few_shot.")
        require_positive(self, "shots", "queries", prefix="few_shot.")


@dataclass
class TransferConfig:
    """``solo-invariance transfer``."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    tasks: Any = None
    probe: ProbeName | None = None
    metric: str | None = None
    knn: KNNConfig = field(default_factory=KNNConfig)
    few_shot: FewShotConfig = field(default_factory=FewShotConfig)
    protocol: ProtocolName = ProtocolName.clean
    folds: int = 5
    seed: int = 0
    against: str | None = None
    device: str = "auto"
    devices: int = 1
    batch_size: int | None = None
    num_workers: int = 4
    cache: bool = True
    out: str = "runs/transfer"

    def __post_init__(self) -> None:
        require_positive(self, "batch_size", "devices")
        require_positive(self.backbone, "crop_size", prefix="backbone.")
        require_at_least(0, self, "seed", "num_workers")
        if self.folds < 2:
            raise UserError(f"folds={self.folds}: cross-validation needs at least 2")


@dataclass
class ReportConfig:
    """``solo-invariance report``."""

    runs: list[str] = field(default_factory=lambda: ["runs"])
    out: str = "report.html"


@dataclass
class SheetDataConfig:
    """The images of a contact sheet: a folder, or the embedded data without one."""

    path: str | None = None


@dataclass
class FamiliesConfig:
    """``solo-invariance families``.

    Args:
        show: The families to print or draw, all of them by default; a list in the list is composed.
        operations: Other numbers for their operations, by operation.
        data: What to draw them on.
        out: The picture to write.
        num_images: Rows.
        draws: Columns a family.
        crop_size: Side of the views, in pixels.
        canvas_size: Side of the canvas; default: as in training.
        seed: Of the draws.
    """

    show: Any = None
    operations: dict[str, Any] = field(default_factory=dict)
    data: SheetDataConfig = field(default_factory=SheetDataConfig)
    out: str | None = None
    num_images: int = 6
    draws: int = 4
    crop_size: int = 128
    canvas_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive(self, "num_images", "draws", "crop_size", "canvas_size")
        require_at_least(0, self, "seed")


@dataclass
class DoctorConfig:
    """``solo-invariance doctor``."""


@dataclass
class PretrainBackboneConfig:
    """The backbone to train."""

    name: str = "resnet10"
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class PretrainDataConfig:
    """The images to train on, in solo-learn's keys; the last three are for ``dataset: latent_scenes``."""

    dataset: str = "latent_scenes"
    train_path: str | None = None
    val_path: str | None = None
    format: str = "image_folder"
    no_labels: bool = False
    num_workers: int = 0
    num_images: int = 4000
    size: int = 64
    seed: int = 0


@dataclass
class OptimizerConfig:
    """The optimiser; the learning rate is for a batch of 256 and scales with the batch, as solo-learn's does."""

    name: str = "sgd"
    batch_size: int = 256
    lr: float = 0.3
    classifier_lr: float = 0.3
    weight_decay: float = 1e-4
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class SchedulerConfig:
    """The learning rate's schedule."""

    name: str = "warmup_cosine"
    warmup_epochs: float = 10
    warmup_start_lr: float = 3e-5
    min_lr: float = 0.0


@dataclass
class MomentumConfig:
    """The momentum encoder's, rising from the first to the last along a cosine."""

    base_tau: float = 0.99
    final_tau: float = 0.999


@dataclass
class CheckpointConfig:
    """Where checkpoints go and how often."""

    enabled: bool = True
    dir: str = "trained_models"
    frequency: int = 1
    keep_prev: bool = False


@dataclass
class AutoResumeConfig:
    """Whether an interrupted run of the same configuration goes on."""

    enabled: bool = True


@dataclass
class InvarianceConfig:
    """Our own keys in a run's configuration."""

    family: Any = None
    views: Any = None
    operations: dict[str, Any] = field(default_factory=dict)
    crop_size: int | None = None
    small_crop_size: int | None = None
    canvas_size: int | None = None
    monitor: Any = None


@dataclass
class PretrainConfig:
    """``solo-invariance pretrain``: solo-learn's schema, as far as the embedded host goes."""

    name: str = "mocov2plus"
    method: str = "mocov2plus"
    backbone: PretrainBackboneConfig = field(default_factory=PretrainBackboneConfig)
    method_kwargs: dict[str, Any] = field(default_factory=dict)
    momentum: MomentumConfig = field(default_factory=MomentumConfig)
    data: PretrainDataConfig = field(default_factory=PretrainDataConfig)
    augmentations: list[Any] = field(default_factory=list)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    auto_resume: AutoResumeConfig = field(default_factory=AutoResumeConfig)
    invariance: InvarianceConfig = field(default_factory=InvarianceConfig)
    max_epochs: int = 100
    accelerator: str = "auto"
    devices: Any = 1
    precision: Any = "32-true"
    seed: int = 5

    def __post_init__(self) -> None:
        require_positive(self, "max_epochs")
        require_at_least(0, self, "seed")
        require_positive(self.data, "num_images", prefix="data.")
        require_at_least(16, self.data, "size", prefix="data.")
        require_at_least(0, self.data, "seed", "num_workers", prefix="data.")
        require_positive(self.optimizer, "batch_size", prefix="optimizer.")
        require_at_least(0, self.optimizer, "weight_decay", prefix="optimizer.")
        require_positive(self.checkpoint, "frequency", prefix="checkpoint.")
        require_positive(self.invariance, "crop_size", "canvas_size", prefix="invariance.")
        if not self.name or "/" in self.name:
            raise UserError(f"name={self.name!r}: names the checkpoints, and so is not empty and has no /")
        if self.optimizer.lr <= 0:
            raise UserError(f"optimizer.lr={self.optimizer.lr}: expected a positive number")
        if not self.checkpoint.enabled:
            raise UserError("checkpoint.enabled=false: the embedded host trains for the sake of its checkpoint")
        if self.scheduler.name not in ("warmup_cosine", "none"):
            raise UserError(f"scheduler.name={self.scheduler.name}: choose from warmup_cosine, none")
        for key in ("base_tau", "final_tau"):
            if not 0 <= getattr(self.momentum, key) <= 1:
                raise UserError(f"momentum.{key}={getattr(self.momentum, key)}: lies in [0, 1]")


@dataclass
class DemoConfig:
    """``solo-invariance demo``: the sizes of the whole story on the embedded data."""

    out: str = "runs/demo"
    families: list[str] = field(default_factory=lambda: ["default", "ventral", "dorsal"])
    max_epochs: int = 12
    num_images: int = 4000
    k: int = 16
    measure_images: int = 200
    train_images: int = 2000
    test_images: int = 1000
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        require_positive(self, "max_epochs", "num_images", "k", "measure_images", "train_images", "test_images")


def require_positive(config: object, *keys: str, prefix: str = "") -> None:
    """Raise UserError unless each key that is set is at least 1."""
    require_at_least(1, config, *keys, prefix=prefix)


def require_at_least(least: int, config: object, *keys: str, prefix: str = "") -> None:
    """Raise UserError unless each key that is set is at least ``least``."""
    for key in keys:
        value = getattr(config, key)
        if value is not None and value < least:
            raise UserError(f"{prefix}{key}={value}: expected at least {least}")
