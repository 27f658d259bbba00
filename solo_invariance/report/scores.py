"""Scores of a report's backbones on one task: which test images they are of, how far apart they are, and chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from solo_invariance.bootstrap import NORMAL_QUANTILE
from solo_invariance.errors import UserError
from solo_invariance.report.collect import Results, Row
from solo_invariance.report.columns import Column, task_column
from solo_invariance.report.marks import Difference
from solo_invariance.results import TransferResult
from solo_invariance.transfer.comparison import ARRAYS, ScoredRun


@dataclass
class ScoredTask:
    """The scores on one task, by the backbones' labels.

    Args:
        results: What each scored.
        rows: The backbones.
        cautions: Which files could not be read.
    """

    results: dict[str, TransferResult]
    rows: dict[str, Row]
    cautions: list[str] = field(default_factory=list)
    _read: dict[str, ScoredRun | None] = field(default_factory=dict)
    _found: dict[tuple[str, str], Difference | None] = field(default_factory=dict)

    @cached_property
    def sets(self) -> dict[str, int]:
        """Which of the sets of test images each was scored on; files that do not say it may be of any."""
        known = list(dict.fromkeys(one.test_images for one in self.results.values() if one.test_images is not None))
        return {label: self._set(one, known) for label, one in self.results.items()}

    @cached_property
    def competitors(self) -> list[str]:
        """The labels of those that are compared with each other: above chance, and above random weights."""
        return [label for label, row in self.rows.items() if row.role == "backbone" and not self.at_chance(label)]

    @property
    def at_chance_labels(self) -> list[str]:
        """The labels of backbones that are compared with nobody, since their score may be that of chance."""
        return [label for label, row in self.rows.items() if row.role == "backbone" and self.at_chance(label)]

    def chance(self) -> float | None:
        """Return what a prediction that is the same for all images scores, where all say the same."""
        found = {one.chance_level for one in self.results.values()}
        return found.pop() if len(found) == 1 else None

    def at_chance(self, label: str) -> bool:
        """Return whether a score may be that of a guess, or is not known to be above that of random weights."""
        result = self.results[label]
        if result.chance_level is not None and result.score.low <= result.chance_level:
            return True
        return any(not self._is_above(label, twin) for twin in self._untrained(label))

    def difference(self, ours: str, theirs: str) -> Difference | None:
        """Return the paired difference, as ``against=`` gives it; None where test items are not the same."""
        if (ours, theirs) not in self._found:
            self._found[ours, theirs] = self._difference(ours, theirs)
        return self._found[ours, theirs]

    def _difference(self, ours: str, theirs: str) -> Difference | None:
        first, second = self._run(ours), self._run(theirs)
        if first is None or second is None:
            return None
        try:
            first.require_same(second, second.result.file.parent)
        except UserError:
            return None
        ends = first.minus(second, first.result.seed)
        mean = first.result.score.mean - second.result.score.mean
        # A closed form for few images is drawn towards 0, and may leave the difference outside.
        error = (ends.high - ends.low) / 2 / NORMAL_QUANTILE
        count = len(next(iter(first.arrays.values())))
        return Difference(mean=mean, ci95=tuple(ends), standard_error=error, num_images=count)

    def _run(self, label: str) -> ScoredRun | None:
        if label not in self._read:
            self._read[label] = None
            if (self.results[label].file.parent / ARRAYS).is_file():
                try:
                    self._read[label] = ScoredRun.of(self.results[label])
                except UserError as error:
                    self.cautions.append(f"{error}, so it is not compared image by image.")
        return self._read[label]

    def _is_above(self, label: str, twin: str) -> bool:
        difference = self.difference(label, twin)
        if difference is not None:
            return difference.low > 0
        return self.results[label].score.low > self.results[twin].score.high

    def _untrained(self, label: str) -> list[str]:
        name = self.rows[label].backbone.name
        return [one for one, row in self.rows.items() if row.role == "untrained" and row.backbone.name == name]

    @staticmethod
    def _set(result: TransferResult, known: Sequence[str]) -> int:
        if len(known) < 2:
            return 0
        return len(known) if result.test_images is None else known.index(result.test_images)


@lru_cache(maxsize=2)
def scored_tasks(results: Results) -> Mapping[Column, ScoredTask]:
    """Return the scores on each task, by each metric and probe, in the order in which they are found."""
    found: dict[Column, ScoredTask] = {}
    for row in results.rows:
        for result in row.transfer:
            task = found.setdefault(task_column(result), ScoredTask({}, {}))
            task.results[row.label], task.rows[row.label] = result, row
    return found
