"""Watching what a backbone becomes invariant to while it trains, where a host's configuration asks for it."""

from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningModule, Trainer

from solo_invariance.hosts.lightning.monitor_settings import MonitorSettings
from solo_invariance.hosts.lightning.per_trainer import WatchingCallback, acts, section_of

if TYPE_CHECKING:
    from solo_invariance.hosts.lightning.watching import Watch


class MonitorCallback(WatchingCallback):
    """Measure the backbone every few epochs and give the numbers to the run's loggers.

    A module takes part by a ``cfg`` with ``invariance.monitor`` and a ``backbone``; any other is left alone. A copy of
    the backbone is measured, and the random states are left as they were, so that the run has the same weights, metrics
    and checkpoints as one that is not watched. Of several processes the first measures, while the others wait for it.
    Of several such callbacks in a trainer, the first acts. Elsewhere, ``InvarianceMonitor`` does the same.
    """

    def watch(self, trainer: Trainer, pl_module: LightningModule) -> "Watch | None":
        """Read the configuration.

        Raises:
            UserError: The configuration's ``invariance.monitor`` is wrong.
        """
        if not acts(MonitorCallback, self, trainer):
            return None
        cfg: Any = getattr(pl_module, "cfg", None)
        chosen = section_of(cfg, "monitor")
        if chosen is None:
            return None
        from solo_invariance.hosts.lightning.monitor import MonitorWatcher
        from solo_invariance.hosts.lightning.watched import Watched
        from solo_invariance.hosts.lightning.watching import Watch

        settings = MonitorSettings.from_mapping(chosen)
        return Watch(MonitorWatcher(settings, Watched.by_config("invariance.monitor", cfg)))
