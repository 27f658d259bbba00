"""Callbacks that watch a run because they were given to its Trainer, and not because a configuration asks for it."""

from collections.abc import Callable

from lightning.pytorch import LightningModule, Trainer

from solo_invariance.hosts.lightning.either_package import OtherCallback
from solo_invariance.hosts.lightning.per_trainer import WatchingCallback
from solo_invariance.hosts.lightning.watching import Watch, Watcher


class GivenMonitor(WatchingCallback, OtherCallback):
    """Watches every run of the Trainers that it is given to, of ``lightning.pytorch`` or ``pytorch_lightning``.

    Args:
        make: Returns what watches a run, a new one for each.

    Raises:
        UserError: Nothing can be watched so.
    """

    def __init__(self, make: Callable[[], Watcher]) -> None:
        super().__init__()
        self._make = make
        make()  # which refuses what is wrong now, and not when fitting begins

    @property
    def names(self) -> list[str]:
        """What the numbers are called, in loggers and in ``callback_metrics``."""
        return list(self._make().names)

    @property
    def state_key(self) -> str:
        """Return a key by which one is told from others; none has a state."""
        watched = self._make().watched
        return f"{watched.label}({watched.backbone!r}, {watched.prefix!r})"

    def watch(self, trainer: Trainer, pl_module: LightningModule) -> Watch:
        """Watch every run."""
        return Watch(self._make())
