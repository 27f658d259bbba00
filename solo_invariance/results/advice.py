"""``advice.json``: which family of augmentations a task wants to be pre-trained with."""

from typing import ClassVar

from pydantic import Field

from solo_invariance.results.document import Finite, Record, Text, Whole
from solo_invariance.results.estimate import Estimate, Interval
from solo_invariance.results.result import Result
from solo_invariance.results.targets import TargetsRecord

ADVICE_FILE = "advice.json"


class TrainedRecord(Record):
    """Backbones of one family that were scored on the task.

    Args:
        mean: Of their scores.
        deviation: The scores' standard deviation over the backbones, which differ in their seeds; 0 of one.
        scores: Of each.
    """

    mean: Finite
    deviation: Finite
    scores: tuple[Finite, ...]


class AssociationRecord(Record):
    """How scores on the task go with an invariance, over backbones.

    Args:
        rho: Spearman's rank correlation.
        p: Two-sided, of no correlation; among other families, where there are several seeds of some.
        num_backbones: That have both.
        ci95: Its 95 % interval, where there are families enough for one.
    """

    rho: Finite
    p: Finite
    num_backbones: Whole
    ci95: Interval | None = None


class EffectRecord(Record):
    """What a change of the images does to the task.

    Args:
        strength: The part of the features' variance that it changes, in [0, 1].
        change: Of the predictions of a probe of images as they are: the share of images that get another class, of
            labels that turn; of numbers, the mean squared change by twice the targets' variance.
        cost: How much of the score is lost where changed images are all that is seen, in training and in the test.
        gain: How much the score rises where features are kept that views share, in place of as many that hold most of
            the variance.
    """

    strength: Finite
    change: Estimate
    cost: Estimate
    gain: Estimate


class FamilyAdvice(Record):
    """A family's place in the ranking.

    Args:
        name: The family's.
        first: The share of resamples in which it comes first.
        place: Its mean place in them, from 1.
        safe: The share in which it costs nothing; None where the data say nothing.
        evidence: What its place is from: ``data`` or ``backbones``.
        effect: What its views do to the task; None where the data say nothing.
        backbones: That were trained with it, where there are any.
    """

    name: Text
    first: Finite
    place: Finite
    safe: Finite | None = None
    evidence: Text
    effect: EffectRecord | None = None
    backbones: TrainedRecord | None = None


class TransformAdvice(Record):
    """What a synthetic transform does to the task.

    Args:
        name: The transform's.
        kind: ``spatial`` or ``appearance``.
        effect: On the task; None where the data say nothing.
        association: Of backbones' invariance to it with their scores, where at least six have both.
    """

    name: Text
    kind: Text
    effect: EffectRecord | None = None
    association: AssociationRecord | None = None


class AdviseResult(Result):
    """One ``advice.json``; ``label`` and ``backbone`` are of the network whose frozen features were read.

    Args:
        task: Its name.
        metric: Of all scores.
        targets: What is to be predicted.
        num_train: How many images probes were fitted to.
        num_test: How many images they were scored on.
        test_images: A hash of which they were.
        score: Of images as they are.
        chance: The score of a prediction that is the same whatever the image.
        learnt: Whether the score is beyond chance: if not, the data say nothing of invariances.
        verdict: ``recommended``, ``undecided`` or ``no advice``.
        recommended: The family to pre-train with; several of them where it is undecided between these.
        families: In the order in which they are recommended.
        transforms: Spatial ones, then those of appearance.
        remarks: Sentences on what is to be kept in mind.
    """

    kind: ClassVar[str] = "advice"
    usual_name: ClassVar[str] = ADVICE_FILE

    task: Text
    metric: Text
    targets: TargetsRecord
    num_train: Whole = Field(repr=False)
    num_test: Whole = Field(repr=False)
    test_images: Text = Field(repr=False)
    score: Estimate
    chance: Finite
    learnt: bool
    verdict: Text
    recommended: tuple[Text, ...]
    families: tuple[FamilyAdvice, ...] = Field(repr=False)
    transforms: tuple[TransformAdvice, ...] = Field(default=(), repr=False)
    remarks: tuple[Text, ...] = Field(default=(), repr=False)

    def numbers(self) -> dict[str, float]:
        """Return the score, and how often each family is first: ``score``, ``first.NAME``, ..."""
        first = {f"first.{one.name}": one.first for one in self.families}
        return {"score": self.score.mean, **first, **super().numbers()}
