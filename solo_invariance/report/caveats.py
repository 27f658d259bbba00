"""Reasons not to take the differences in a report at face value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from solo_invariance.report.collect import Results
from solo_invariance.report.grids import (
    comparable_similarity,
    kinds_of,
    measurements,
    of_group,
    shared_means,
    task_column,
    transfer_grid,
)
from solo_invariance.report.leaders import enumerated
from solo_invariance.results import InvarianceResult, Result
from solo_invariance.results.invariance import widths_caution

INVARIANCE_SETTINGS = {"protocol": "protocol", "num_images": "number of images", "k": "number of parameters"}
TRANSFER_SETTINGS = {
    "protocol": "protocol",
    "probe": "probe",
    "num_train": "number of training images",
    "num_test": "number of test images",
    "test_images": "set of test images",
}

_VALUES = 5

Labelled = Sequence[tuple[str, Result]]


def caveats(results: Results) -> list[str]:
    """Settings that differ between results, what results caution against, and averages for which nothing is shared."""
    measured = [(row.label, result) for row in results.rows for result in row.invariance]
    found = list(_differences(measured, INVARIANCE_SETTINGS, "the invariance results"))
    for column in transfer_grid(results).columns:
        scored = [
            (row.label, result) for row in results.rows for result in row.transfer if task_column(result) == column
        ]
        found += _differences(scored, TRANSFER_SETTINGS, f"the results on {column.title}")
    found += _cautions(measured)
    widths = widths_caution([result for _, result in measured])
    return [*dict.fromkeys(found), *([widths] if widths else []), *_nothing_shared(results)]


def _differences(results: Labelled, settings: dict[str, str], where: str) -> Iterable[str]:
    for key, name in settings.items():
        labels: dict[str, list[str]] = {}
        for label, result in results:
            labels.setdefault(str(getattr(result, key)), []).append(label)
        if len(labels) > 1:
            values = [f"{value[:12]}: {_named(of_value)}" for value, of_value in islice(labels.items(), _VALUES)]
            values += [f"{len(labels) - _VALUES} other values"] if len(labels) > _VALUES else []
            yield f"The {name} differs between {where} ({'; '.join(values)})."


def _cautions(measured: Sequence[tuple[str, InvarianceResult]]) -> Iterable[str]:
    """Yield what results caution against, once for all backbones of which the same is said."""
    labels: dict[str, list[str]] = {}
    for label, result in measured:
        for caution in result.cautions:
            labels.setdefault(caution, []).append(label)
    return (f"{_named(of_caution)}: {caution}" for caution, of_caution in labels.items())


def _named(labels: Iterable[str]) -> str:
    return enumerated(list(dict.fromkeys(labels)))


def _nothing_shared(results: Results) -> Iterable[str]:
    quantity = comparable_similarity(results.rows)
    for kind in kinds_of(results.rows):
        measured = [of_group(measurements(row, quantity), kind) for row in results.rows]
        if any(measured) and shared_means(measured).num_columns == 0:
            yield f"No {kind} transform was measured for every backbone, so their averages are not compared."
    grid = transfer_grid(results)
    if grid.rows and not grid.shared:
        yield "No task was scored for every backbone, so they are not ranked."
