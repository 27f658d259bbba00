"""Measuring and scoring all backbones of a study in one process, which computes the features of each image once."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from solo_invariance.backbones import Backbone
from solo_invariance.config.measure import MeasureConfig
from solo_invariance.device import choose_device
from solo_invariance.features import FeatureCache
from solo_invariance.measure import MeasureSettings, ResizeCrop, measure
from solo_invariance.measure.record import config_of_arguments
from solo_invariance.progress import Doing, Progress
from solo_invariance.study.backbones import StudyBackbones
from solo_invariance.study.images import StudyImages, ToMeasure
from solo_invariance.study.instances import Instance, Runs
from solo_invariance.study.plan import Plan, Pretraining, label_of, seeds_in_words
from solo_invariance.transfer import TransferSettings, transfer
from solo_invariance.transfer.chosen_tasks import KeptTask

MEASURE, VIEWS, TRANSFER, PROJECTED = "measure", "views", "transfer", "projected"
"""The folders of results in ``out``."""

_CACHE = "SOLO_INVARIANCE_CACHE"
_WHAT = "evaluation"


class Step(NamedTuple):
    """A part of the evaluation: of one backbone, on one task or set of images.

    Attributes:
        what: It is, in a word.
        instance: The backbone.
        do: Does it, or finds that it is done.
    """

    what: str
    instance: Instance
    do: Callable[[Instance], None]


class Evaluation:
    """What is measured and scored, and where that goes.

    Args:
        plan: Of the study.
        checkpoints: Of all arms and seeds that are trained.
        progress: Told how far the work is.
    """

    def __init__(self, plan: Plan, checkpoints: Mapping[Pretraining, Path], progress: Progress) -> None:
        self.plan = plan
        self.preset = plan.settings.study
        self.device = str(choose_device(plan.settings.device))
        self.images = StudyImages(self.preset)
        self.backbones = StudyBackbones(plan, checkpoints, self.images, self.device)
        self.progress = progress

    def run(self) -> list[Runs]:
        """Measure and score what is not there yet; return where all results are."""
        with _features_in(self.plan.out, self.plan.settings.cache):
            steps = [*self._steps()]
            for number, step in enumerate(steps):
                self.progress(Doing(_WHAT, f"{label_of(step.instance)}: {step.what}"), number, len(steps))
                step.do(step.instance)
            self.progress(_WHAT, len(steps), len(steps))
        return [runs_of(self.plan, instance) for instance in self.plan.instances]

    def _steps(self) -> Iterator[Step]:
        measured = [one for one in self.plan.instances if is_measured(self.plan, one)]
        for instance in measured:
            yield Step("transforms and views", instance, self._measure)
        for label in self.images.view_sets:
            yield from (Step(label, instance, partial(self._measure_views, label)) for instance in measured)
        for task in self.plan.tasks:  # each holds its images, and lets go of them
            kept = KeptTask(task, folder=str(task.label or task.name))
            for instance in self.plan.instances:
                yield Step(kept.label, instance, partial(self._score, kept))
                yield Step(f"{kept.label}, projected", instance, partial(self._score_projected, kept))

    def _measure(self, instance: Instance) -> None:
        backbone = self.backbones.of(instance)
        self._run_measure(backbone, self.images.to_measure(_geometry(backbone)), instance, MEASURE)

    def _measure_views(self, label: str, instance: Instance) -> None:
        backbone = self.backbones.of(instance)
        views = self.images.views_to_measure(label, _geometry(backbone))
        self._run_measure(backbone, views, instance, f"{VIEWS}/{label}")

    def _run_measure(self, backbone: Backbone, what: ToMeasure, instance: Instance, folder: str) -> None:
        settings, out = self._measure_settings, _place(self.plan, folder, instance)
        transforms = [] if what.images is None else self.preset.measure.transforms
        # What results say of the images; sources that were rendered before cannot say it themselves.
        config = config_of_arguments(
            settings.with_geometry(_geometry(backbone)),
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
            progress=self._told(instance),
            config=config,
        )

    @property
    def _measure_settings(self) -> MeasureSettings:
        how, settings = self.preset.measure, MeasureSettings()
        return replace(
            settings,
            protocol=how.protocol.name,
            budget=how.budget.name,
            k=how.k,
            num_images=how.num_images,
            target_se=how.target_se,
            matched_width=how.matched_width,
            batch_size=self.plan.settings.batch_size,
            reading=replace(settings.reading, num_workers=self.plan.settings.num_workers),
            seed=how.seed,
        )

    def _score(self, task: KeptTask, instance: Instance) -> None:
        self._transfer(self.backbones.of(instance), task, TRANSFER, instance)

    def _score_projected(self, task: KeptTask, instance: Instance) -> None:
        self._transfer(self.backbones.projected(instance), task, PROJECTED, instance)

    def _transfer(self, backbone: Backbone, task: KeptTask, folder: str, instance: Instance) -> None:
        how, settings = self.preset.transfer, self.plan.settings
        transfer(
            backbone,
            [task],
            TransferSettings(
                protocol=how.protocol.name,
                folds=how.folds,
                seed=how.seed,
                batch_size=settings.batch_size,
                num_workers=settings.num_workers,
            ),
            out=_place(self.plan, folder, instance),
            device=self.device,
            progress=self._told(instance),
        )

    def _told(self, instance: Instance) -> Progress:
        return lambda what, done, total: self.progress(f"{label_of(instance)}: {what}", done, total)


def runs_of(plan: Plan, instance: Instance) -> Runs:
    """Return where the results of an instance are."""
    measured = [MEASURE, *(f"{VIEWS}/{label}" for label in StudyImages(plan.settings.study).view_sets)]
    tasks = [str(task.label or task.name) for task in plan.tasks]
    return Runs(
        instance,
        tuple(_place(plan, folder, instance) for folder in measured if is_measured(plan, instance)),
        tuple(_place(plan, TRANSFER, instance) / task for task in tasks),
        tuple(_place(plan, PROJECTED, instance) / task for task in tasks),
    )


def is_measured(plan: Plan, instance: Instance) -> bool:
    """Whether invariances are measured: those of ensembles, which are controls of tasks, would cost most of all."""
    return plan.roles[instance.arm] != "ensemble"


def _place(plan: Plan, folder: str, instance: Instance) -> Path:
    return plan.out / folder / instance.arm / seeds_in_words(instance)


def _geometry(backbone: Backbone) -> ResizeCrop:
    return ResizeCrop.of_input(backbone.input_spec)


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
