"""Callbacks that several Trainers share, and of which one Trainer may have several."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from lightning.pytorch import Callback, LightningModule, Trainer

if TYPE_CHECKING:
    from solo_invariance.hosts.lightning.watching import Watch

Run = TypeVar("Run")


class PerTrainerCallback(Callback, Generic[Run]):
    """A callback that keeps what it knows of a run apart for each Trainer.

    Lightning appends the factories' callbacks to the list that the user gave it. Whoever gives one list to several
    Trainers so gives the first's callbacks to the second, which adds its own to them. Of several of one kind the first
    of a Trainer's list acts, and the rest stay dormant. No kind overrides ``state_dict``: Lightning would then
    refuse a Trainer with two of them.

    Copies, pickled ones too, know nothing of the original's runs: what is copied with a callback is a Trainer's list,
    and not its dataset.
    """

    def __init__(self) -> None:
        self._runs: WeakKeyDictionary[Trainer, Run] = WeakKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        # Lightning hangs the module's own methods on every callback, and with them the module and its Trainer; it does
        # so again whenever a run begins.
        return {name: value for name, value in vars(self).items() if name not in ("_runs", "log", "log_dict")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _runs=WeakKeyDictionary())


def acts(kind: type[Callback], callback: Callback, trainer: Trainer) -> bool:
    """Return whether a callback is the first of its kind in a Trainer's list."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined] # its connector sets it
    return next((one for one in callbacks if isinstance(one, kind)), None) is callback


class WatchingCallback(PerTrainerCallback["Watch"]):
    """A callback that watches runs; ``hosts.lightning.watching`` says how, and is imported once a run asks for it."""

    def watch(self, trainer: Trainer, pl_module: LightningModule) -> "Watch | None":
        """Return how a run is watched; None where it is not.

        Raises:
            UserError: What the run says about it is wrong.
        """
        raise NotImplementedError

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find out whether and how the run is watched, before training takes any time.

        Raises:
            UserError: What says so is wrong, or the module has no such backbone.
        """
        if stage != "fit":
            return
        self._runs.pop(trainer, None)
        watch = self.watch(trainer, pl_module)
        if watch is not None:
            callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined] # its connector sets it
            watching = (one._runs.get(trainer) for one in callbacks if isinstance(one, WatchingCallback))
            watch.set_up(trainer, pl_module, [other for other in watching if other is not None])
            self._runs[trainer] = watch

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read what measuring needs.

        Raises:
            UserError: There is nothing to measure on, or it cannot be measured; every process says the same.
        """
        if (watch := self._runs.get(trainer)) is not None:
            watch.begin(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the numbers of other weights."""
        if (watch := self._runs.get(trainer)) is not None:
            watch.expect(trainer)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, where it is time and the validation ends the epoch."""
        if (watch := self._runs.get(trainer)) is not None:
            watch.epoch_is_validated(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, where it is time and no validation ended the epoch."""
        if (watch := self._runs.get(trainer)) is not None:
            watch.epoch_ends(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the last weights, unless that was done."""
        if (watch := self._runs.get(trainer)) is not None:
            watch.training_ends(trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let go of what was read."""
        self._runs.pop(trainer, None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let go of what was read: Lightning tears nothing down after an error."""
        self._runs.pop(trainer, None)


def section_of(cfg: Any, name: str) -> Any:
    """Return ``invariance.NAME`` of a module's configuration, resolved; None where there is none.

    Args:
        cfg: Whatever the module has by that name.
        name: ``monitor`` or ``transfer``.
    """
    if type(cfg).__name__ == "DictConfig":
        from omegaconf import OmegaConf

        section = OmegaConf.select(cfg, f"invariance.{name}")
        return OmegaConf.to_container(section, resolve=True) if OmegaConf.is_config(section) else section
    section = cfg.get("invariance") if isinstance(cfg, Mapping) else None
    return section.get(name) if isinstance(section, Mapping) else None
