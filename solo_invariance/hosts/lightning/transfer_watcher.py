"""Scoring a run on labelled images while it trains."""

from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from solo_invariance.backbones import Backbone
from solo_invariance.config.watch_transfer import WatchTransferConfig
from solo_invariance.errors import UserError
from solo_invariance.features.neighbours import load_faiss
from solo_invariance.features.shared_work import in_each
from solo_invariance.hosts.lightning.training_files import count_trained_on
from solo_invariance.hosts.lightning.watched import Watched
from solo_invariance.hosts.lightning.watching import TrainerProcesses, Watcher
from solo_invariance.hosts.refusals import say
from solo_invariance.measure import feature_statistics, health_of
from solo_invariance.measure.health import HEALTH
from solo_invariance.processes import Processes
from solo_invariance.progress import bytes_in_words
from solo_invariance.transfer.held_tasks import HeldTask, HeldTasks
from solo_invariance.transfer.watched_tasks import watched_tasks


class TransferWatcher(Watcher):
    """Watches a run by scoring a copy of its backbone on tasks.

    Args:
        config: Which tasks, how they are scored, and when.
        watched: The backbone.

    Raises:
        UserError: There is no such task, or a setting does not suit it.
    """

    def __init__(self, config: WatchTransferConfig, watched: Watched) -> None:
        self.config, self.watched, self.every = config, watched, config.every
        try:
            self.tasks = watched_tasks(config)
        except UserError as error:
            raise UserError(f"{self.watched.where}{error}") from error
        self._held: HeldTasks | None = None

    @property
    def names(self) -> Sequence[str]:
        """Of the scores, ``transfer/TASK/METRIC``, and of the features' health, ``health/TASK/METRIC``."""
        scores = [f"transfer/{task.number}" for task in self.tasks]
        health = [f"health/{task.chosen.label}/{one}" for task in self.tasks for one in HEALTH]
        return [f"{self.watched.prefix}{name}" for name in (*scores, *health)]

    def prepare(self, trainer: Trainer, module: LightningModule, network: nn.Module, processes: Processes) -> str:
        """Read the tasks' images, and see whether the backbone takes them.

        Raises:
            UserError: A task's images or targets are not where they are expected, or allow no score; or the backbone
                gives no features of them.
        """
        if any(task.settings.probe == "knn" for task in self.tasks):
            load_faiss(f"{self.watched.label}: probe=knn")
        backbone = self.watched.copied(network)
        try:
            self._held = HeldTasks(self.tasks, backbone, self.config.num_images, processes)
        except UserError as error:
            raise UserError(f"{self.watched.where}tasks: {error}") from error
        if processes.rank == 0:
            self._caution(self._held, trainer)
        return self._summary(self._held, processes)

    def measure(self, network: nn.Module, processes: TrainerProcesses) -> Mapping[str, float]:
        """Score a copy of the first process's backbone, together."""
        assert self._held is not None  # ``prepare`` comes before
        backbone = self._the_same(network, processes)
        scored = self._held.score(backbone, lambda features: health_of(feature_statistics(features)))
        if backbone.mean.device.type == "cuda":
            del backbone
            torch.cuda.empty_cache()  # the run goes on with the memory that it had
        scores = {f"transfer/{one.number}": one.score for one in scored}
        health = {f"health/{one.label}/{name}": number for one in scored for name, number in one.described.items()}
        return self.watched.named(scores | health)

    def _the_same(self, network: nn.Module, processes: Processes) -> Backbone:
        """Return a copy of the first process's backbone: of batch statistics, each process has its own."""
        copies: list[Backbone] = []
        in_each(processes, lambda: copies.append(self.watched.copied(network)))
        for tensor in chain(copies[0].parameters(), copies[0].buffers()) if processes.count > 1 else ():
            whole = tensor.detach().contiguous()
            torch.distributed.broadcast(whole, src=0)
            tensor.detach().copy_(whole)
        return copies[0]

    def _caution(self, held: HeldTasks, trainer: Trainer) -> None:
        counts = count_trained_on(trainer, [task.names for task in held.tasks])
        for task, seen in zip(held.tasks, counts, strict=True):
            if seen:
                say(
                    f"caution: {seen} of the {len(task.names)} images of {task.data.label} are pre-trained on, too: "
                    f"its score says how well these are told apart, and not what transfers to others"
                )

    def _summary(self, held: HeldTasks, processes: Processes) -> str:
        side = self.watched.input_spec.crop_size
        memory = f"{held.num_images:,} images of {side} px in {bytes_in_words(held.num_bytes)} of memory"
        shared = f" of each of {processes.count} processes, which share the work" if processes.count > 1 else ""
        return f"{', '.join(map(_in_words, held.tasks))}; {memory}{shared}"


def _in_words(task: HeldTask) -> str:
    split = f"{len(task.train):,} training and {len(task.test):,} test images"
    return f"{task.number} by {task.probing.probe} ({split}, chance {task.chance:.2g})"
