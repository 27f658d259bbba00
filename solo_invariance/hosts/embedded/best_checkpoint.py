"""The checkpoint of the epoch whose logged number is best."""

import math
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from solo_invariance.backbones.files.checkpoint import read_checkpoint
from solo_invariance.errors import UserError, none_of


class BestCheckpoint(Checkpoint):
    """Keep the checkpoint of the best epoch beside the last one.

    Lightning calls it after what is no ``Checkpoint``, so that a number that a callback logs at an epoch's end is of
    the weights that are saved. In epochs in which the number is NaN nothing is saved. A run that is resumed goes on
    from the number in the file.

    Args:
        path: The file.
        monitor: What the number is called in ``trainer.callback_metrics``.
        mode: ``max`` or ``min``, which is best.
    """

    def __init__(self, path: Path, monitor: str, mode: str) -> None:
        self.path = path
        self.monitor = monitor
        self.mode = mode
        self._best: float | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find out how good the file is that an interrupted run left."""
        if self.path.is_file():
            states = read_checkpoint(self.path).get("callbacks") or {}
            state: dict[str, Any] = states.get(self.state_key, {})
            if (state.get("monitor"), state.get("mode")) == (self.monitor, self.mode):
                self._best = float(state["best"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a name that nothing gives, as far as names are known: what watches a run has said its own by now.

        Raises:
            UserError: Nothing of that name will be there.
        """
        if "/" in self.monitor:
            self._require_known(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save where the number is better than before.

        Raises:
            UserError: Nothing of that name is there.
        """
        self._require_known(trainer)
        value = float(trainer.callback_metrics[self.monitor])
        if math.isfinite(value) and (self._best is None or self._is_better(value, self._best)):
            self._best = value
            trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Return how good the weights are that are saved with it, or the best before them."""
        return {"monitor": self.monitor, "mode": self.mode, "best": self._best}

    def _is_better(self, value: float, other: float) -> bool:
        return value > other if self.mode == "max" else value < other

    def _require_known(self, trainer: Trainer) -> None:
        known = [*trainer.callback_metrics]
        if self.monitor not in known:
            raise UserError(f"checkpoint.monitor={self.monitor}: nothing logs it{none_of(self.monitor, known)}")
