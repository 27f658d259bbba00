"""How a run is watched."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from solo_invariance.errors import UserError


@dataclass(frozen=True)
class MonitorSettings:
    """What is measured of a run, and when; ``invariance.monitor`` of a configuration.

    Args:
        every: Epochs between measurements; the last epoch is always measured.
        transforms: Their names, or ``all``.
        k: Parameters of a transform.
        num_images: Images to measure on.
        reference_images: Images for the features' mean and covariance, of which those are the first.
        data: Images, such as a folder of them; by default the run's validation images, or its training images.
        batch_size: Views in one forward pass.
        seed: Of the choice of images.
    """

    every: int = 5
    transforms: Any = "all"
    k: int = 8
    num_images: int = 64
    reference_images: int = 512
    data: Any = None
    batch_size: int = 64
    seed: int = 0

    @classmethod
    def from_mapping(cls, values: Any) -> "MonitorSettings":
        """Return what a configuration says.

        Raises:
            UserError: A key is unknown, or a value is not what it should be; the message names it.
        """
        if not isinstance(values, Mapping):
            raise UserError(f"invariance.monitor={values}: expected keys and values; +invariance=monitor has them")
        known = cls.__dataclass_fields__
        for key in values:
            if key not in known:
                raise UserError(f"invariance.monitor.{key}: there is no such key; there are {', '.join(known)}")
        settings = cls(**values)
        settings.require_counts("invariance.monitor.")
        data = settings.data
        if data is not None and (not isinstance(data, str) or not data.strip()):
            raise UserError(f"invariance.monitor.data={data}: expected a folder, in quotes")
        return settings

    def require_counts(self, where: str) -> None:
        """Refuse counts that are none.

        Args:
            where: What messages have before a key.

        Raises:
            UserError: One is no whole number, or too small; the message names it.
        """
        for key in ("every", "k", "num_images", "reference_images", "batch_size", "seed"):
            value, least = getattr(self, key), 0 if key == "seed" else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UserError(f"{where}{key}={value}: expected a whole number of at least {least}")
