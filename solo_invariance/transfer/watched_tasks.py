"""Which tasks a run is scored on while it trains, and how."""

from dataclasses import dataclass
from typing import cast

from solo_invariance.config.task_entries import watched_task
from solo_invariance.config.transfer import FewShotConfig, KNNConfig
from solo_invariance.config.watch_transfer import WatchTransferConfig
from solo_invariance.errors import UserError
from solo_invariance.transfer.chosen_tasks import ChosenTask, chosen_tasks
from solo_invariance.transfer.probes.settings import ProbeKind
from solo_invariance.transfer.settings import TransferSettings, probe_settings, require_fitting


def watched_tasks(config: WatchTransferConfig) -> list["WatchedTask"]:
    """Return the tasks of a configuration, each with how it is scored.

    Args:
        config: Of its ``tasks``, each is a name, a mapping with a name, or what ``transfer`` takes for a task.

    Raises:
        UserError: There is no such task, a key or value is wrong, two have one label, or a probe or metric does not
            suit a task.
    """
    given = [watched_task(entry) if isinstance(entry, str | dict) else (entry, None, None) for entry in config.tasks]
    chosen = chosen_tasks([task for task, _, _ in given])
    watched = [
        WatchedTask.of(task, _settings(config, probe or config.probe, metric or config.metric))
        for task, (_, probe, metric) in zip(chosen, given, strict=True)
    ]
    for probe, usual in (("knn", KNNConfig()), ("few_shot", FewShotConfig())):
        if getattr(config, probe) != usual and all(one.settings.probe != probe for one in watched):
            raise UserError(f"{probe}: is read by probe={probe} alone")
    return watched


@dataclass(frozen=True)
class WatchedTask:
    """A task and how it is scored.

    Args:
        chosen: The task.
        settings: How to score on it.
        number: What the score is called: ``TASK/METRIC``.
    """

    chosen: ChosenTask
    settings: TransferSettings
    number: str

    @classmethod
    def of(cls, chosen: ChosenTask, settings: TransferSettings) -> "WatchedTask":
        """Return a task, whose images need not be there yet.

        Raises:
            UserError: There is no such task, or the settings do not suit it.
        """
        if "/" in chosen.label:
            raise UserError(f"tasks: {chosen.label}: scores are called TASK/METRIC; give it a label without /")
        task = chosen.resolved(settings.protocol)
        require_fitting(settings, task, str(chosen.config.name))
        return cls(chosen, settings, f"{chosen.label}/{probe_settings(settings, task).score_name}")


def _settings(config: WatchTransferConfig, probe: str, metric: str | None) -> TransferSettings:
    return TransferSettings(
        probe=None if probe == "auto" else cast(ProbeKind, probe),
        metric=metric,
        folds=config.folds,
        knn=config.knn if probe == "knn" else KNNConfig(),
        few_shot=config.few_shot if probe == "few_shot" else FewShotConfig(),
        seed=config.seed,
        batch_size=config.batch_size,
        num_workers=config.num_workers,
    )
