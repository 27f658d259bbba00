"""A study in one call: what is not there yet is trained, measured and scored, and every claim is judged."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from hydra.errors import HydraException

from solo_invariance.config.claims import claims_from, require_judgeable
from solo_invariance.config.composed import as_object, compose_command
from solo_invariance.config.study import StudyConfig, presets, require_something_to_do
from solo_invariance.data.view_sets import kind_of_view_set
from solo_invariance.device import choose_device
from solo_invariance.errors import UserError, none_of
from solo_invariance.hosts.embedded.pretrain import require_trainable
from solo_invariance.measure.named import transforms_named
from solo_invariance.measure.sources import VIEW_KINDS
from solo_invariance.progress import Announce, Progress, no_progress, say_nothing
from solo_invariance.report import collect_results, write_report
from solo_invariance.results import InvarianceResult, StudyResult, TransferResult
from solo_invariance.results.files import read_json, versions
from solo_invariance.results.study import STUDY_FILE, StudyArm
from solo_invariance.study.ahead import StudyAhead
from solo_invariance.study.checkpoints import plan_of
from solo_invariance.study.evaluation import evaluate, is_measured, require_own_results
from solo_invariance.study.images import StudyImages
from solo_invariance.study.instances import Runs
from solo_invariance.study.judging import judge
from solo_invariance.study.needs import require_all_there, require_width
from solo_invariance.study.page import write_study_page
from solo_invariance.study.plan import EVALUATION, Plan, Pretraining
from solo_invariance.study.pretraining import checkpoint_of, run_pretrainings, seconds_of
from solo_invariance.study.table import Table
from solo_invariance.study.workers import processes_of

PAGE, REPORT = "study.html", "report.html"
"""The files, besides ``study.json``, that a study ends with."""


def study(
    settings: StudyConfig | str = "demo", progress: Progress = no_progress, announce: Announce = say_nothing
) -> StudyResult | None:
    """Run a study, or go on with it, and judge its claims.

    Every arm is pre-trained by every seed, unless its checkpoint is there; then all backbones, their fusions and
    ensembles are measured and scored. ``out`` has ``study.json``, a page of verdicts, ``study.html``, and a report of
    all results, ``report.html``. What an earlier call has done there is kept: a study that was killed goes on, and ends
    with the same numbers.

    Args:
        settings: What is studied and how; or a preset's name, such as ``rendered``.
        progress: Told how far the work is.
        announce: Told what is to be done, a ``StudyAhead``.

    Returns:
        The result; None where ``only`` names jobs without the evaluation.

    Raises:
        UserError: A setting is wrong, something cannot be trained, measured or scored, or ``out`` holds other results;
            before anything is trained, as far as that can be known.
    """
    settings = preset_named(settings) if isinstance(settings, str) else settings
    plan = checked_plan(settings)
    chosen = plan.chosen_jobs
    here = [one for one in plan.to_train if one.job in chosen]
    left = [one for one in here if checkpoint_of(plan, one) is None]
    if announce is not say_nothing:
        announce(StudyAhead(plan, len(here) - len(left), processes_of(settings, len(left)), EVALUATION in chosen))
    require_nothing_in_vain(plan, left)
    run_pretrainings(plan, left, progress)
    if EVALUATION not in chosen:
        return None
    runs = evaluate(plan, progress)
    result = _result(plan, runs)
    result.write(plan.out / STUDY_FILE)
    compared = [place for one in runs if is_measured(plan, one.instance) for place in (*one.measured, *one.scored)]
    report = write_report(collect_results(compared), plan.out / REPORT)
    write_study_page(result, plan.out / PAGE, report)
    return result


def require_nothing_in_vain(plan: Plan, left: Sequence[Pretraining]) -> None:
    """Raise UserError where the evaluation that follows would miss something, or find results of other settings.

    Args:
        plan: Of the study; where ``only`` leaves the evaluation out, nothing is looked for.
        left: What is to be trained; with nothing to train, the evaluation itself comes next, and says it.
    """
    if EVALUATION in plan.chosen_jobs:
        require_all_there(plan)
        if left:
            require_own_results(plan)


def preset_named(name: str, out: str | None = None) -> StudyConfig:
    """Return the configuration of a preset.

    Args:
        name: ``demo``, ``rendered``, ``photos`` or ``paper``.
        out: Where results go, ``runs/NAME`` by default.

    Raises:
        UserError: There is none of that name.
    """
    try:
        composed = compose_command("study", [f"study={name}", f"out={out or f'runs/{name}'}"])
    except HydraException as error:
        raise UserError(f"study={name}: there is no such preset{none_of(name, presets())}") from error
    return as_object(composed, StudyConfig)


def checked_plan(settings: StudyConfig) -> Plan:
    """Return what a study consists of, when all that can be refused before anything is trained has been.

    Raises:
        UserError: The study has nothing to do, or names something that is not there.
    """
    require_something_to_do(settings)
    plan = plan_of(settings)
    for one in {one.arm: one for one in reversed(plan.to_train)}.values():
        config = plan.config_of(one)
        try:
            require_trainable(config)
        except UserError as error:
            raise UserError(f"study.arms.{one.arm}: {error}") from error
    if plan.left_out and settings.seeds is None:  # the preset's own seeds
        raise UserError(
            f"study: {plan.left_out[0]} has no seed that all of its members have, or fewer than three of an ensemble"
        )
    for instance in plan.instances:
        if plan.roles[instance.arm] == "untrained":
            plan.alike(*plan.parts(instance))
    require_width(plan)
    require_judgeable(claims_from(settings.study.claims), plan.roles, quantities_of(plan))
    return plan


def quantities_of(plan: Plan) -> dict[str, str]:
    """Return the quantities that a study will have, with their kinds."""
    preset = plan.settings.study
    transforms = {f"invariance/{name}": one.kind for name, one in transforms_named(preset.measure.transforms).items()}
    views: dict[str, str] = {
        f"views/{name}": VIEW_KINDS[name] for name in preset.measure.views if isinstance(name, str)
    }
    for label, entry in StudyImages(preset).view_sets.items():
        views[f"views/{label}"] = entry.data.kind.name if entry.data.kind else kind_of_view_set(str(entry.data.name))
    tasks = [str(task.label or task.name) for task in plan.tasks]
    return {**transforms, **views, **{f"{of}/{task}": "" for of in ("score", "projected") for task in tasks}}


def _result(plan: Plan, runs: Sequence[Runs]) -> StudyResult:
    preset = plan.settings.study
    table = Table.from_results(runs, plan.roles, preset.measure.seed)
    hours = {name: seconds / 3600 for name, seconds in _seconds(plan, runs).items()}
    return StudyResult(
        file=plan.out / STUDY_FILE,
        name=preset.name,
        says=preset.says,
        config=_config(plan),
        versions=versions(),
        seed=preset.measure.seed,
        timings={"total_seconds": 3600 * sum(hours.values())},
        machine=_machine(plan.settings.device),
        seeds=tuple(plan.settings.chosen_seeds),
        arms={name: _arm(plan, name, runs) for name in plan.members if name not in plan.left_out},
        quantities=table.quantity_records(),
        numbers=table.numbers(),
        claims=tuple(judge(table, claims_from(preset.claims))),
        hours=hours,
    )


def _arm(plan: Plan, name: str, runs: Sequence[Runs]) -> StudyArm:
    members, arm = plan.members[name], plan.settings.study.arms.get(name)
    own = [one for one in runs if one.instance.arm == name]
    scored = read_json(own[0].scored[0] / TransferResult.usual_name)
    return StudyArm(
        role=members.role,
        family=None if arm is None or arm.family is None else _in_words(arm.family),
        members=() if arm is not None else members.arms,
        num_features=scored["backbone"]["num_features"],
        seeds=tuple(one.instance.seeds for one in own),
    )


def _in_words(family: Any) -> str:
    if isinstance(family, list):
        return "+".join(map(_in_words, family))
    return str(family.get("name", "custom") if isinstance(family, Mapping) else family)


def _seconds(plan: Plan, runs: Sequence[Runs]) -> dict[str, float]:
    """Return how long each kind of job took, summed over processes and earlier calls."""
    found = {"pretrain": seconds_of(plan), "measure": 0.0, "transfer": 0.0}
    for one in runs:
        for kind, places, file in (
            ("measure", one.measured, InvarianceResult.usual_name),
            ("transfer", (*one.scored, *one.projected), TransferResult.usual_name),
        ):
            found[kind] += sum(float(read_json(place / file)["timings"]["total_seconds"]) for place in places)
    return found


def _config(plan: Plan) -> dict[str, Any]:
    """Return the configuration as plain data, without the folders of this machine."""
    content: dict[str, Any] = _plain({"seeds": plan.settings.seeds, "study": asdict(plan.settings.study)})
    return content


def _plain(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one, str(name)) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, key) for one in value]
    if isinstance(value, Enum):
        return value.name
    is_path = key in ("path", "checkpoints") or key.endswith("_path")
    return Path(value).name if is_path and isinstance(value, str) else value


def _machine(device: str) -> dict[str, Any]:
    chosen = choose_device(device)
    gpu = {"gpu": torch.cuda.get_device_name(chosen)} if chosen.type == "cuda" else {}
    return {
        "device": chosen.type,
        **gpu,
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "system": platform.system(),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
