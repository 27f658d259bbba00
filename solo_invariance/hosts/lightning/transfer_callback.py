"""Scoring a run on labelled images while it trains, where a host's configuration asks for it."""

from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningModule, Trainer

from solo_invariance.hosts.lightning.per_trainer import WatchingCallback, acts, section_of

if TYPE_CHECKING:
    from solo_invariance.hosts.lightning.watching import Watch


class TransferCallback(WatchingCallback):
    """Score the backbone on labelled images every few epochs and give the scores to the run's loggers.

    A module takes part by a ``cfg`` with ``invariance.transfer`` and a ``backbone``; any other is left alone. A copy of
    the backbone is scored, and the random states are left as they were, so that the run has the same weights, metrics
    and checkpoints as one that is not scored. Several processes share the work. Of several such callbacks in a trainer,
    the first acts. Elsewhere, ``TransferMonitor`` does the same.
    """

    def watch(self, trainer: Trainer, pl_module: LightningModule) -> "Watch | None":
        """Read the configuration.

        Raises:
            UserError: The configuration's ``invariance.transfer`` is wrong.
        """
        if not acts(TransferCallback, self, trainer):
            return None
        cfg: Any = getattr(pl_module, "cfg", None)
        chosen = section_of(cfg, "transfer")
        if chosen is None:
            return None
        from solo_invariance.config.task_entries import watch_transfer_from
        from solo_invariance.hosts.lightning.transfer_watcher import TransferWatcher
        from solo_invariance.hosts.lightning.watched import Watched
        from solo_invariance.hosts.lightning.watching import Watch

        config = watch_transfer_from(chosen)
        return Watch(TransferWatcher(config, Watched.by_config("invariance.transfer", cfg)))
