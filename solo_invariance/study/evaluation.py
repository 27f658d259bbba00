"""Measuring and scoring all backbones of a study, which computes the features of each image once."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from solo_invariance.backbones import Backbone
from solo_invariance.config.measure import MeasureConfig
from solo_invariance.config.study import view_sets_of
from solo_invariance.device import choose_device
from solo_invariance.errors import UserError
from solo_invariance.features import FeatureCache
from solo_invariance.measure import MeasureSettings, ResizeCrop, measure
from solo_invariance.measure.record import config_of_arguments
from solo_invariance.progress import Doing, Progress, no_progress
from solo_invariance.results import InvarianceResult, TransferResult
from solo_invariance.study.backbones import StudyBackbones
from solo_invariance.study.images import StudyImages, ToMeasure
from solo_invariance.study.instances import Instance, Runs
from solo_invariance.study.plan import EVALUATION, Plan, Pretraining, label_of, seeds_in_words
from solo_invariance.study.pretraining import checkpoint_of
from solo_invariance.study.workers import do_jobs, one_thread, processes_of
from solo_invariance.transfer import TransferSettings, transfer
from solo_invariance.transfer.chosen_tasks import KeptTask

MEASURE, VIEWS, TRANSFER, PROJECTED = "measure", "views", "transfer", "projected"
"""The folders of results in ``out``."""

_CACHE = "SOLO_INVARIANCE_CACHE"
_WHAT = "evaluation"


class Step(NamedTuple):
    """A part of the evaluation: of one backbone, on one task or set of images.

    Attributes:
        folder: Where its result goes, which says what is done: ``measure``, ``views``, ``transfer`` or ``projected``.
        of: The view set or the task.
        instance: The backbone.
    """

    folder: str
    of: str
    instance: Instance


def evaluate(plan: Plan, progress: Progress) -> list[Runs]:
    """Measure and score what is not there yet; return where all results are.

    On a CPU, as many processes as ``devices`` says share the work, and the features, each of which is computed once.

    Args:
        plan: Of the study.
        progress: Told how far the work is.

    Raises:
        UserError: A pre-training is not done, or something cannot be measured or scored.
    """
    checkpoints_of(plan)
    steps = steps_of(plan)
    is_cpu = choose_device(plan.settings.device).type == "cpu"
    bar = _Bar(len(steps), progress)
    with _features_in(plan.out, plan.settings.cache):
        count = processes_of(plan.settings, len(steps)) if is_cpu else 1
        do_jobs(plan, _do, steps, count, {step: bar.of(step) for step in steps})
    return [runs_of(plan, instance) for instance in plan.instances]


def require_own_results(plan: Plan) -> None:
    """Raise UserError where ``out`` has results of other settings: the first that is there of each kind is done again.

    Results of backbones that are not there with these settings are of others.

    Args:
        plan: Of the study; its pre-trainings need not be done.
    """
    done = {one: path for one in plan.pretrainings if (path := checkpoint_of(plan, one)) is not None}
    evaluation, looked_at = Evaluation(plan, done), set[tuple[str, str]]()

    def can_be_built(part: Pretraining) -> bool:
        is_untrained = plan.roles[part.arm] == "untrained"
        return any(one in done for one in plan.alike(part)) if is_untrained else part in done

    with _features_in(plan.out, plan.settings.cache), one_thread(plan.settings):
        for step in steps_of(plan):
            if not _result_of(plan, step).is_file():
                continue
            gone = next((part for part in plan.parts(step.instance) if not can_be_built(part)), None)
            if gone is not None:
                raise UserError(
                    f"out={plan.out}: holds results of {label_of(step.instance)}, and no {gone.job} as it is set now; "
                    f"choose another out, or remove it"
                )
            if (step.folder, step.of) not in looked_at:
                looked_at.add((step.folder, step.of))
                evaluation.do(step, no_progress)


def steps_of(plan: Plan) -> list[Step]:
    """Return all parts of the evaluation: task by task, since each holds its images, and members before fusions."""
    measured = [one for one in plan.instances if is_measured(plan, one)]
    return [
        *(Step(folder, label, instance) for folder, label in _measurements(plan) for instance in measured),
        *(
            Step(folder, str(task.label or task.name), instance)
            for task in plan.tasks
            for instance in plan.instances
            for folder in (TRANSFER, PROJECTED)
        ),
    ]


def _measurements(plan: Plan) -> list[tuple[str, str]]:
    """Return where each measurement of a backbone goes, and which view set of files it is of, if of one."""
    how = plan.settings.study.measure
    of_images = bool(how.transforms) or any(isinstance(entry, str) for entry in how.views)
    return [*[(MEASURE, "")] * of_images, *((VIEWS, label) for label in view_sets_of(how.views))]


class _Bar:
    """Progress over the parts of an evaluation."""

    def __init__(self, steps: int, progress: Progress) -> None:
        self._progress = progress
        self._total = steps
        self._done = 0

    def of(self, step: Step) -> Progress:
        """Return the progress of one, which says of itself when it is done, and what it is at."""
        named = f"{label_of(step.instance)}: {' '.join(filter(None, (step.folder, step.of)))}"

        def report(what: str, done: int, total: int) -> None:
            self._done += not str(what)  # all of it is done
            self._progress(Doing(_WHAT, f"{named} {what}".rstrip()), self._done, self._total)

        return report


@lru_cache(maxsize=1)
def _evaluation(plan: Plan) -> "Evaluation":
    return Evaluation(plan, checkpoints_of(plan))


def _do(plan: Plan, step: Step, progress: Progress) -> None:
    _evaluation(plan).do(step, progress)


class Evaluation:
    """What is measured and scored, and where that goes.

    Args:
        plan: Of the study.
        checkpoints: Of its pre-trainings.
    """

    def __init__(self, plan: Plan, checkpoints: Mapping[Pretraining, Path]) -> None:
        self.plan = plan
        self.preset = plan.settings.study
        self.device = str(choose_device(plan.settings.device))
        self.images = StudyImages(self.preset)
        self.backbones = StudyBackbones(plan, checkpoints, self.images, self.device)
        self._tasks = {str(task.label or task.name): task for task in plan.tasks}

    def do(self, step: Step, progress: Progress) -> None:
        """Do a part, or find that it is done."""
        if step.folder in (TRANSFER, PROJECTED):
            of = self.backbones.of if step.folder == TRANSFER else self.backbones.projected
            self._transfer(of(step.instance), step, progress)
            return
        backbone = self.backbones.of(step.instance)
        geometry = ResizeCrop.of_input(backbone.input_spec)
        images = self.images
        what = images.views_to_measure(step.of, geometry) if step.of else images.to_measure(geometry)
        self._measure(backbone, what, step, progress)

    def _measure(self, backbone: Backbone, what: ToMeasure, step: Step, progress: Progress) -> None:
        settings, out = self._measure_settings, _place(self.plan, step)
        transforms = [] if what.images is None else self.preset.measure.transforms
        # What results say of the images; sources that were rendered before cannot say it themselves.
        config = config_of_arguments(
            settings.with_geometry(ResizeCrop.of_input(backbone.input_spec)),
            backbone=backbone,
            images=what.data,
            reference=None,
            transforms=transforms,
            views=[*what.views],
            metrics=MeasureConfig().metrics,
            twin=False,
            against=None,
            out=out,
            device=self.device,
            devices=1,
        )
        measure(
            backbone,
            what.images,
            transforms,
            settings,
            views=what.views or None,
            reference=what.reference,
            out=out,
            device=self.device,
            progress=progress,
            config=config,
        )

    @property
    def _measure_settings(self) -> MeasureSettings:
        how, settings = self.preset.measure, MeasureSettings()
        return replace(
            settings,
            protocol=how.protocol.value,
            budget=how.budget.value,
            k=how.k,
            num_images=how.num_images,
            target_se=how.target_se,
            matched_width=how.matched_width,
            batch_size=self.plan.settings.batch_size,
            reading=replace(settings.reading, num_workers=self.plan.settings.num_workers),
            seed=how.seed,
        )

    def _transfer(self, backbone: Backbone, step: Step, progress: Progress) -> None:
        how, settings = self.preset.transfer, self.plan.settings
        transfer(
            backbone,
            [self._kept(step.of)],
            TransferSettings(
                protocol=how.protocol.value,
                folds=how.folds,
                seed=how.seed,
                batch_size=settings.batch_size,
                num_workers=settings.num_workers,
            ),
            out=_place(self.plan, step),
            device=self.device,
            progress=progress,
        )

    @lru_cache(maxsize=1)  # noqa: B019 (the images of one task at a time)
    def _kept(self, task: str) -> KeptTask:
        return KeptTask(self._tasks[task], folder=task)


def runs_of(plan: Plan, instance: Instance) -> Runs:
    """Return where the results of an instance are."""
    measured = [Step(folder, label, instance) for folder, label in _measurements(plan)]
    tasks = [str(task.label or task.name) for task in plan.tasks]
    return Runs(
        instance,
        tuple(_place(plan, step) for step in measured if is_measured(plan, instance)),
        tuple(_place(plan, Step(TRANSFER, task, instance)) / task for task in tasks),
        tuple(_place(plan, Step(PROJECTED, task, instance)) / task for task in tasks),
    )


def checkpoints_of(plan: Plan) -> dict[Pretraining, Path]:
    """Return the checkpoints of all pre-trainings.

    Raises:
        UserError: One is not done.
    """
    found = {one: checkpoint_of(plan, one) for one in plan.pretrainings}
    for one, path in found.items():
        if path is None:
            raise UserError(f"only={EVALUATION}: {one.job} is not done; leave `only` out, or run only={one.job} first")
    return {one: path for one, path in found.items() if path is not None}


def is_measured(plan: Plan, instance: Instance) -> bool:
    """Whether invariances are measured: those of ensembles, which are controls of tasks, would cost most of all."""
    return plan.roles[instance.arm] != "ensemble"


def _place(plan: Plan, step: Step) -> Path:
    within = Path(step.folder, step.of) if step.folder == VIEWS else Path(step.folder)
    return plan.out / within / step.instance.arm / seeds_in_words(step.instance)


def _result_of(plan: Plan, step: Step) -> Path:
    """Return the file that a part of the evaluation ends with."""
    is_scored = step.folder in (TRANSFER, PROJECTED)
    place = _place(plan, step) / step.of if is_scored else _place(plan, step)
    return place / (TransferResult if is_scored else InvarianceResult).usual_name


@contextmanager
def _features_in(out: Path, kept: bool) -> Iterator[None]:
    """Keep features in the cache; where there is none, in ``out`` until all is done."""
    if kept and FeatureCache.default() is not None:
        yield
        return
    folder, before = out / ".features", os.environ.get(_CACHE)
    os.environ[_CACHE] = str(folder)
    try:
        yield
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        if before is None:
            del os.environ[_CACHE]
        else:
            os.environ[_CACHE] = before
