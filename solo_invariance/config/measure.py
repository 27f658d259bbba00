"""The keys of ``solo-invariance measure``."""

from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.checks import Checked, require_at_least, require_positive, require_sides, require_workers
from solo_invariance.config.kinds import FilePath, Names, chosen_from
from solo_invariance.config.protocol import ProtocolName
from solo_invariance.errors import UserError, did_you_mean

EMBEDDED = "latent_scenes"
"""The data that need no files."""

EMBEDDED_VIEWS = ("pose", "light_direction", "light_hue")
"""The view sets that the embedded dataset renders."""

ALWAYS_MEASURED = ("similarity", "width_matched_similarity", "distance")
"""The metrics that are measured whatever is chosen."""

OF_FEATURES = ("rankme", "alpha_req")
"""Our metrics of the features as they are, of no change; a result has them as its health."""

KINDS = ("spatial", "appearance")
"""What transforms change: where the pixels are, or their values. Those of plugins may have other kinds."""

TRANSFORMS_EXAMPLE, METRICS_EXAMPLE = "[rotation,hue]", "[similarity,distance]"
"""What messages show of the lists that ``transforms`` and ``metrics`` are."""

VIEW_SETS = (
    "coil100",
    "aloi_viewpoint",
    "aloi_illumination",
    "aloi_temperature",
    "alot_viewpoint",
    "alot_illumination",
    "alot_temperature",
    "exposure_errors",
    "dali",
    "flickr1024",
    "realblur",
    "view_folders",
)
"""The view sets that are read from files."""


def no_view_set(name: str) -> UserError:
    """Return the error of a name that no view set has."""
    hint = did_you_mean(name, VIEW_SETS)
    return UserError(f"{name!r} is no view set; the view sets are {', '.join(VIEW_SETS)}{hint}")


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


@dataclass
class DataConfig(Checked):
    """Which images to measure on: a folder, a view set by name in a folder, or the embedded dataset by name."""

    section: ClassVar[str] = "data."

    path: FilePath | None = None
    name: str | None = field(default=None, metadata=chosen_from(EMBEDDED, *VIEW_SETS))
    kind: ViewKind | None = None
    num_images: int = 2000
    size: int = 64
    seed: int = 1
    num_groups: int = 64
    num_views: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "num_images", "num_groups", prefix=self.section)
        require_sides(self, "size", least=16, prefix=self.section)
        require_at_least(2, self, "num_views", prefix=self.section)


NOTHING_TO_MEASURE = "transforms and views are both empty: nothing to measure; metrics=[rankme] is of features alone"
"""What is said where nothing is asked for."""

_RENDERED = ("num_images", "size", "seed", "num_groups", "num_views")
"""Keys of ``data`` that say how much of the embedded dataset is rendered, and how."""


def require_data(data: DataConfig) -> None:
    """Raise UserError where neither a folder nor a name is given, or the name is none of the data that there are.

    Nor is there anything to say of rendering where nothing is rendered.
    """
    known = (EMBEDDED, *VIEW_SETS)
    if data.name is None and data.path is None:
        raise UserError(f"data: set data.path=FOLDER or data.name={EMBEDDED}")
    if data.name is not None and data.name not in known:
        choices = f"choose the embedded {EMBEDDED}, or a view set: {', '.join(VIEW_SETS)}"
        raise UserError(f"data.name={data.name}: {choices}{did_you_mean(data.name, known)}")
    said = next((key for key in _RENDERED if getattr(data, key) != getattr(DataConfig, key)), None)
    if data.name != EMBEDDED and said is not None:
        value = getattr(data, said)
        instead = f"; of a folder's, num_images={value} measures so many" if said == "num_images" else ""
        raise UserError(f"data.{said}={value}: is read with data.name={EMBEDDED} alone{instead}")


@dataclass
class ReferenceConfig(Checked):
    """The images of the features' mean and covariance.

    By default those of ``data``; of the embedded dataset, as many others.

    Args:
        path: A folder of images.
        name: ``latent_scenes``, the embedded dataset, in place of a folder.
        num_images: How many: of a folder, drawn by the run's seed; default: all, or 2000 rendered ones.
        size: Side of rendered images, in pixels.
        seed: Of rendered images; another than that of ``data``, so that what is measured is no part of them.
    """

    section: ClassVar[str] = "reference."

    path: FilePath | None = None
    name: str | None = field(default=None, metadata=chosen_from(EMBEDDED))
    num_images: int | None = None
    size: int = 64
    seed: int = 1_000_001

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(2, self, "num_images", prefix=self.section)
        require_sides(self, "size", least=16, prefix=self.section)
        if self.name not in (None, EMBEDDED):
            raise UserError(
                f"reference.name={self.name}: {EMBEDDED} is the only one; a folder is reference.path=FOLDER"
            )
        if self.path is not None and self.name is not None:
            raise UserError("reference.path and reference.name are both set: choose one")
        if self.path is None and self.name is None and self.num_images is not None:
            raise UserError(
                f"reference.num_images={self.num_images}: of what? Set reference.name={EMBEDDED}, or "
                f"reference.path=FOLDER"
            )
        said = next((key for key in ("size", "seed") if getattr(self, key) != getattr(ReferenceConfig, key)), None)
        if self.name is None and said is not None:
            raise UserError(f"reference.{said}={getattr(self, said)}: is read with reference.name={EMBEDDED} alone")


@dataclass
class MeasureConfig(Checked):
    """``solo-invariance measure``."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: DataConfig = field(default_factory=DataConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    twin: bool = False
    transforms: Names = field(default=None, metadata=chosen_from("all", plugins="transforms"))
    views: list[str] | None = field(default=None, metadata=chosen_from(*EMBEDDED_VIEWS))
    metrics: Names = field(
        default_factory=lambda: ["similarity", "distance"], metadata=chosen_from("all", plugins="metrics")
    )
    protocol: ProtocolName = ProtocolName.clean
    budget: Budget = Budget.full
    target_se: float = 0.002
    k: int = 256
    num_images: int | None = None
    gallery: int = 1000
    matched_width: int = 64
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
    against: FilePath | None = None
    objective: Names = None
    out: FilePath = "runs/measure"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(2, self, "num_images")  # or there is no interval
        require_positive(self, "k", "gallery", "matched_width", "batch_size", "devices")
        require_sides(self, "resize", "crop_size")
        require_workers(self)
        if self.target_se <= 0:
            raise UserError(f"target_se={self.target_se}: expected a positive number")
        if not 0 <= self.max_unreadable <= 1:
            raise UserError(f"max_unreadable={self.max_unreadable}: expected a share, 0 to 1")
