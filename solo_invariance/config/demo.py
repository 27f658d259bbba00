"""The keys of ``solo-invariance demo``."""

from dataclasses import dataclass, field

from solo_invariance.config.checks import Checked, require_at_least, require_positive
from solo_invariance.config.kinds import FilePath, chosen_from
from solo_invariance.errors import UserError


@dataclass
class DemoConfig(Checked):
    """``solo-invariance demo``: the sizes of the whole story on the embedded data."""

    out: FilePath = "runs/demo"
    families: list[str] = field(
        default_factory=lambda: ["default", "ventral", "dorsal"], metadata=chosen_from(plugins="families")
    )
    max_epochs: int = 12
    num_images: int = 4000
    k: int = 16
    measure_images: int = 200
    train_images: int = 2000
    test_images: int = 1000
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "max_epochs", "k")
        require_at_least(2, self, "measure_images", "train_images", "test_images")
        require_at_least(128, self, "num_images")  # a batch
        if not self.families:
            raise UserError("families=[]: name one at least, families=[ventral,dorsal]")
