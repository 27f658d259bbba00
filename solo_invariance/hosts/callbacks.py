"""The seam to Lightning: a callback in every ``Trainer``, dormant unless the module's configuration names families."""

from typing import TYPE_CHECKING

from lightning.pytorch import Callback

from solo_invariance.hosts.lightning.families_callback import FamiliesCallback
from solo_invariance.hosts.lightning.monitor_callback import MonitorCallback

if TYPE_CHECKING:
    pass


def callbacks_factory() -> list[Callback]:
    """Return what Lightning adds to every ``Trainer``; called through an entry point."""
    return [FamiliesCallback(), MonitorCallback()]
