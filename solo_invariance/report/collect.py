"""Find the result files below some directories and bring those of one backbone together in one row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from solo_invariance.config.checks import require_runs
from solo_invariance.errors import UserError
from solo_invariance.results import (
    BackboneRecord,
    Estimate,
    InvarianceComparison,
    InvarianceResult,
    Result,
    TransferComparison,
    TransferResult,
    TransformResult,
    ViewResult,
)
from solo_invariance.results.files import read_json
from solo_invariance.results.shaping import DialCurve, ShapingResult
from solo_invariance.results.study import STUDY_FILE, StudyResult

_FILES: dict[str, type[InvarianceResult | TransferResult]] = {
    kind.usual_name: kind for kind in (InvarianceResult, TransferResult)
}


Role = Literal["backbone", "layer", "untrained"]
"""Whether a row competes: layers of one network are a curve over its depth, and random weights are a baseline."""

Comparison = InvarianceComparison | TransferComparison

_COMPARISONS: tuple[type[Comparison], ...] = (InvarianceComparison, TransferComparison)
_UNTRAINED = " (untrained)"


@dataclass(frozen=True)
class Row:
    """Everything that is known about one backbone: a row of every table, a line of every figure.

    Only rows whose ``role`` is ``backbone`` are compared with each other.
    """

    label: str
    files: tuple[Result, ...]
    role: Role = "backbone"

    @property
    def family(self) -> str:
        """What the backbone is called that a layer, or an untrained twin, belongs to."""
        label = self.files[0].label.removesuffix(_UNTRAINED)
        return label.removesuffix(f" {self.backbone.layer}")

    @cached_property
    def sources(self) -> Mapping[str, InvarianceResult]:
        """The file that each transform and view set comes from."""
        return {name: file for file in self.invariance for name in (*file.transforms, *file.views)}

    @property
    def backbone(self) -> BackboneRecord:
        """The backbone, as the first file describes it."""
        return self.files[0].backbone

    @cached_property
    def invariance(self) -> tuple[InvarianceResult, ...]:
        """The row's ``invariance.json`` files."""
        return tuple(file for file in self.files if isinstance(file, InvarianceResult))

    @property
    def transfer(self) -> tuple[TransferResult, ...]:
        """The row's ``transfer.json`` files."""
        return tuple(file for file in self.files if isinstance(file, TransferResult))

    @cached_property
    def transforms(self) -> dict[str, TransformResult]:
        """The synthetic transforms that it was measured on."""
        return {name: transform for file in self.invariance for name, transform in file.transforms.items()}

    @cached_property
    def views(self) -> dict[str, ViewResult]:
        """The sets of real views that it was measured on."""
        return {name: view for file in self.invariance for name, view in file.views.items()}

    @cached_property
    def health(self) -> dict[str, Estimate]:
        """The metrics of its features, which are of no change of the images."""
        return {name: one for file in self.invariance for name, one in file.health.items()}

    @property
    def kinds(self) -> list[str]:
        """The kind of each transform, then of each view set."""
        return [one.kind for one in self.transforms.values()] + [one.kind for one in self.views.values()]

    @property
    def is_fused(self) -> bool:
        """Whether the backbone is made of several."""
        return "+" in self.files[0].label or self.backbone.name == "fusion"


@dataclass(frozen=True, eq=False)
class Results:
    """The rows of a report.

    Args:
        rows: Single backbones in the order in which they were found, then fused ones; then layers of backbones in the
            order of their depth, and untrained twins.
        baseline: The label of the row that differences are from, None for the best of each column.
        comparisons: What ``against=`` wrote beside the results.
        studies: What ``study`` found, with its verdicts.
        layers: Whether layers count as backbones in rank correlations.
        shapings: What ``shape`` reached, of backbones that have a page.
        dials: How these go with the strength.
    """

    rows: tuple[Row, ...]
    baseline: str | None = None
    comparisons: tuple[Comparison, ...] = ()
    studies: tuple[StudyResult, ...] = ()
    layers: bool = False
    shapings: tuple[ShapingResult, ...] = ()
    dials: tuple[DialCurve, ...] = ()

    @property
    def competitors(self) -> tuple[Row, ...]:
        """The rows that are compared with each other."""
        return tuple(row for row in self.rows if row.role == "backbone")

    @property
    def correlated(self) -> tuple[Row, ...]:
        """The rows that rank correlations are over."""
        return tuple(row for row in self.rows if row.role == "backbone" or (self.layers and row.role == "layer"))

    @property
    def files(self) -> tuple[Result, ...]:
        """Every result file, row by row."""
        return tuple(file for row in self.rows for file in row.files)


def collect_results(runs: Sequence[Path | str], baseline: str | None = None, *, layers: bool = False) -> Results:
    """Read every ``invariance.json`` and ``transfer.json`` below ``runs``, the comparisons beside them, and studies.

    Files with the same label make one row. Where they cannot (the same transform or task twice, or another checkpoint),
    each run gets a row of its own and its directory is added to the label.

    Args:
        runs: Directories, in the order of the rows.
        baseline: The label of the row that differences are from, None for the best of each column.
        layers: Count layers as backbones in rank correlations of invariances and scores.

    Raises:
        UserError: A directory holds no result, a file is not a valid result, rows cannot be told apart, or there is no
            such baseline.
    """
    require_runs(runs)
    files = find_results([Path(run) for run in runs])
    by_label: dict[str, list[Result]] = {}
    for file in files:
        result: Result = _FILES[file.name].read(file)
        by_label.setdefault(result.label, []).append(result)
    rows = _with_roles([row for label, of_label in by_label.items() for row in _rows(label, of_label)])
    if baseline is not None and baseline not in {row.label for row in rows}:
        raise UserError(f"baseline={baseline}: no such backbone; there are {', '.join(row.label for row in rows)}")
    folders = [Path(run) for run in runs]
    return Results(
        tuple(rows),
        baseline,
        tuple(_comparisons(files)),
        tuple(map(StudyResult.read, _below(folders, STUDY_FILE))),
        layers,
        tuple(map(ShapingResult.read, _below(folders, ShapingResult.usual_name))),
        tuple(map(DialCurve.read, _below(folders, DialCurve.usual_name))),
    )


def _below(runs: Sequence[Path], name: str) -> list[Path]:
    """Find every file of a name below some directories, none of them twice."""
    found = {file.resolve(): file for run in runs for file in sorted(run.rglob(name)) if file.is_file()}
    return [*found.values()]


def _comparisons(files: Sequence[Path]) -> list[Comparison]:
    """Read the comparisons that lie beside result files."""
    found = {file.parent: file.parent / InvarianceComparison.usual_name for file in files}
    return [_comparison(file) for file in found.values() if file.is_file()]


def _comparison(file: Path) -> Comparison:
    kind = read_json(file).get("kind")
    return next((one for one in _COMPARISONS if one.kind == kind), InvarianceComparison).read(file)


def _with_roles(rows: Sequence[Row]) -> list[Row]:
    """Say which rows compete, and bring all in the order of the tables."""
    random = {row.label for row in rows if _is_random(row)}
    baselines = random if len(random) < len(rows) else set()
    twins = {row.label for row in rows if row.backbone.untrained or row.files[0].label.endswith(_UNTRAINED)}
    layers: dict[str, set[str | None]] = {}
    for row in rows:
        if row.label not in twins:
            layers.setdefault(row.family, set()).add(row.backbone.layer)

    def role(row: Row) -> Role:
        if row.label in twins | baselines:
            return "untrained"
        return "layer" if row.backbone.layer is not None and len(layers[row.family]) > 1 else "backbone"

    families = list(dict.fromkeys(row.family for row in rows))
    found = [replace(row, role=role(row)) for row in rows]
    order: tuple[Role, ...] = ("backbone", "layer", "untrained")

    def place(row: Row) -> tuple[float, ...]:
        if row.role == "backbone":
            return 0, row.is_fused
        return order.index(row.role), families.index(row.family), depth_of(row)

    return sorted(found, key=place)


def _is_random(row: Row) -> bool:
    """Whether a row is of a network that was asked for with random weights."""
    asked = row.files[0].config.get("backbone")
    name = asked.get("name") if isinstance(asked, Mapping) else None
    return row.backbone.checkpoint is None and isinstance(name, str) and name.startswith("random:")


def depth_of(row: Row) -> float:
    """The place of a row's layer in its network; in files that do not say it, the place at which it was asked for."""
    if row.backbone.layer is None:
        return math.inf  # the output
    if row.backbone.depth is not None:
        return row.backbone.depth
    asked = row.files[0].config.get("backbone")
    layers = asked.get("layer") if isinstance(asked, Mapping) else None
    return layers.index(row.backbone.layer) if isinstance(layers, list) and row.backbone.layer in layers else math.inf


def find_results(runs: Sequence[Path]) -> list[Path]:
    """The result files below ``runs``, in the order of ``runs`` and by path within each; none of them twice.

    Raises:
        UserError: One of them holds no result, nor that of a study.
    """
    found: dict[Path, Path] = {}
    for run in runs:
        for file in _results_below(run):
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _results_below(run: Path) -> list[Path]:
    files = sorted(file for name in _FILES for file in run.rglob(name) if file.is_file())
    if not files and not any(run.rglob(STUDY_FILE)):
        raise UserError(f"{run}: holds no {' and no '.join(_FILES)}. Run `measure` or `transfer` first.")
    return files


def _rows(label: str, files: Sequence[Result]) -> list[Row]:
    """One row if the files fit together, else one per run: the shallowest directories within which they do."""
    if _conflict(files) is None:
        return [Row(label, tuple(files))]
    directories = _directories_below_common_parent(files)
    for depth in range(1, max(map(len, directories)) + 1):
        groups: dict[str, list[Result]] = {}
        for file, directory in zip(files, directories, strict=True):
            groups.setdefault("/".join(directory[:depth]) or file.file.resolve().parent.name, []).append(file)
        if not any(_conflict(group) for group in groups.values()):
            return [Row(f"{label} ({run})", tuple(group)) for run, group in groups.items()]
    raise UserError(_conflict_message(label, files))


def _directories_below_common_parent(files: Sequence[Result]) -> list[tuple[str, ...]]:
    parents = [file.file.resolve().parent.parts for file in files]
    shared = 0
    while len({parts[: shared + 1] for parts in parents}) == 1 and shared < len(parents[0]):
        shared += 1
    return [parts[shared:] for parts in parents]


def _conflict_message(label: str, files: Sequence[Result]) -> str:
    by_directory: dict[Path, list[Result]] = {}
    for file in files:
        by_directory.setdefault(file.file.resolve().parent, []).append(file)
    first, second = next(pair for group in by_directory.values() if (pair := _conflict(group)))
    return (
        f"{first.file} and {second.file}: both are labelled {label!r} but come from different checkpoints. "
        "Write them to separate directories or give one of them another label."
    )


def _conflict(files: Sequence[Result]) -> tuple[Result, Result] | None:
    """The first two files that cannot share a row."""
    for index, file in enumerate(files):
        for earlier in files[:index]:
            if _contents(earlier) & _contents(file) or _differ(earlier.backbone, file.backbone):
                return earlier, file
    return None


def _contents(file: Result) -> set[tuple[str, ...]]:
    if isinstance(file, TransferResult):
        return {(file.task, file.metric, file.probe)}
    if isinstance(file, InvarianceResult):
        return {("transform", name) for name in file.transforms} | {("view", name) for name in file.views}
    return set()


def _differ(one: BackboneRecord, other: BackboneRecord) -> bool:
    return one.sha256 is not None and other.sha256 is not None and one.sha256 != other.sha256
