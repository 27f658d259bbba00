"""Watching a run: something is measured of a copy of its backbone every few epochs, and the run stays what it is."""

import random
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from solo_invariance.errors import UserError
from solo_invariance.features.shared_work import in_each
from solo_invariance.hosts.lightning.watched import Watched
from solo_invariance.hosts.refusals import say
from solo_invariance.processes import Item, Processes

Outcome = TypeVar("Outcome")


class TrainerProcesses(Processes):
    """The processes of a Trainer.

    Args:
        trainer: Running.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.rank = trainer.global_rank
        self.count = trainer.world_size

    def wait(self) -> None:
        """Wait until every process is here."""
        self._trainer.strategy.barrier()

    def gather(self, items: list[Item]) -> list[Item]:
        """Return the items of all processes, by rank; every process calls this."""
        if self.count == 1:
            return items
        gathered: list[list[Item]] = [[] for _ in range(self.count)]
        torch.distributed.all_gather_object(gathered, items)
        return [item for part in gathered for item in part]

    def together(self, work: Callable[[], Outcome]) -> list[Outcome]:
        """Do a piece of work in every process, and return what came of it in each, by rank.

        Whoever has several steps that wait for the other processes does each by this: an error in one of them then
        leaves nobody waiting.

        Args:
            work: Waits for no other process, but by this.

        Raises:
            UserError: The work failed in a process, in whichever; the first that did says why in all of them.
        """
        return in_each(self, work)


class Watcher(ABC):
    """What is measured of a run, again and again. Every process has one, with the same arguments."""

    watched: Watched
    """The module's backbone."""
    every: int
    """Epochs between measurements; after the last epoch there is always one."""

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """What the numbers are called, all of them; known from the beginning."""

    @abstractmethod
    def prepare(self, trainer: Trainer, module: LightningModule, network: nn.Module, processes: Processes) -> str:
        """Read what measuring needs, before training begins, and return it in a few words.

        Args:
            trainer: Has its loaders by now.
            module: What it trains.
            network: The module's backbone, which stays as it is.
            processes: Those of the run, which all call this; none waits for another in it.

        Raises:
            UserError: Something is wrong with it; training does not begin.
        """

    @abstractmethod
    def measure(self, network: nn.Module, processes: TrainerProcesses) -> Mapping[str, float]:
        """Return numbers by their names, in whichever process: those of all processes are put together.

        Args:
            network: The module's backbone, which stays as it is; ``watched.copied`` copies it.
            processes: Those of the run, which all call this; what waits for another goes through ``together``.
        """


class Watch:
    """One run that is watched.

    The numbers go to the run's loggers and to ``trainer.callback_metrics``, where Lightning's own callbacks look, in
    every process. They are there before any of these looks at the epoch: where a validation ends it, numbers are of the
    weights that are validated and are there when it ends; elsewhere, when the training epoch does. While nothing is
    measured of the weights as they are, NaN stands for the numbers: ``ModelCheckpoint`` takes it for the worst.

    Args:
        watcher: Measures.
    """

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self._measured: int | None = None  # after how many epochs, last
        self._epochs: int | None = None  # that have passed
        self._has_warned = False

    def set_up(self, trainer: Trainer, module: LightningModule, others: Sequence["Watch"]) -> None:
        """Look at what can be seen before anything is loaded.

        Args:
            trainer: Of the run.
            module: What it trains.
            others: That watch the same run.

        Raises:
            UserError: The module has no such backbone, or another gives its numbers the same names.
        """
        both = next((name for other in others for name in other.watcher.names if name in self.watcher.names), None)
        if both is not None:
            raise UserError(
                f"{self.watcher.watched.label}: two callbacks of this Trainer log {both}; give one of them a prefix"
            )
        # A module may have its layers from ``configure_model``, which comes after this.
        if type(module).configure_model.__module__.partition(".")[0] in ("lightning", "pytorch_lightning"):
            backbone_of(module, self.watcher)

    def begin(self, trainer: Trainer, module: LightningModule) -> None:
        """Get ready, now that loaders and the module are, and before the first step.

        Raises:
            UserError: Something is wrong, in whichever process; all of them say the same.
        """
        network, processes = backbone_of(module, self.watcher), TrainerProcesses(trainer)
        with _as_if_nothing_was_done():
            words = processes.together(lambda: self.watcher.prepare(trainer, module, network, processes))
        self.expect(trainer)
        if trainer.is_global_zero:
            name = self.watcher.watched.label.removeprefix("invariance.")
            say(f"{name}: {_when(self.watcher.every)}: {words[0]}; -> {_loggers(trainer)}")

    def expect(self, trainer: Trainer) -> None:
        """Forget the numbers: an epoch begins, whose weights are others."""
        _metrics_of(trainer).update({name: torch.tensor(_nothing(name, trainer)) for name in self.watcher.names})

    def epoch_is_validated(self, trainer: Trainer, module: LightningModule) -> None:
        """Measure where it is time, if the epoch's last batch is done: what is saved next is saved after validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and trainer.is_last_batch:
            self._measure_in_time(trainer, module)

    def epoch_ends(self, trainer: Trainer, module: LightningModule) -> None:
        """Measure where it is time, unless that was done in the epoch's validation."""
        self._epochs = trainer.current_epoch + 1
        self._measure_in_time(trainer, module)

    def training_ends(self, trainer: Trainer, module: LightningModule) -> None:
        """Measure the last weights, of a run that ended before its last epoch."""
        if self._epochs is not None and self._measured != self._epochs:
            self._measure(trainer, module, self._epochs)

    def _measure_in_time(self, trainer: Trainer, module: LightningModule) -> None:
        epochs = trainer.current_epoch + 1
        ends = epochs == trainer.max_epochs or 0 <= trainer.max_steps <= trainer.global_step
        is_last = ends or trainer.should_stop
        if (epochs % self.watcher.every == 0 or is_last) and self._measured != epochs:
            self._measure(trainer, module, epochs)

    def _measure(self, trainer: Trainer, module: LightningModule, epochs: int) -> None:
        self._measured = epochs
        processes = TrainerProcesses(trainer)
        try:
            with _as_if_nothing_was_done():
                parts = processes.together(lambda: self.watcher.measure(backbone_of(module, self.watcher), processes))
            numbers = {name: value for part in parts for name, value in part.items()}
            _metrics_of(trainer).update({name: torch.tensor(float(value)) for name, value in numbers.items()})
            for logger in trainer.loggers:
                logger.log_metrics({"epoch": epochs - 1, **numbers}, step=_step(trainer))
        except Exception as error:  # of whatever kind: nobody's training is to end because it was watched
            if not self._has_warned and trainer.is_global_zero:
                # Of this module: of the caller's, a host that silences Lightning's warnings would silence it.
                said = error if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
                warnings.warn(
                    f"{self.watcher.watched.label}: nothing measured after {epochs} epochs: {said}", stacklevel=1
                )
            self._has_warned = True


def backbone_of(module: LightningModule, watcher: Watcher) -> nn.Module:
    """Return the module's backbone that a watcher names.

    Raises:
        UserError: It has none there; the message lists what it has.
    """
    found: nn.Module = module
    for name in watcher.watched.backbone.split("."):
        child = getattr(found, name, None)
        if not isinstance(child, nn.Module):
            there = ", ".join(one for one, _ in found.named_children()) or "none"
            raise UserError(
                f"{watcher.watched.label}: {type(found).__name__} has no {name} to measure; its modules are: {there}"
            )
        found = child
    return found


@contextmanager
def unchanged_random_states() -> Iterator[None]:
    """Leave the random states of torch, NumPy and Python as they were."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (other people's draws)
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def _as_if_nothing_was_done() -> Iterator[None]:
    """Work as between two training steps, also within a validation, which runs without gradients."""
    with unchanged_random_states(), torch.enable_grad():
        yield


def _metrics_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Return what ``trainer.callback_metrics`` returns, which would compute the run's own metrics, maybe too early.

    The attribute is the same in lightning 2.1.2 and 2.6.6.
    """
    return trainer._logger_connector._callback_metrics


def _nothing(name: str, trainer: Trainer) -> float:
    """Return what stands for a number that was not measured, as its readers take it.

    ``ModelCheckpoint`` takes NaN for the worst. ``EarlyStopping`` would end the run at it, and takes the worst finite
    number, at which it goes on being patient.
    """
    callbacks: list[object] = trainer.callbacks  # type: ignore[attr-defined] # its connector sets it
    for one in callbacks:
        if getattr(one, "monitor", None) == name and getattr(one, "check_finite", False):
            if (threshold := getattr(one, "divergence_threshold", None)) is not None:
                return float(threshold)
            limits = torch.finfo(torch.float32)
            return limits.min if getattr(one, "mode", "min") == "max" else limits.max
    return float("nan")


def _step(trainer: Trainer) -> int:
    """Return the step at which Lightning itself logs the numbers of an epoch: of its last batch, from 0."""
    done: int = trainer.fit_loop.epoch_loop._batches_that_stepped
    return done if trainer.validating else done - 1  # which Lightning counts after validation


def _when(every: int) -> str:
    return "after every epoch" if every == 1 else f"every {every} epochs and after the last"


def _loggers(trainer: Trainer) -> str:
    """Where the numbers go, for a reader."""
    places = [
        " in ".join(str(part) for part in (type(logger).__name__, logger.log_dir or logger.save_dir) if part)
        for logger in trainer.loggers
    ]
    return ", ".join(places) or "callback_metrics alone: the run has no logger"
