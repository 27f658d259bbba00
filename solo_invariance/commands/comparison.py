"""Two runs of the measuring command, compared image by image."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from solo_invariance.commands.tables import print_entries
from solo_invariance.errors import UserError
from solo_invariance.measure.compare import num_paired, paired_difference
from solo_invariance.measure.metrics.view_metric import ViewMetric
from solo_invariance.plugins import discover, load_plugin
from solo_invariance.results.files import SCHEMA, read_arrays, read_json, write_json

_SUFFIX = "_per_image"


def compare_runs(ours: Path, theirs: Path, seed: int, name: str = "comparison.json") -> dict[str, Any]:
    """Compare what two runs measured on the same images and write it to a file in ``ours``; return its content.

    Args:
        ours: A run's directory.
        theirs: Another's; differences are ours minus theirs.
        seed: Of the bootstrap.
        name: Of the file.

    Raises:
        UserError: They share no transform and no view set, or measured other images or parameters.
    """
    first, second = read_json(ours / "invariance.json"), read_json(theirs / "invariance.json")
    if first["protocol"] != second["protocol"]:
        raise UserError(f"against={theirs}: protocol {second['protocol']}, here {first['protocol']}")
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "comparison",
        "label": first["label"],
        "against": {"label": second["label"], "out": str(theirs)},
        "seed": seed,
    }
    for kind in ("transforms", "views"):
        shared = [one for one in first[kind] if one in second[kind]]
        result[kind] = {one: _compare(one, ours, theirs, first[kind][one], seed) for one in shared}
    if not result["transforms"] and not result["views"]:
        raise UserError(f"against={theirs}: has no transform and no view set in common with {ours}")
    write_json(ours / name, result)
    return result


def _compare(name: str, ours: Path, theirs: Path, entry: Mapping[str, Any], seed: int) -> dict[str, Any]:
    own, other = _per_image(ours / f"{name}.npz"), _per_image(theirs / f"{name}.npz")
    known = {plugin.name for plugin in discover("metrics")}
    measured = [name.removesuffix(_SUFFIX) for name in own if name.endswith(_SUFFIX) and name in other]
    shared = [metric for metric in measured if metric in known]
    try:
        differences = {m: paired_difference(own, other, m, _metric(m).value, seed).as_dict() for m in shared}
    except UserError as error:
        raise UserError(f"against={theirs}: {name}: {error}") from error
    return {"kind": entry["kind"], "num_images": num_paired(own, other), **differences}


def _per_image(path: Path) -> dict[str, np.ndarray]:
    """Return what a file of arrays says of each image, and of which images and parameters that is."""
    return read_arrays(path, lambda name: name in ("names", "parameters") or name.endswith(_SUFFIX))


def _metric(name: str) -> type[ViewMetric]:
    return load_plugin("metrics", name)


def print_comparison(comparison: Mapping[str, Any]) -> None:
    """Print the differences, and on how many images they are."""
    entries = {**comparison["transforms"], **comparison["views"]}
    ours, theirs = comparison["label"], comparison["against"]["label"]
    named = theirs if theirs != ours else f"{theirs} ({comparison['against']['out']})"
    counts = sorted({entry["num_images"] for entry in entries.values()})
    on = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    print_entries(f"{ours} minus {named}: paired differences on {on} images or groups", entries, sign="+")
