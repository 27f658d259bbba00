"""``invariance.json``: what a backbone became invariant to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationError, model_validator

from solo_invariance.results.document import Finite, Record, Text, Whole, explained, wrong
from solo_invariance.results.estimate import Estimate, Measured
from solo_invariance.results.result import Result

INVARIANCE_FILE = "invariance.json"


def _as_rows(parameters: Any) -> Any:
    """Make a row of each parameter, which files have as a number where it is one; off and on count as 0 and 1."""
    if not isinstance(parameters, list | tuple):
        return parameters
    numbers = (float(one) if isinstance(one, bool) else one for one in parameters)
    return [one if isinstance(one, list | tuple) else (one,) for one in numbers]


def _of_one_length(rows: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    if len({len(row) for row in rows}) != 1:
        raise wrong("a list of numbers, or of lists of the same length")
    return rows


def _as_written(rows: tuple[tuple[float, ...], ...]) -> list[Any]:
    return [row[0] if len(row) == 1 else list(row) for row in rows]


_Parameters = Annotated[
    tuple[tuple[Finite, ...], ...],
    BeforeValidator(_as_rows),
    AfterValidator(_of_one_length),
    PlainSerializer(_as_written),
]


class TransformResult(Measured):
    """Invariance to one synthetic transform: averages over its parameters, and curves over them.

    Args:
        unit: Of the parameters, such as degrees; empty where they have none.
        parameters: One row per step of the grid, as long as the transform has arguments.
        identity: Which step changes nothing, if one does.
        num_images: How many images were looked at, where the file says it.
        num_views: How many views of them.
        similarity: In [-1, 1]; 1 is invariant.
        width_matched_similarity: The same in a width that all backbones share, where the file has it.
        distance: In standard deviations of whitened features; 0 is invariant.
        similarity_without_identity: Over all other steps.
        unreadable: Images that were left out.
        target_reached: Whether the standard error is as small as was asked for, where it was.
    """

    unit: Annotated[str, BeforeValidator(lambda unit: "" if unit is None else unit)]
    parameters: _Parameters = Field(repr=False)
    identity: Whole | None = None
    num_images: Whole | None = None
    num_views: Whole | None = None
    similarity: Estimate
    width_matched_similarity: Estimate | None = None
    distance: Estimate
    similarity_without_identity: Estimate | None = None
    unreadable: tuple[str, ...] = ()
    target_reached: bool | None = None

    @property
    def curve(self) -> tuple[float, ...]:
        """The similarity at each parameter."""
        return self.similarity.curve or ()

    @model_validator(mode="after")
    def _fits_the_grid(self) -> "TransformResult":
        size = len(self.parameters)
        if len(self.curve) != size:
            raise wrong(f"a list of {size} numbers, one per parameter", "similarity", "curve")
        if self.identity is not None and not 0 <= self.identity < size:
            raise wrong(f"the index of a parameter (0 to {size - 1}) or null", "identity")
        return self


class ViewResult(Measured):
    """Invariance over one set of real views: ``num_groups`` things, each seen ``num_views`` times.

    Args:
        num_groups: How many things.
        num_views: How many views of one, at most.
        similarity: In [-1, 1]; 1 is invariant.
        width_matched_similarity: The same in a width that all backbones share, where the file has it.
        distance: In standard deviations of whitened features; 0 is invariant.
        unreadable: Images that were left out.
    """

    num_groups: Whole
    num_views: Whole
    similarity: Estimate
    width_matched_similarity: Estimate | None = None
    distance: Estimate
    unreadable: tuple[str, ...] = ()


def check_measured(content: Mapping[str, Any], file: Path) -> None:
    """Raise UserError unless a file holds what one transform or one view set gave; the message names file and key.

    Args:
        content: Of the file.
        file: For the message.
    """
    try:
        (ViewResult if "num_groups" in content else TransformResult).model_validate(content)
    except ValidationError as error:
        raise explained(error, content, file) from error


class ReferenceRecord(Record):
    """The images whose statistics whiten the features: how many, and how their covariance was estimated.

    Args:
        num_images: How many different ones count.
        num_files: How many there are, those that repeat included, where the file says it.
        shrinkage: How far the covariance is shrunk, in [0, 1].
        estimator: ``ridge``, ``oas`` in older files, or ``sample``.
        fingerprint: By which two runs' references are known to be the same, where the file says it.
        unreadable: Images that were left out.
    """

    num_images: Whole
    num_files: Whole | None = None
    shrinkage: Finite | None = None
    estimator: Text | None = None
    fingerprint: Text | None = None
    unreadable: tuple[str, ...] = ()


class ImagesRecord(Record):
    """The images that were measured on, all that there were to choose from.

    Args:
        fingerprint: A hash of all of them, in their order.
        known_by: Whether that is of their ``name``, below their folder, with the file's size, or of their ``content``.
    """

    fingerprint: Text
    known_by: Text


class InvarianceResult(Result):
    """One ``invariance.json``.

    Args:
        protocol: ``paper`` or ``clean``.
        budget: ``full`` or ``adaptive``, where the file says it.
        num_images: How many images were to be looked at.
        k: How many parameters of each transform an image is looked at with.
        matched_width: In how many dimensions the width-matched similarities are; older files have none.
        geometry: ``resize`` and ``crop_size`` in pixels, where the file says it.
        images: Which images were measured on, where the file says it.
        reference: The images whose statistics whiten the features, where the file says it.
        health: What the features of the reference images are like, where that was asked for: by the name of a metric,
            such as ``rankme``; intervals are of other images, as many.
        transforms: By name.
        views: By the view set's name.
        cautions: Sentences on why a number is not to be taken at face value, where there is a reason.
    """

    kind: ClassVar[str] = "invariance"
    usual_name: ClassVar[str] = INVARIANCE_FILE

    protocol: Text
    budget: Text | None = Field(default=None, repr=False)
    num_images: Whole
    k: Whole
    matched_width: Whole | None = Field(default=None, repr=False)
    geometry: Mapping[str, Whole] | None = Field(default=None, repr=False)
    images: ImagesRecord | None = Field(default=None, repr=False)
    reference: ReferenceRecord | None = Field(default=None, repr=False)
    health: Mapping[str, Estimate] = Field(default_factory=dict, repr=False)
    transforms: Mapping[str, TransformResult] = Field(default_factory=dict)
    views: Mapping[str, ViewResult] = Field(default_factory=dict)
    cautions: tuple[Text, ...] = Field(default=(), repr=False)

    def numbers(self) -> dict[str, float]:
        """Return every mean by the name that ``objective`` calls it.

        Returns:
            ``METRIC.NAME`` of transforms and view sets, ``METRIC.mean_KIND`` over the transforms of a kind that have
            the metric, ``METRIC.mean_KIND_views`` over view sets, ``health.METRIC``, ``num_features`` and ``seconds``.
        """
        found: dict[str, float] = {}
        of_kind: dict[str, list[float]] = {}
        measured: list[tuple[str, Mapping[str, Measured]]] = [("", self.transforms), ("_views", self.views)]
        for end, entries in measured:
            for name, one in entries.items():
                for metric, estimate in one.metrics.items():
                    found[f"{metric}.{name}"] = estimate.mean
                    of_kind.setdefault(f"{metric}.mean_{one.kind}{end}", []).append(estimate.mean)
        means = {name: sum(values) / len(values) for name, values in of_kind.items()}
        health = {f"health.{name}": one.mean for name, one in self.health.items()}
        return {**found, **means, **health, **super().numbers()}


def widths_caution(results: Sequence[InvarianceResult]) -> str | None:
    """Return why similarities and distances of backbones are not comparable as they stand: they differ in width.

    Returns:
        A sentence that says what is comparable, or how to have it; None where all have as many features.
    """
    widths = sorted({result.backbone.num_features for result in results})
    if len(widths) < 2:
        return None
    listed = f"{', '.join(map(str, widths[:-1]))} and {widths[-1]}"
    sentence = f"Backbones of {listed} features: similarity and distance depend on the width"
    matched = {result.matched_width for result in results}
    if len(matched) == 1 and None not in matched:
        return f"{sentence}, width-matched similarity does not."
    least = min(64, widths[0])
    return f"{sentence}, and there is no width-matched similarity of all: measure each with matched_width={least}."
