"""``study.json``: what a study found, claim by claim, with all of its numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from solo_invariance.results.document import Document, Finite, Record, Text, Whole
from solo_invariance.results.estimate import Interval
from solo_invariance.results.files import write_json

STUDY_FILE = "study.json"

_WIDTH = 120  # of a line, since there are thousands of numbers

Verdict = Literal["holds", "does not hold", "undecided"]


class SeedEffect(Record):
    """A claim's number of one seed.

    Args:
        seed: Which.
        effect: In the claim's unit; of ensembles, whose seeds overlap, and against the best single arm, which other
            seeds choose, the jackknife's pseudo-value: by how much the seed moves the mean, no number of it alone.
    """

    seed: Whole
    effect: Finite


class Effect(Record):
    """A number over seeds.

    Args:
        effect: The mean over seeds; above 0 speaks for the claim. None where it was not measured.
        ci95: Its 95 % interval over seeds, by Student's distribution; None of one seed.
        images_ci95: The 95 % interval over test images, of these seeds.
        num_seeds: How many seeds it is of.
        seeds: The number of each seed, where it is known.
    """

    effect: Finite | None = None
    ci95: Interval | None = None
    images_ci95: Interval | None = None
    num_seeds: Whole = 0
    seeds: tuple[SeedEffect, ...] = ()


class JudgedPart(Effect):
    """One quantity of a claim's, which has no verdict of its own.

    Args:
        name: ``invariance/hue``, ``score/position``, ...
        unit: Of the effect.
    """

    name: Text
    unit: Text


class JudgedClaim(Effect):
    """A claim with its verdict.

    Args:
        name: By which it is known.
        finding: Which of the paper's findings it is a part of.
        says: The claim as a sentence.
        of: Quantities, or kinds of them, whose mean is compared.
        arm: The arm that is claimed to have more.
        against: The arms, the mean of which is claimed to be less.
        between: Two quantities whose rank correlation over arms is claimed to be as ``expect`` says.
        expect: ``positive`` or ``negative``, where that is claimed.
        over: The arms that a correlation is over, or of which the best single one is.
        unit: Of the effect: ``similarity``, a metric, ``ranks`` (better), or ``rho`` (in the expected direction).
        smallest: The smallest effect that would matter.
        verdict: What comes out of it.
        why: What makes it undecided, or what else is to be known; a sentence, or empty.
        p: Of no effect, two-sided, by Student's distribution.
        p_holm: That the effect is not above 0, when all claims are counted (Holm): up to 0.05 it is, and the claim
            holds unless the effect is surely smaller than the smallest, too.
        holm_interval: The interval when all claims are counted, by which the verdict is given.
        p_orders: Of a correlation: the share of orders of the arms that correlate as much in the expected direction.
            That of few arms is large whatever the seeds say.
        parts: Each quantity of its own.
    """

    name: Text
    finding: Text
    says: Text
    of: tuple[Text, ...] = ()
    arm: Text | None = None
    against: tuple[Text, ...] = ()
    between: tuple[Text, ...] = ()
    expect: Literal["positive", "negative"] | None = None
    over: tuple[Text, ...] = ()
    unit: Text
    smallest: Finite
    verdict: Verdict
    why: str = ""
    p: Finite | None = None
    p_holm: Finite | None = None
    holm_interval: Interval | None = None
    p_orders: Finite | None = None
    parts: tuple[JudgedPart, ...] = ()


class StudyArm(Record):
    """What was trained, or made of what was trained, by several seeds.

    Args:
        role: ``trained``, ``untrained``, ``wide``, ``shaped``, ``fusion`` or ``ensemble``.
        family: Of the augmentations; None of what was not trained, and of fusions.
        members: The arms that a shaped one, a fusion or an ensemble is of.
        num_features: D, the width of the features.
        seeds: Those of each instance.
    """

    role: Text
    family: Text | None = None
    members: tuple[Text, ...] = ()
    num_features: Whole | None = None
    seeds: tuple[tuple[Whole, ...], ...] = ()


class StudyQuantity(Record):
    """A number that each arm has.

    Args:
        unit: ``similarity``, or the metric of a score.
        kind: Of the change: ``spatial``, ``appearance`` or another; None of scores.
        num_images: Test images, or groups of views.
    """

    unit: Text
    kind: Text | None = None
    num_images: Whole | None = None


class StudyNumber(Record):
    """A quantity of one instance.

    Args:
        seeds: One, or those of an ensemble.
        value: The number.
        standard_error: Over test images.
    """

    seeds: tuple[Whole, ...]
    value: Finite
    standard_error: Finite | None = None


class StudyResult(Document):
    """One ``study.json``.

    Args:
        name: Of the preset.
        says: What the study is, a sentence.
        config: The command's whole configuration.
        versions: Of the packages that numbers depend on.
        seed: Of the draws of test images.
        timings: In seconds.
        machine: ``device``, ``cpu``, ``threads``, ...
        seeds: Of the study.
        arms: By name.
        quantities: By name.
        numbers: By arm and quantity, of each instance.
        claims: In the preset's order, with their verdicts.
        hours: By kind of job.
    """

    kind: ClassVar[str] = "study"
    usual_name: ClassVar[str] = STUDY_FILE

    name: Text
    says: str = ""
    config: Mapping[str, Any] = Field(repr=False)
    versions: Mapping[str, str] = Field(repr=False)
    seed: Whole
    timings: Mapping[str, Finite] = Field(default_factory=dict, repr=False)
    machine: Mapping[str, Any] = Field(default_factory=dict, repr=False)
    seeds: tuple[Whole, ...]
    arms: Mapping[str, StudyArm] = Field(repr=False)
    quantities: Mapping[str, StudyQuantity] = Field(repr=False)
    numbers: Mapping[str, Mapping[str, tuple[StudyNumber, ...]]] = Field(repr=False)
    claims: tuple[JudgedClaim, ...]
    hours: Mapping[str, Finite] = Field(default_factory=dict, repr=False)

    def write(self, path: Path | str) -> None:
        """Write the result as JSON, whole or not at all, with as much on a line as fits; directories are made.

        Raises:
            UserError: The file cannot be written, or a number that is not checked is not finite.
        """
        write_json(Path(path), self.as_content(), width=_WIDTH)

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict of each claim, by its name."""
        return {one.name: one.verdict for one in self.claims}
