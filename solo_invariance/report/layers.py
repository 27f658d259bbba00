"""Layers of a backbone as a curve over its depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from solo_invariance.report.collect import Results
from solo_invariance.report.columns import view_group
from solo_invariance.report.grids import comparable_similarity, kinds_of, means_of_group
from solo_invariance.results import Estimate


@dataclass(frozen=True)
class LayerCurve:
    """The mean similarity of a backbone's layers, in the order of their depth.

    Args:
        label: What the backbone is called.
        layers: The layers' names, the shallowest first.
        similarity: By kind of change, of each layer; None where there is nothing to average.
        untrained: The same of the layers of the untrained twin; None where there is none.
    """

    label: str
    layers: tuple[str, ...]
    similarity: Mapping[str, tuple[Estimate | None, ...]]
    untrained: Mapping[str, tuple[Estimate | None, ...]]


def layer_curves(results: Results) -> list[LayerCurve]:
    """Return a curve for each backbone of which several layers were measured.

    Layers of one backbone are compared by its width-matched similarity, where all have it in one number of dimensions.
    """
    layered = [row for row in results.rows if row.role == "layer"]
    found = []
    for family in dict.fromkeys(row.family for row in layered):
        layers = tuple(str(row.backbone.layer) for row in layered if row.family == family)
        quantity = comparable_similarity(row for row in layered if row.family == family)
        own: dict[str, tuple[Estimate | None, ...]] = {}
        twins: dict[str, tuple[Estimate | None, ...]] = {}
        for kind in kinds_of(layered):
            for group in (kind, view_group(kind)):
                rows = [row for row in results.rows if row.invariance]
                means = list(zip(rows, means_of_group(results, quantity, group).estimates, strict=True))
                for curve, role in ((own, "layer"), (twins, "untrained")):
                    by_layer = {
                        str(row.backbone.layer): mean
                        for row, mean in means
                        if row.family == family and row.role == role
                    }
                    if any(by_layer.values()):
                        curve[group] = tuple(by_layer.get(layer) for layer in layers)
        found.append(LayerCurve(family, layers, own, twins))
    return found
