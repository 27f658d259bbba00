"""What each metric of invariance says, and the scale on which it is drawn: the same on every page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from solo_invariance.report.collect import Results, Row
from solo_invariance.report.drawing import colours
from solo_invariance.report.drawing.axis import Tick, round_domain, tick_text
from solo_invariance.report.grids import (
    Cell,
    Column,
    Grid,
    Measured,
    comparable_similarity,
    further_metrics,
    invariance_grid,
    kinds_of,
    matched_width,
    of_group,
    readable,
    shared_means,
    view_group,
    without_identity,
)
from solo_invariance.report.paired import comparable_distance
from solo_invariance.results import Estimate

LEGEND_WIDTH = 170


@dataclass(frozen=True)
class Scale:
    """A heat map's ramp, from ``least`` to ``most``; ``least > most`` where small numbers are at the strong end.

    Numbers beyond an end have its colour. ``ends`` says what they mean. ``is_relative`` says that a number counts as a
    share of sqrt(2 D), which is how far apart whitened features of D numbers are, of two images that have nothing in
    common: their difference has D numbers of variance 2.
    """

    least: float
    most: float
    ends: tuple[str, str]
    is_relative: bool = False

    def level(self, estimate: Estimate, num_features: int = 1) -> int:
        """The step of the ramp for a number of a backbone of so many features."""
        return self.level_of(estimate.mean, num_features)

    def level_of(self, value: float, num_features: int = 1) -> int:
        """The step of the ramp for a value of a backbone of so many features."""
        unit = math.sqrt(2 * num_features) if self.is_relative else 1.0
        return colours.level(value / unit, self.least, self.most)

    @property
    def ticks(self) -> list[Tick]:
        """Five numbers along the ramp."""
        shares = [index / 4 for index in range(5)]
        values = [self.least + share * (self.most - self.least) for share in shares]
        return [Tick(share * LEGEND_WIDTH, tick_text(value)) for share, value in zip(shares, values, strict=True)]


@dataclass(frozen=True)
class Panel:
    """One metric of all backbones: a heat map, and what it says."""

    name: str
    title: str
    text: str
    grid: Grid
    scale: Scale


_INVARIANT = ("less invariant", "more invariant")
_UNIT = {
    "similarity": (
        "Similarity",
        "Cosine similarity of the whitened features before and after a change, averaged over images and parameters: 1 "
        "means that the change leaves the features as they are, 0 is what unrelated images score. For view sets, the "
        "mean over pairs of views of the same thing.",
        _INVARIANT,
    ),
    "width_matched_similarity": (
        "Width-matched similarity",
        "Similarity of features that were projected at random to {matched_width} dimensions and whitened there, so "
        "that backbones of different widths can be compared: 1 means that the change leaves the features as they are, "
        "0 is what unrelated images score.",
        _INVARIANT,
    ),
    "similarity_without_identity": (
        "Similarity without the identity",
        "Similarity, averaged over the parameters that change something: the one that changes nothing, which counts in "
        "the paper's protocol, is left out.",
        _INVARIANT,
    ),
    "chance_corrected_similarity": (
        "Chance-corrected similarity",
        "Similarity above what other images score, as a share of what is possible: 1 means that the change leaves the "
        "features as they are, 0 that the image is as similar to any other one.",
        _INVARIANT,
    ),
    "recall_at_1": (
        "Recall at 1",
        "Share of changed images whose nearest neighbour, among many other images, is the image itself: 1 means all.",
        ("never found", "always found"),
    ),
    "mrr": (
        "Mean reciprocal rank",
        "Reciprocal of the image's rank among many other images, by their similarity to the changed image: 1 means "
        "that it is always the first.",
        ("far down", "always first"),
    ),
    "equivariance": (
        "Equivariance",
        "Share of the features' change that one map of all images predicts from the features and the parameters: 1 "
        "means that the features follow the change by a rule, 0 that they do not, or that nothing changes; the "
        "similarity tells these two apart. It is no measure of invariance.",
        ("no rule", "one rule for all"),
    ),
    "parameter_readout": (
        "Parameter read-out",
        "R² of reading the change's parameters from the features before and after it: 1 means that the features tell "
        "them, 0 that nothing can be read, as from an invariant backbone.",
        ("not readable", "readable"),
    ),
}
_DISTANCE_IS = (
    "Mahalanobis distance of the features before and after a change; for view sets, the mean distance of whitened "
    "features over pairs of views: 0 means that the change leaves the features as they are."
)
_COLOURS = "Colours are by its share of √(2 · features), which is how far apart two unrelated images are."
_RELATIVE = (
    "A distance grows with the number of features, which differs here: these are shares of √(2 · features), which is "
    "how far apart two unrelated images are."
)


def panels(results: Results) -> list[Panel]:
    """Return a heat map for each metric that was measured, the one by which backbones can be compared first."""
    quantity = comparable_similarity(results.rows)
    compared = invariance_grid(results, quantity)
    grids: dict[str, Grid] = {quantity: compared, "similarity": invariance_grid(results, "similarity")}
    further = {name: _as_grid(results, compared, measured) for name, measured in further_metrics(results.rows).items()}
    found = {
        **grids,
        "distance": invariance_grid(results, comparable_distance(results.rows)),
        **{name: grid for name, grid in further.items() if name not in grids},
        **_without_identity(results, grids["similarity"]),
    }
    is_relative = comparable_distance(results.rows) == "relative_distance"
    found_panels = [_panel(name, grid, matched_width(results)) for name, grid in found.items() if grid.rows]
    return [_divided(panel) if is_relative and panel.name == "distance" else panel for panel in found_panels]


def _divided(panel: Panel) -> Panel:
    """The panel of distances that were divided already."""
    text = f"{_DISTANCE_IS} {_RELATIVE}"
    return replace(panel, title="Relative distance", text=text, scale=replace(panel.scale, is_relative=False))


def _panel(name: str, grid: Grid, width: int | None) -> Panel:
    if name == "distance":
        return Panel(
            name, "Distance", f"{_DISTANCE_IS} {_COLOURS}", grid, Scale(1.0, 0.0, _INVARIANT, is_relative=True)
        )
    if name in _UNIT:
        title, text, ends = _UNIT[name]
        return Panel(name, title, text.format(matched_width=width or "fewer"), grid, Scale(0.0, 1.0, ends))
    means = [estimate.mean for estimate in grid.estimates] or [0.0, 1.0]
    within = min(means) >= -1 and max(means) <= 1
    least, most = (0.0, 1.0) if within else round_domain(means)
    title = readable(name).capitalize()
    text = "A metric of a plugin." if within else "A metric of a plugin, whose scale is this page's own."
    return Panel(name, title, text, grid, Scale(least, most, ("least", "most")))


def _without_identity(results: Results, similarity: Grid) -> dict[str, Grid]:
    """The similarities without the identity, where any of them is another number than that with it."""
    measured = {row.label: without_identity(row) for row in results.rows}
    differs = any(
        abs(estimate.mean - similarity.cells[label][column].estimate.mean) > 1e-9
        for label, of_row in measured.items()
        for column, estimate in of_row.items()
    )
    return {"similarity_without_identity": _as_grid(results, similarity, measured)} if differs else {}


def _as_grid(results: Results, like: Grid, measured: Mapping[str, Measured]) -> Grid:
    """A table without marks, with the means of each kind over what all rows have; columns are in another's order."""
    rows = [row for row in like.rows if measured[row.label]]
    found = [dict(measured[row.label]) for row in rows]
    for kind in kinds_of(rows):
        means = shared_means([of_group(of_row, kind) for of_row in found])
        if means.num_columns > 1:
            for of_row, mean in zip(found, means.estimates, strict=True):
                of_row.update({Column("mean", kind, is_mean=True): mean} if mean else {})
    columns = _in_order(like, rows, found)
    cells = [{column: Cell(of_row[column], "") for column in columns if column in of_row} for of_row in found]
    return replace(
        like,
        rows=tuple(rows),
        columns=tuple(columns),
        cells={row.label: of_row for row, of_row in zip(rows, cells, strict=True)},
        decimals=2,
    )


def _in_order(like: Grid, rows: Sequence[Row], measured: Sequence[Measured]) -> list[Column]:
    columns = dict.fromkeys(column for of_row in measured for column in of_row)
    kinds = kinds_of(rows)
    groups = [*kinds, *map(view_group, kinds)]
    known = list(like.columns)
    return sorted(
        columns,
        key=lambda one: (groups.index(one.group), one.is_mean, known.index(one) if one in known else len(known)),
    )
