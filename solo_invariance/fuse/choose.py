"""Choosing the members of a fusion, or their weights, for a task."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from solo_invariance.errors import UserError
from solo_invariance.fuse.images import FusionImages
from solo_invariance.fuse.select import Step, forward_selection
from solo_invariance.transfer.kinds import kind_named
from solo_invariance.transfer.probes.member_weights import choose_member_weights


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Args:
        record: The choice and what it rests on, as a fusion's record has it.
        members: The chosen members, by their indices.
        weights: The members' weights, where these were chosen.
    """

    record: dict[str, Any]
    members: list[int]
    weights: list[float] | None = None


def choose_members(images: FusionImages, names: list[str]) -> Choice:
    """Choose members for the task by forward selection.

    Args:
        images: With a task.
        names: What the candidates are called in the record, one a member.

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
    chosen = [step.member for step in steps if step.accepted]
    record = {**_about(images), "chosen": chosen, "steps": [_as_dict(step, images, names) for step in steps]}
    return Choice(record, chosen)


def choose_weights(images: FusionImages) -> Choice:
    """Choose the members' weights for the task.

    Args:
        images: With a task.

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
    weighed_by = kind_named(task.task.kind).weighting.name
    record = {**_about(images), "weights": weights, "metric": weighed_by, "score": found.cv_score}
    return Choice(record, list(range(len(images.members))), weights)


def _about(images: FusionImages) -> dict[str, Any]:
    """Return what both kinds of choice say of what they rest on."""
    task = images.required_task()
    return {
        "task": task.label,
        "num_train": len(task.train.images),
        "targets": task.targets.as_content(),
        "folds": images.settings.folds,
        "width": images.settings.width,
        "labels": images.labels,
    }


def _as_dict(step: Step, images: FusionImages, names: list[str]) -> dict[str, Any]:
    return {
        "member": step.member,
        "label": images.labels[step.member],
        "metric": kind_named(images.required_task().task.kind).selection_metric,
        "score": step.score,
        "gain": step.gain,
        "accepted": step.accepted,
        "candidates": {names[index]: value for index, value in step.candidates.items()},
    }
