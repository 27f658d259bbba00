"""The record beside a shaped checkpoint: what was asked for, and what was reached."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from solo_invariance.results.document import Document, Finite, Record, Text, Whole
from solo_invariance.results.estimate import Estimate


class ShapedFactor(Record):
    """What shaping did to one factor, on images that nothing was fitted to.

    Args:
        kind: ``transform`` of images, or ``column`` of a table.
        levels: How many steps or values it has.
        share_before: Of the variance of the backbone's features, summed over them, the part that the factor makes.
        share_after: The same of the shaped features.
        readout_before: R² of a linear read-out of what tells the factor's levels apart; 0 is chance. None where there
            are too few images.
        readout_after: The same of the shaped features.
        taken_out: Of the variance that the factor makes, the part that is gone; negative where it grew.
        changed: How far features moved: mean squared distance, by their variance.
        missed: What was asked for and not reached, in words; None where it was reached.
    """

    kind: Text
    levels: Whole
    share_before: Finite
    share_after: Finite
    readout_before: Finite | None
    readout_after: Finite | None
    taken_out: Finite
    changed: Finite
    missed: Text | None = None


class ShapingResult(Document):
    """What shaping a backbone did.

    Args:
        backbone: The label of what was shaped.
        label: Of the shaped backbone.
        mode: By which it was shaped.
        options: Of the mode, with what was fitted.
        num_features: Width of the shaped features.
        passes_per_image: How many forward passes an image takes; more than 1 where features are averaged.
        num_images: How many images the shaper was fitted to; 0 where it is not fitted.
        num_held_out: How many others tell what was reached; 0 where no images were given.
        factors: What was asked for, by name.
        seed: Of everything that is drawn.
        versions: Of the packages that numbers depend on.
    """

    kind: ClassVar[str] = "shape"
    usual_name: ClassVar[str] = "shaped.json"

    backbone: Text
    label: Text
    mode: Text
    options: Mapping[str, Any]
    num_features: Whole
    passes_per_image: Whole
    num_images: Whole
    num_held_out: Whole
    factors: Mapping[str, ShapedFactor]
    seed: Whole
    versions: Mapping[str, str] = Field(repr=False)


class DialPoint(Record):
    """A backbone shaped by one strength: what it ignores, and what that costs.

    Args:
        strength: How much was asked for, from 0, which is the backbone as it was, to 1.
        directions: How many directions of the features stay.
        share: Of the variance of the features, the part that each transform that was asked for makes, by its name, on
            images that nothing was fitted to.
        similarity: Under each of these transforms; 1 is invariant.
        scores: On each task, by its name; higher is better.
    """

    strength: Finite
    directions: Whole
    share: Mapping[str, Finite]
    similarity: Mapping[str, Estimate]
    scores: Mapping[str, Estimate]


class DialCurve(Document):
    """One ``dial.json``: how a backbone goes from what it was to invariance, or the other way.

    Args:
        label: What the backbone is called.
        options: How it was shaped, but for the strength.
        points: In rising order of the strength.
        metrics: Of each task's score, by the task's name.
        seed: Of everything that is drawn.
        versions: Of the packages that numbers depend on.
    """

    kind: ClassVar[str] = "dial"
    usual_name: ClassVar[str] = "dial.json"

    label: Text
    options: Mapping[str, Any]
    points: tuple[DialPoint, ...]
    metrics: Mapping[str, Text]
    seed: Whole
    versions: Mapping[str, str] = Field(repr=False)
