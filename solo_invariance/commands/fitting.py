"""What a fusion is fitted to and chosen by: reference images, and a task's training images."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.table import Column, Table
from torch import Tensor

from solo_invariance.backbones import Backbone
from solo_invariance.commands.terminal import console
from solo_invariance.config.fuse import FuseConfig
from solo_invariance.data.images import (
    ImageFiles,
    ImageSource,
    KnownImages,
    SelectedImages,
    TensorImages,
)
from solo_invariance.data.latent_scenes.dataset import LatentScenes
from solo_invariance.errors import UserError
from solo_invariance.features import ExtractionSettings, FeatureCache, digests_of, member_features
from solo_invariance.fuse.select import Step, forward_selection
from solo_invariance.progress import Progress
from solo_invariance.transfer.probes.member_weights import choose_member_weights
from solo_invariance.transfer.task_data import TaskData, load_task

# A ridge regression decides, of class indicators where there are classes: a hundred are fitted in a second.
SELECTION_METRICS = {"classification": "accuracy", "multilabel": "mean_average_precision", "regression": "r2"}


class FusionImages:
    """Features of the images that a configuration names, of all members.

    Args:
        settings: See there.
        members: On the device to compute on.
        progress: Told how far the work is.
    """

    def __init__(self, settings: FuseConfig, members: Sequence[Backbone], progress: Progress) -> None:
        self.settings = settings
        self.members = members
        self._progress = progress
        self._crop_size = max(member.input_spec.crop_size for member in members)

    def of(self, chosen: Sequence[int]) -> "FusionImages":
        """Return the images of some of the members, in the size that these want."""
        return FusionImages(self.settings, [self.members[index] for index in chosen], self._progress)

    @property
    def labels(self) -> list[str]:
        """What the members are called."""
        return [member.provenance.label for member in self.members]

    @cached_property
    def task(self) -> TaskData | None:
        """The task that decides, if there is one."""
        config = self.settings.task
        return None if config.name is None else load_task(config, self._crop_size, "clean", self.settings.num_workers)

    def required_task(self) -> TaskData:
        """Return the task.

        Raises:
            UserError: There is none.
        """
        if self.task is None:
            raise UserError(f"mode={self.settings.mode}: name the task that the members are chosen for, task.name=...")
        return self.task

    @cached_property
    def task_features(self) -> list[Tensor]:
        """Of the task's training images, (N, D_i) a member."""
        return self._features(self.required_task().known_images("train"), "training features")

    def reference(self) -> tuple[list[Tensor], frozenset[str]]:
        """Return the features of the reference images, and the digests of all images that were looked at.

        Raises:
            UserError: There are none, or images of the task's test are among them.
        """
        source = self._reference_source()
        if source is None:
            return self.task_features, frozenset(self.required_task().train_digests)
        known = digests_of(source, self.settings.num_workers)
        digests = frozenset(known)
        if self.task is not None:
            self.task.require_unseen(digests, "the fusion is fitted to")
            digests |= frozenset(self.task.train_digests)
        return self._features(KnownImages(source, known), "reference features"), digests

    def _reference_source(self) -> ImageSource | None:
        reference = self.settings.reference
        if reference.path is not None and reference.name is not None:
            raise UserError("reference.path and reference.name are both set: choose one")
        if reference.path is not None:
            files = ImageFiles(Path(reference.path))
            drawn = torch.randperm(len(files), generator=torch.Generator().manual_seed(self.settings.seed))
            return SelectedImages(files, drawn[: reference.num_images].sort().values.tolist())
        if reference.name == "latent_scenes":
            return TensorImages(LatentScenes(reference.num_images).images, name="latent_scenes image")
        if reference.name is not None:
            raise UserError(f"reference.name={reference.name}: latent_scenes is the only one")
        if self.task is None:
            raise UserError(
                f"mode={self.settings.mode} is fitted to images: name them, reference.path=FOLDER or task.name=..."
            )
        return None

    def _features(self, source: ImageSource, what: str) -> list[Tensor]:
        extraction = ExtractionSettings(self.settings.batch_size, self.settings.num_workers)
        cache = FeatureCache.default() if self.settings.cache else None
        return member_features(self.members, source, self._crop_size, extraction, cache, self._progress, what)


def choose_members(images: FusionImages) -> tuple[list[int], dict[str, Any]]:
    """Choose members for the task by forward selection, print what each brought and return them with a record.

    Raises:
        UserError: There is no task, or the members cannot be fused to the width.
    """
    settings, task = images.settings, images.required_task()

    def score(features: Tensor) -> float:
        scale = features.double().std(dim=0)  # which the fusion gave them, and the probe is to leave
        found = choose_member_weights(
            [features],
            task.train.targets,
            task.task.kind,
            folds=settings.folds,
            seed=settings.seed,
            feature_weights=scale,
            by_accuracy=True,
        )
        return found.cv_score

    try:
        steps = forward_selection(images.task_features, score, settings.width, settings.max_members)
    except ValueError as error:
        raise UserError(f"mode=auto: {error}") from error
    _print_steps(steps, images, task)
    chosen = [step.member for step in steps if step.accepted]
    return chosen, {**_about(images), "chosen": chosen, "steps": [_as_dict(step, images) for step in steps]}


def _about(images: FusionImages) -> dict[str, Any]:
    """Return what both kinds of choice say of what they rest on."""
    task = images.required_task()
    return {
        "task": task.label,
        "num_train": len(task.train.images),
        "folds": images.settings.folds,
        "width": images.settings.width,
        "labels": images.labels,
    }


def _as_dict(step: Step, images: FusionImages) -> dict[str, Any]:
    return {
        "member": step.member,
        "label": images.labels[step.member],
        "metric": SELECTION_METRICS[images.required_task().task.kind],
        "score": step.score,
        "gain": step.gain,
        "accepted": step.accepted,
        "candidates": {images.settings.members[index]: value for index, value in step.candidates.items()},
    }


def _print_steps(steps: Sequence[Step], images: FusionImages, task: TaskData) -> None:
    console.print(f"forward selection on {task.label}, {images.settings.folds}-fold cross-validation")
    table = Table("member", Column(f"{SELECTION_METRICS[task.task.kind]} with it", justify="right"))
    table.add_column("gain", justify="right")
    table.add_column("")
    for step in steps:
        gain = f"{step.gain:+.4f}" if step is not steps[0] else ""
        table.add_row(images.labels[step.member], f"{step.score:.4f}", gain, "added" if step.accepted else "left out")
    console.print(table)


def choose_weights(images: FusionImages) -> tuple[list[float], dict[str, Any]]:
    """Choose the members' weights for the task, print and return them with a record.

    Raises:
        UserError: The features or targets do not allow it.
    """
    settings, task = images.settings, images.required_task()
    try:
        found = choose_member_weights(
            images.task_features, task.train.targets, task.task.kind, folds=settings.folds, seed=settings.seed
        )
    except ValueError as error:
        raise UserError(f"mode=weighted: {error}") from error
    weights = found.weights.tolist()
    console.print(f"weights chosen on {task.label}, {settings.folds}-fold cross-validation")
    table = Table("member", Column("weight", justify="right"))
    for label, weight in zip(images.labels, weights, strict=True):
        table.add_row(label, f"{weight:.3g}")
    console.print(table)
    metric = "mean_average_precision" if task.task.kind == "multilabel" else "r2"
    return weights, {**_about(images), "weights": weights, "metric": metric, "score": found.cv_score}
