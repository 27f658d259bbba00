"""What a probe was to predict, as results say it."""

from pydantic import Field

from solo_invariance.results.document import Record, Text, Whole

_LISTED = 4
_UNITS = {"classification": "classes", "multilabel": "labels", "regression": "numbers"}
_ONE = {"classification": "class", "multilabel": "label", "regression": "number"}


class TargetsRecord(Record):
    """The targets of a task.

    Args:
        kind: ``classification``, ``multilabel`` or ``regression``.
        count: Of the classes, the labels or the numbers.
        columns: What the table calls them, where they come from one.
        remarks: On how they were read, sentences without an end.
    """

    kind: Text
    count: Whole
    columns: tuple[str, ...] = Field(default=())
    remarks: tuple[str, ...] = Field(default=())

    def __str__(self) -> str:
        """Return the targets in words.

        Example:
            >>> str(TargetsRecord(kind="classification", count=3, columns=("label",)))
            "classification, 3 classes (column 'label')"
            >>> str(TargetsRecord(kind="regression", count=7))
            'regression, 7 numbers'
        """
        unit = _UNITS.get(self.kind, "targets")
        counted = f"{self.kind}, {self.count} {unit if self.count != 1 else _ONE.get(self.kind, 'target')}"
        if not self.columns:
            return counted
        listed = ", ".join(map(repr, self.columns[:_LISTED])) + (", ..." if len(self.columns) > _LISTED else "")
        return f"{counted} (column{'s' if len(self.columns) > 1 else ''} {listed})"
