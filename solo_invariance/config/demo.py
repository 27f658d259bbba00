"""The keys of ``solo-invariance demo``."""

from dataclasses import dataclass, field

from solo_invariance.config.checks import require_positive


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
