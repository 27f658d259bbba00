"""The columns of a report's tables: changes and tasks, and what people call them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from solo_invariance.results import TransferResult

Quantity = Literal["similarity", "width_matched_similarity", "distance", "relative_distance"]
METRICS = {"r2": "R²"}
# The others are the usual ones for their tasks, or their metric says it.
PROBES = {"knn": "kNN", "kernel_ridge": "kernel ridge"}


@dataclass(frozen=True)
class Column:
    """One column: a transform, a view set or a task, in a group that shares a heading; ``note`` is its small print."""

    name: str
    group: str
    note: str = ""
    is_mean: bool = False

    @property
    def title(self) -> str:
        """The name as people read it."""
        return readable(self.name)


def task_column(result: TransferResult) -> Column:
    """The column of a score: of its task and metric, and of its probe where that is not the usual one."""
    metric = METRICS.get(result.metric, readable(result.metric))
    return Column(result.task, "tasks", f"{metric}, {PROBES[result.probe]}" if result.probe in PROBES else metric)


def mean_column(group: str) -> Column:
    """The column of the means over the changes of a group."""
    return Column("mean", group, is_mean=True)


def view_group(kind: str) -> str:
    """The heading over the view sets of a kind."""
    return f"{kind} views"


def readable(name: str) -> str:
    """A key of a result file as people read it."""
    return name.replace("_", " ")
