"""All numbers of a report as text, where they are too many for a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping

from solo_invariance.report.collect import Results, Row
from solo_invariance.results import Estimate

_OF = ("backbone", "kind", "of")
_ENDS = ("low", "high")


def all_numbers(results: Results) -> str:
    """Return every mean with the ends of its 95 % interval as comma-separated values with a header.

    A line is a backbone and a change or a task, and has three columns for each quantity; they are empty where it was
    not measured. Of a task, the quantity is the metric and the probe.
    """
    lines = [((row.label, kind, name), found) for row in results.rows for kind, name, found in _measured(row)]
    quantities = list(dict.fromkeys(quantity for _, found in lines for quantity in found))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [*_OF, *(name for quantity in quantities for name in (quantity, *(f"{quantity} {end}" for end in _ENDS)))]
    )
    for of, found in lines:
        writer.writerow([*of, *(number for quantity in quantities for number in _numbers(found.get(quantity)))])
    return text.getvalue()


def _measured(row: Row) -> Iterator[tuple[str, str, Mapping[str, Estimate]]]:
    for name, measured in {**row.transforms, **row.views}.items():
        yield measured.kind, name, measured.metrics
    for name, of_features in row.health.items():
        yield "features", name, {"value": of_features}
    for result in row.transfer:
        yield "task", result.task, {f"{result.metric} by {result.probe}": result.score}


def _numbers(estimate: Estimate | None) -> tuple[str, ...]:
    if estimate is None:
        return "", "", ""
    return tuple(f"{value:.4g}" for value in (estimate.mean, estimate.low, estimate.high))
