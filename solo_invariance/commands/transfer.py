"""``solo-invariance transfer``: how well does a frozen backbone do on a task?"""

from collections.abc import Mapping
from typing import Any

import torch

from solo_invariance.commands.in_processes import run_shared
from solo_invariance.commands.outcome import Outcome, deliver
from solo_invariance.commands.tables import cell, print_differences, print_scores
from solo_invariance.commands.terminal import console, print_facts, print_remarks, print_targets, progress_bars
from solo_invariance.config.composed import as_dict, as_object
from solo_invariance.config.task import TaskConfig
from solo_invariance.config.task_entries import task_from
from solo_invariance.config.transfer import TransferConfig as Config
from solo_invariance.errors import UserError
from solo_invariance.processes import Processes
from solo_invariance.progress import Announce, Progress, no_progress, say_nothing
from solo_invariance.results import TransferResult
from solo_invariance.transfer import run as library
from solo_invariance.transfer.settings import TransferSettings

__all__ = ["Config", "run", "transfer"]


def run(config: Any) -> None:
    """Score, print the scores and say where the results are."""
    run_shared(config, Config, _run)


def _run(processes: Processes, device: torch.device, config: Any) -> None:
    with progress_bars(quiet=processes.rank > 0) as progress:
        results = transfer(config, progress, processes, device, print_facts)
    if processes.rank > 0:
        return
    print_remarks(remark for result in results.values() for remark in result.backbone.remarks)
    for result in results.values():
        _print_remarks_on(result)
    print_scores([*results.values()])
    print_differences([*results.comparisons.values()])
    console.print(f"results: {config.out}", soft_wrap=True)
    document = {
        "out": config.out,
        "results": {task: result.as_content() for task, result in results.items()},
        "comparisons": {task: comparison.as_content() for task, comparison in results.comparisons.items()},
    }
    scores = {task: f"{result.metric} {cell(result.score, 3)}" for task, result in results.items()}
    if len(scores) == 1:  # of several jobs, each has perhaps another task
        scores = {"task": next(iter(scores)), "score": next(iter(scores.values()))}
    rows = [{"label": next(iter(results.values())).label, **scores}]
    deliver(Outcome(config.out, document, rows, _numbers(results)))


def _numbers(results: Mapping[str, TransferResult]) -> dict[str, float]:
    """Return what ``objective`` chooses from: of one task its numbers, of several the scores and their mean."""
    scores = {f"score.{task}": result.mean_score for task, result in results.items()}
    first, *others = results.values()
    if not others:
        return {**scores, **first.numbers()}
    seconds = sum(result.numbers().get("seconds", 0.0) for result in results.values())
    mean = sum(scores.values()) / len(scores)
    return {**scores, "score.mean": mean, "num_features": first.backbone.num_features, "seconds": seconds}


def transfer(
    config: Any,
    progress: Progress = no_progress,
    processes: Processes | None = None,
    device: torch.device | None = None,
    announce: Announce = say_nothing,
) -> library.TransferResults:
    """Do what a composed configuration says.

    Args:
        config: Composed, of ``TransferConfig``.
        progress: Told how far the work is.
        processes: Those that share the computing of features, which all call this.
        device: This process's; the configuration's by default.
        announce: Told what is to be done.
    """
    settings = as_object(config, Config)
    return library.transfer(
        settings.backbone,
        settings.task if settings.tasks is None else _tasks(settings),
        TransferSettings(
            probe=None if settings.probe.name is None else settings.probe.name.value,
            solver=None if settings.probe.solver is None else settings.probe.solver.value,
            metric=settings.metric,
            protocol=settings.protocol.value,
            folds=settings.folds,
            knn=settings.knn,
            few_shot=settings.few_shot,
            seed=settings.seed,
            batch_size=settings.batch_size,
            num_workers=settings.num_workers,
        ),
        out=settings.out,
        against=settings.against,
        device=device or settings.device,
        cache=settings.cache,
        progress=progress,
        announce=announce,
        processes=processes,
        config=as_dict(config),
    )


def _tasks(settings: Config) -> list[TaskConfig]:
    """Return the tasks of ``tasks``, each of which takes from ``task`` what it does not say itself."""
    if not isinstance(settings.tasks, list):
        raise UserError(f"tasks={settings.tasks}: expected a list, such as [shape,hue]")
    return [task_from(entry, settings.task) for entry in settings.tasks]


def _print_remarks_on(result: TransferResult) -> None:
    if result.targets is not None:
        print_targets(result.task, result.targets)
    if result.split:
        said = f"{result.task}: trained on {result.split['train']}; tested on {result.split['test']}"
        console.print(said, highlight=False, soft_wrap=True, markup=False)
    if "member_weights" in result.details:
        weights = ", ".join(f"{weight:.3g}" for weight in result.details["member_weights"])
        console.print(f"{result.task}: weights of the members: {weights}", highlight=False)
    if result.overlap:
        console.print(
            f"{result.overlap} of the {result.num_test} test images are among the training images", style="yellow"
        )
