"""The record beside a fused checkpoint: which members or weights were chosen for a task, and why."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from solo_invariance.results.document import Document, Finite, Record, Text, Whole
from solo_invariance.results.targets import TargetsRecord


class FusionStep(Record):
    """One step of forward selection.

    Args:
        member: The position among the members of what would help the most.
        label: What it is called.
        metric: Of the score.
        score: Of the fusion with it, by cross-validation.
        gain: Over the fusion without it; over 0 in the first step.
        accepted: Whether it was added.
        candidates: The score with each member that was tried.
    """

    member: Whole
    label: Text
    metric: Text
    score: Finite
    gain: Finite
    accepted: bool
    candidates: Mapping[str, Finite] = Field(repr=False)


class FusionResult(Document):
    """What was chosen for a fusion by a task's training images.

    Args:
        members: As they were named: texts, or mappings of keys as those of ``backbone``.
        mode: Of the fusion.
        task: Its name.
        num_train: How many training images decided.
        targets: What the task's targets are, where the file says it.
        folds: Of the cross-validation.
        width: Of the fused features, where it was bounded.
        labels: What the members are called.
        chosen: The positions of the members that were chosen, in that order; None where weights were.
        steps: How they were chosen; None where weights were.
        weights: Of the members; None where members were chosen.
        metric: Of the score of the weights.
        score: Of the weights, by cross-validation.
        seed: Of everything that is drawn.
        versions: Of the packages that numbers depend on.
    """

    kind: ClassVar[str] = "fuse"
    usual_name: ClassVar[str] = "fused.json"

    members: tuple[Any, ...]
    mode: Text
    task: Text
    num_train: Whole
    targets: TargetsRecord | None = None
    folds: Whole
    width: Whole | None = None
    labels: tuple[Text, ...] = Field(repr=False)
    chosen: tuple[Whole, ...] | None = None
    steps: tuple[FusionStep, ...] | None = Field(default=None, repr=False)
    weights: tuple[Finite, ...] | None = None
    metric: Text | None = None
    score: Finite | None = None
    seed: Whole
    versions: Mapping[str, str] = Field(repr=False)

    @property
    def best_score(self) -> float | None:
        """What the fusion scores by cross-validation: of the weights, or of the members that were added."""
        added = [step.score for step in self.steps or () if step.accepted]
        return added[-1] if added else self.score
