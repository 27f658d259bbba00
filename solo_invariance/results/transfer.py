"""``transfer.json``: how well a probe on a backbone's features does on a task."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from solo_invariance.results.document import Finite, Text, Whole
from solo_invariance.results.estimate import Estimate, Interval
from solo_invariance.results.result import Result
from solo_invariance.results.targets import TargetsRecord

TRANSFER_FILE = "transfer.json"


class TransferResult(Result):
    """One ``transfer.json``: the test score of a probe on one task; a larger score is better.

    Args:
        task: Its name.
        metric: Of the score.
        mean_score: The score itself, ``score`` in the file.
        ci95: Its 95 % interval.
        penalty: That was chosen by cross-validation, where the probe has one.
        folds: Of the cross-validation.
        probe: Its kind.
        num_train: How many images it was fitted to.
        num_test: How many images it was scored on.
        protocol: ``paper`` or ``clean``, where the file says it.
        test_images: A hash of which they were, where the file says it.
        split: Which parts of one's own data are ``train`` and ``test``, where that was found out.
        overlap: How many images are both for training and for the test.
        targets: What was to be predicted, where the file says it.
        chance: The score of a prediction that is the same whatever the image, where the file says it.
        outputs: R^2 of each of several numbers that are predicted, by its name, where the file says it.
        details: How the fit came about.
    """

    kind: ClassVar[str] = "transfer"
    usual_name: ClassVar[str] = TRANSFER_FILE

    task: Text
    metric: Text
    mean_score: Finite = Field(alias="score")
    ci95: Interval
    penalty: Finite | None = Field(default=None, repr=False)
    folds: Whole = Field(repr=False)
    probe: Text
    num_train: Whole = Field(repr=False)
    num_test: Whole = Field(repr=False)
    protocol: Text | None = None
    test_images: Text | None = Field(default=None, repr=False)
    split: Mapping[str, Text] | None = Field(default=None, repr=False)
    overlap: Whole | None = Field(default=None, repr=False)
    targets: TargetsRecord | None = None
    chance: Finite | None = Field(default=None, repr=False)
    outputs: Mapping[str, Finite] = Field(default_factory=dict, repr=False)
    details: Mapping[str, Any] = Field(default_factory=dict, repr=False)

    def numbers(self) -> dict[str, float]:
        """Return the score and others by the names that ``objective`` calls them: ``score``, ``outputs.NAME``, ..."""
        outputs = {f"outputs.{name}": value for name, value in self.outputs.items()}
        return {"score": self.mean_score, **outputs, **super().numbers()}

    @property
    def penalty_is_at_an_edge(self) -> bool:
        """Whether the chosen penalty is the smallest or the largest of those tried: a better one may lie beyond."""
        ends = [self.details.get(f"{end}_penalty") for end in ("smallest", "largest")]
        return self.penalty is not None and self.penalty in ends

    @property
    def score(self) -> Estimate:
        """The score with its interval."""
        return Estimate(mean=self.mean_score, ci95=self.ci95)

    @property
    def chance_level(self) -> float | None:
        """What a prediction that is the same for all images scores; of files that do not say it, as far as is known."""
        if self.chance is not None or self.metric == "r2":
            return self.chance or 0.0
        if self.metric in ("accuracy", "mean_per_class_accuracy") and self.targets is not None:
            return 1 / self.targets.count if self.targets.kind == "classification" and self.targets.count else None
        ways = self.details.get("ways")
        return 1 / ways if isinstance(ways, int) and ways > 0 and self.metric.endswith("_shot_accuracy") else None
