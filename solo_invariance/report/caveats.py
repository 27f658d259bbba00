"""Reasons not to take the differences in a report at face value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from solo_invariance.report.collect import Results, Row
from solo_invariance.report.columns import task_column
from solo_invariance.report.grids import (
    comparable_similarity,
    kinds_of,
    measurements,
    of_group,
    shared_means,
    transfer_grid,
)
from solo_invariance.report.leaders import enumerated
from solo_invariance.report.notes import disagreements
from solo_invariance.report.paired import compared
from solo_invariance.report.scores import scored_tasks
from solo_invariance.results import InvarianceResult, Result
from solo_invariance.results.invariance import widths_caution

INVARIANCE_SETTINGS = {
    "protocol": "protocol",
    "num_images": "number of images",
    "k": "number of parameters",
    "geometry": "size of images and crops",
    "reference.fingerprint": "reference of mean and covariance",
}
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
    found += _different_images(results)
    found += _cautions(measured)
    found += compared(results).cautions
    found += [caution for task in scored_tasks(results).values() for caution in task.cautions]
    found += disagreements(results)
    widths = widths_caution([result for _, result in measured])
    return [*dict.fromkeys(found), *([widths] if widths else []), *_nothing_shared(results)]


def _differences(results: Labelled, settings: dict[str, str], where: str) -> Iterable[str]:
    for key, name in settings.items():
        labels: dict[str, list[str]] = {}
        for label, result in results:
            value = _value(result, key)
            if value is not None or "." not in key:
                labels.setdefault(_shown(value), []).append(label)
        if len(labels) > 1:
            yield f"The {name} differs between {where} ({_listed(labels)})."


def _value(result: object, key: str) -> object:
    for part in key.split("."):
        result = getattr(result, part, None)
    return result


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    return str(value)[:12]


def _listed(labels: Mapping[str, Sequence[str]]) -> str:
    values = [f"{value}: {_named(of_value)}" for value, of_value in islice(labels.items(), _VALUES)]
    return "; ".join(values + ([f"{len(labels) - _VALUES} other values"] if len(labels) > _VALUES else []))


def _different_images(results: Results) -> Iterable[str]:
    """Say where backbones were measured on different images, by what the images are called."""
    rows = {row.label: row for row in results.competitors if row.invariance}
    for (_, column), differences in compared(results).columns.items():
        sets = {label: number for label, number in differences.sets.items() if label in rows}
        if column.is_mean or len(set(sets.values())) < 2:
            continue
        labels: dict[str, list[str]] = {}
        for label, number in sets.items():
            labels.setdefault(f"{_images(rows[label], column.name)} (set {number + 1})", []).append(label)
        yield (
            f"The images differ between the invariance results ({_listed(labels)}): backbones are compared with those "
            f"of the same images only."
        )
        return


def _images(row: Row, change: str) -> str:
    data = row.sources[change].config.get("data")
    asked = (data.get("path"), data.get("name")) if isinstance(data, Mapping) else ()
    return next((str(one) for one in asked if one is not None), "images")


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
    for kind in kinds_of(results.competitors):
        measured = [of_group(measurements(row, quantity), kind) for row in results.competitors]
        if any(measured) and shared_means(measured).num_columns == 0:
            yield f"No {kind} transform was measured for every backbone, so their averages are not compared."
    grid = transfer_grid(results)
    if len([row for row in grid.rows if row.role == "backbone"]) > 1 and not grid.ranked:
        everyone = [column for column in grid.shared if scored_tasks(results)[column].competitors]
        if everyone:
            yield "No task was scored for every backbone on the same test images, so they are not ranked."
        elif grid.shared:
            yield "On no task that every backbone was scored on is one above chance, so they are not ranked."
        else:
            yield "No task was scored for every backbone, so they are not ranked."
