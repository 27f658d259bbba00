"""``solo-invariance study``: whether the findings hold, with seeds, controls and verdicts."""

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Column, Table

from solo_invariance.commands.outcome import Outcome, Unmet, deliver
from solo_invariance.commands.terminal import console, print_facts, print_remarks, progress_bars
from solo_invariance.config.composed import as_object
from solo_invariance.config.study import StudyConfig as Config
from solo_invariance.progress import about

if TYPE_CHECKING:
    from solo_invariance.results import StudyResult
    from solo_invariance.study.estimate import JobAhead

__all__ = ["Config", "jobs_left", "run"]


def run(config: Any) -> None:
    """Run a study, or go on with it, and print its verdicts; or print what it would do.

    Raises:
        Unmet: A claim that was expected to hold does not.
    """
    settings = as_object(config, Config)
    if settings.dry_run:
        _print_what_is_ahead(settings)
        return
    from solo_invariance.study.run import study

    with progress_bars() as progress:
        result = study(settings, progress, print_facts)
    if result is None:
        _say_what_is_done(settings)
    else:
        _print_result(settings, result)


def jobs_left(config: Any) -> list[str]:
    """Return the names of the pre-trainings that a configuration asks for and that are not done; none of a dry run."""
    from solo_invariance.study.pretraining import checkpoint_of
    from solo_invariance.study.run import checked_plan, require_nothing_in_vain

    settings = as_object(config, Config)
    plan = checked_plan(settings)
    if settings.dry_run:
        return []
    left = [one for one in plan.to_train if one.job in plan.chosen_jobs and checkpoint_of(plan, one) is None]
    require_nothing_in_vain(plan, left)
    return [one.job for one in left]


def _print_what_is_ahead(settings: Config) -> None:
    from solo_invariance.study.estimate import dry_run
    from solo_invariance.study.run import checked_plan

    found = dry_run(checked_plan(settings))
    console.print(f"{settings.study.name}: {settings.study.says}", soft_wrap=True)
    table = Table("job", "work", Column("time on one device", justify="right"))
    for arm, jobs in groupby(sorted(found.jobs, key=_in_order_of(found.jobs)), key=lambda job: job.arm):
        for is_done, alike in groupby([*jobs], key=lambda job: job.is_done):
            table.add_row(*_row([*alike], arm, is_done))
    console.print(table)
    console.print(found.summary, soft_wrap=True)
    for sentence in found.missing:
        console.print(f"missing: {sentence}", soft_wrap=True, style="yellow")
    for sentence in found.basis:
        console.print(sentence, soft_wrap=True, style="dim")
    if found.commands:
        console.print("by solo-learn, whose checkpoints study.checkpoints=[...] then takes:", soft_wrap=True)
        for command in found.commands:
            console.print(command, soft_wrap=True)
    document = {
        "study": settings.study.name,
        "jobs": [job._asdict() for job in found.jobs],
        "processes": found.processes,
        "device_seconds": found.device_seconds,
        "seconds": found.seconds,
        "basis": list(found.basis),
        "commands": list(found.commands),
        "missing": list(found.missing),
    }
    deliver(Outcome(None, document))


def _in_order_of(jobs: Sequence["JobAhead"]) -> Callable[["JobAhead"], tuple[int, bool]]:
    """Return how jobs are put in order: by arm, as these come, and what is done first."""
    arms = [*dict.fromkeys(job.arm for job in jobs)]
    return lambda job: (arms.index(job.arm), not job.is_done)


def _row(jobs: Sequence["JobAhead"], arm: str, is_done: bool) -> tuple[str, str, str]:
    """Return a row of jobs that are alike: those of an arm, which are named by their seeds."""
    seconds = jobs[0].seconds
    each = " each" if len(jobs) > 1 else ""
    seeds = ",".join(job.name.rpartition("/")[2] for job in jobs)
    name = arm if jobs[0].name == arm else f"{arm}/{seeds}"
    return name, jobs[0].work, "done" if is_done else "?" if seconds is None else f"{about(seconds)}{each}"


def _say_what_is_done(settings: Config) -> None:
    from solo_invariance.study.pretraining import checkpoint_of
    from solo_invariance.study.run import checked_plan

    plan = checked_plan(settings)
    made = {one.job: str(checkpoint_of(plan, one)) for one in plan.to_train if one.job in plan.chosen_jobs}
    for job, checkpoint in made.items():
        console.print(f"{job}: {checkpoint}", soft_wrap=True)
    rows = [{"job": job, "checkpoint": checkpoint} for job, checkpoint in made.items()]
    deliver(Outcome(settings.out, {"checkpoints": made}, rows))


def _print_result(settings: Config, result: "StudyResult") -> None:
    from solo_invariance.commands.study_tables import print_study
    from solo_invariance.study.run import PAGE, REPORT

    print_study(result, console)
    if len(result.seeds) == 1:
        print_remarks(["one seed decides nothing: every claim is undecided; more of them: 'seeds=[0,1,2,3,4]'"])
    page = Path(settings.out, PAGE)
    hours = ", ".join(f"{name} {about(3600 * value)}" for name, value in result.hours.items() if value)
    console.print(f"of one process: {hours}", style="dim", soft_wrap=True)
    console.print(f"report: {Path(settings.out, REPORT).resolve()}", soft_wrap=True)
    console.print(f"page: {page.resolve()}", soft_wrap=True)
    document = {**result.as_content(), "page": str(page), "report": str(Path(settings.out, REPORT))}
    rows = [{"claim": one.name, "verdict": one.verdict} for one in result.claims]
    deliver(Outcome(str(page), document, rows))
    expected = [settings.expect] if isinstance(settings.expect, str) else settings.expect or []
    names = [*result.verdicts] if "all" in expected else expected
    unmet = [f"{name}: {result.verdicts[name]}" for name in names if result.verdicts[name] != "holds"]
    if unmet:
        raise Unmet(f"expect: {len(unmet)} of {len(names)} claims do not hold, or are undecided: {'; '.join(unmet)}")
