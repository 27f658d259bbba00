"""``comparison.json``: differences between two backbones, paired image by image."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from solo_invariance.results.document import Document, Finite, Record, Text, Whole
from solo_invariance.results.estimate import Estimate, Interval, Measured

COMPARISON_FILE = "comparison.json"


class OtherRun(Record):
    """The run that is compared with: what its backbone is called, and its directory."""

    label: Text
    out: str


class Comparison(Document):
    """What both kinds of comparison share: differences are those of ``label`` minus those of ``against``.

    Args:
        label: What the backbone is called.
        against: The other run.
        seed: Of the bootstrap.
    """

    usual_name: ClassVar[str] = COMPARISON_FILE

    label: Text
    against: OtherRun
    seed: Whole


class Difference(Measured):
    """The differences of the metrics of one transform or view set, paired on ``num_images`` images or groups."""

    num_images: Whole


class InvarianceComparison(Comparison):
    """Differences between two results of measuring.

    Args:
        health: Of the metrics of features, by name; paired where both are of the same reference images.
        transforms: By name.
        views: By the view set's name.
        cautions: Sentences on why a difference is not to be taken at face value, where there is a reason.
    """

    kind: ClassVar[str] = "comparison"

    health: Mapping[str, Estimate] = Field(default_factory=dict)
    transforms: Mapping[str, Difference] = Field(default_factory=dict)
    views: Mapping[str, Difference] = Field(default_factory=dict)
    cautions: tuple[Text, ...] = ()


class TransferComparison(Comparison):
    """The difference between two backbones' scores on one task.

    Args:
        task: Its name.
        metric: Of the scores.
        num_test: How many test images both were scored on.
        mean_difference: The difference itself, ``difference`` in the file.
        ci95: Its 95 % interval.
    """

    kind: ClassVar[str] = "transfer_comparison"

    task: Text
    metric: Text
    num_test: Whole
    mean_difference: Finite = Field(alias="difference")
    ci95: Interval

    @property
    def difference(self) -> Estimate:
        """The difference with its interval."""
        return Estimate(mean=self.mean_difference, ci95=self.ci95)
