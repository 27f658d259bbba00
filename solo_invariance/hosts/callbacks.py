"""The seam to Lightning: callbacks in every ``Trainer``, dormant unless the module's configuration asks for them."""

from lightning.pytorch import Callback

from solo_invariance.hosts.lightning.families_callback import FamiliesCallback
from solo_invariance.hosts.lightning.monitor_callback import MonitorCallback
from solo_invariance.hosts.lightning.transfer_callback import TransferCallback


def callbacks_factory() -> list[Callback]:
    """Return what Lightning adds to every ``Trainer``; called through an entry point."""
    return [FamiliesCallback(), MonitorCallback(), TransferCallback()]
