"""How advice is sought."""

from dataclasses import dataclass

from solo_invariance.config.advise import FEWEST_IMAGES, require_parts
from solo_invariance.config.checks import require_at_least, require_positive


@dataclass(frozen=True)
class AdviseSettings:
    """How advice is sought.

    Args:
        k: Views of each training image.
        tolerance: The part of what can be read of images, above chance, that may be lost where views are all that is
            seen: readers of features that nobody trained lose some of it without need.
        smallest: The part of it that may be lost where features are kept that views share: less than that is nothing.
            What gains as much is safe whatever the readers of views lose.
        num_images: Of each split at most, drawn with the task's seed.
        seed: Of views, folds, resamples and untrained weights.
        batch_size: Images in one forward pass, None for what is fastest on the device.
        num_workers: Threads that read images.

    Raises:
        UserError: A number is too small or too large.
    """

    k: int = 4
    tolerance: float = 0.25
    smallest: float = 0.05
    num_images: int = 2000
    seed: int = 0
    batch_size: int | None = None
    num_workers: int = 4

    def __post_init__(self) -> None:
        require_positive(self, "batch_size")
        require_at_least(2, self, "k")
        require_at_least(FEWEST_IMAGES, self, "num_images")
        require_at_least(0, self, "seed", "num_workers")
        require_parts(self, "tolerance", "smallest")
