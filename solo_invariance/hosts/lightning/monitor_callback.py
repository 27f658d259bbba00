"""Watching what a backbone becomes invariant to while it trains."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningModule, Trainer

from solo_invariance.errors import UserError
from solo_invariance.hosts.lightning.monitor_settings import MonitorSettings
from solo_invariance.hosts.lightning.per_trainer import PerTrainerCallback, acts

if TYPE_CHECKING:
    from solo_invariance.hosts.lightning.monitor import Monitor


@dataclass
class _Watch:
    """How one Trainer's fitting is watched; the monitor is the first process's alone, and what failed is said once."""

    settings: MonitorSettings
    monitor: "Monitor | None" = None
    has_warned: bool = False


class MonitorCallback(PerTrainerCallback[_Watch]):
    """Measure the backbone every few epochs and give the numbers to the run's loggers.

    A module takes part by a ``cfg`` with ``invariance.monitor`` and a ``backbone``; any other is left alone. A copy of
    the backbone is measured, and the random states are left as they were, so that the run has the same weights, metrics
    and checkpoints as one that is not watched. Of several processes the first measures, while the others wait for it.
    Of several such callbacks in a trainer, the first acts.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Read the configuration, before training takes any time.

        Raises:
            UserError: The configuration's ``invariance.monitor`` is wrong, or there is nothing to measure.
        """
        if stage != "fit":
            return
        self._runs.pop(trainer, None)
        if not acts(MonitorCallback, self, trainer):
            return
        chosen = _section(getattr(pl_module, "cfg", None))
        if chosen is None:
            return
        from solo_invariance.hosts.lightning.monitor import build_monitor, unchanged_random_states
        from solo_invariance.hosts.refusals import say

        if getattr(pl_module, "backbone", None) is None:
            raise UserError(f"invariance.monitor: {type(pl_module).__name__} has no backbone to measure")
        watch = _Watch(MonitorSettings.from_mapping(chosen))
        wrong: str | None = None
        if trainer.is_global_zero:
            try:
                with unchanged_random_states():
                    watch.monitor = build_monitor(watch.settings, trainer, pl_module)
            except UserError as error:
                wrong = str(error)
        wrong = trainer.strategy.broadcast(wrong)  # so that no other process waits for one that has stopped
        if wrong is not None:
            raise UserError(wrong)
        self._runs[trainer] = watch
        if watch.monitor is not None:
            say(f"monitor: {_when(watch.settings)}: {watch.monitor.summary()}; -> {_loggers(trainer)}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, where it is time, and log."""
        watch = self._runs.get(trainer)
        if watch is None or watch.monitor is None:
            return
        epochs = trainer.current_epoch + 1
        if epochs % watch.settings.every and epochs != trainer.max_epochs:
            return
        from solo_invariance.hosts.lightning.monitor import unchanged_random_states

        try:
            with unchanged_random_states():
                numbers = watch.monitor.measure(pl_module.backbone)  # type: ignore[arg-type]
        except Exception as error:  # of whatever kind: nobody's training is to end because it was watched
            if not watch.has_warned:
                # Of this module: of the caller's, a host that silences Lightning's warnings would silence it.
                said = error if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
                warnings.warn(f"invariance.monitor: nothing measured after {epochs} epochs: {said}", stacklevel=1)
            watch.has_warned = True
            return
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": trainer.current_epoch, **numbers}, step=trainer.global_step)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let go of the images."""
        self._runs.pop(trainer, None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let go of the images: Lightning tears nothing down after an error."""
        self._runs.pop(trainer, None)


def _when(settings: MonitorSettings) -> str:
    return "after every epoch" if settings.every == 1 else f"every {settings.every} epochs and after the last"


def _loggers(trainer: Trainer) -> str:
    """Where the numbers go, for a reader."""
    places = [
        " in ".join(filter(None, (type(logger).__name__, logger.log_dir or logger.save_dir)))
        for logger in trainer.loggers
    ]
    return ", ".join(places) or "nowhere: the run has no logger"


def _section(cfg: Any) -> Any:
    """Return ``invariance.monitor`` of a module's configuration, resolved; None where there is none."""
    if type(cfg).__name__ == "DictConfig":
        from omegaconf import OmegaConf

        section = OmegaConf.select(cfg, "invariance.monitor")
        return OmegaConf.to_container(section, resolve=True) if OmegaConf.is_config(section) else section
    section = cfg.get("invariance") if isinstance(cfg, Mapping) else None
    return section.get("monitor") if isinstance(section, Mapping) else None
