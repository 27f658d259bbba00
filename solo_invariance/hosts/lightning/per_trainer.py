"""Callbacks that several Trainers share, and of which one Trainer may have several."""

from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from lightning.pytorch import Callback, Trainer

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
