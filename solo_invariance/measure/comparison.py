"""Two backbones measured on the same images: what is different, and how sure that is."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from solo_invariance.bootstrap import Estimate, Statistic, estimate_difference
from solo_invariance.errors import UserError
from solo_invariance.measure.metrics.view_metric import ViewMetric
from solo_invariance.plugins import discover, load_plugin
from solo_invariance.results.files import SCHEMA, read_arrays, read_json, write_json

_SUFFIX = "_per_image"
_RESULT = "invariance.json"


def compare_runs(
    ours: Path,
    theirs: Path,
    seed: int,
    name: str = "comparison.json",
    metrics: Mapping[str, ViewMetric] | None = None,
) -> dict[str, Any]:
    """Compare what two runs measured on the same images and write it to a file in ``ours``; return its content.

    Args:
        ours: A run's directory.
        theirs: Another's; differences are ours minus theirs.
        seed: Of the bootstrap.
        name: Of the file.
        metrics: Those that are no plugins, by name.

    Raises:
        UserError: They share no transform and no view set, or measured other images or parameters.
    """
    first, second = read_json(ours / _RESULT), read_json(theirs / _RESULT)
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
        result[kind] = {one: _compare(one, ours, theirs, first[kind][one], seed, metrics or {}) for one in shared}
    if not result["transforms"] and not result["views"]:
        raise UserError(f"against={theirs}: has no transform and no view set in common with {ours}")
    write_json(ours / name, result)
    return result


def _compare(
    name: str, ours: Path, theirs: Path, entry: Mapping[str, Any], seed: int, metrics: Mapping[str, ViewMetric]
) -> dict[str, Any]:
    own, other = _per_image(ours / f"{name}.npz"), _per_image(theirs / f"{name}.npz")
    known = {*metrics, *(plugin.name for plugin in discover("metrics"))}
    measured = [name.removesuffix(_SUFFIX) for name in own if name.endswith(_SUFFIX) and name in other]
    shared = [metric for metric in measured if metric in known]
    try:
        differences = {m: paired_difference(own, other, m, _metric(m, metrics).value, seed).as_dict() for m in shared}
    except UserError as error:
        raise UserError(f"against={theirs}: {name}: {error}") from error
    return {"kind": entry["kind"], "num_images": num_paired(own, other), **differences}


def _per_image(path: Path) -> dict[str, np.ndarray]:
    """Return what a file of arrays says of each image, and of which images and parameters that is."""
    return read_arrays(path, lambda name: name in ("names", "parameters") or name.endswith(_SUFFIX))


def _metric(name: str, own: Mapping[str, ViewMetric]) -> ViewMetric | type[ViewMetric]:
    return own[name] if name in own else load_plugin("metrics", name)


def compared_layers(against: Path, layers: Iterable[str]) -> list[str]:
    """Return which layers to compare with another run: those that it has, too.

    Args:
        against: The other run's directory.
        layers: Their names; not those of untrained twins, which are compared with what they are twins of.

    Raises:
        UserError: It has none of them; the message says what it has.
    """
    files = {layer: against / layer / _RESULT for layer in layers}
    found = [layer for layer, file in files.items() if file.is_file()]
    if not found:
        first = next(iter(files.values()))
        there = sorted(str(file.parent) for file in against.rglob(_RESULT))
        hint = f"; there are {', '.join(there)}" if there else ""
        raise UserError(f"against={against}: no result to compare with, such as {first}{hint}")
    return found


def require_comparable(against: Path, layer: str, here: Mapping[str, Any]) -> None:
    """Refuse what cannot be compared with another run before it is measured.

    Args:
        against: The other run's directory.
        layer: One of those to compare.
        here: What must be the same there, by its key in the result or its configuration.

    Raises:
        UserError: Something is not the same; the message says what.
    """
    content = read_json(against / layer / _RESULT)
    there = {**content.get("config", {}), **content}
    for key, value in here.items():
        if there.get(key) != value:
            raise UserError(f"against={against}: measured with {key} {there.get(key)}, here {value}")


def paired_difference(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], metric: str, statistic: Statistic, seed: int
) -> Estimate:
    """Return the difference of a metric between two measurements, ours minus theirs, with a paired 95 % interval.

    Where both measured each image once, the images that both measured are compared.

    Args:
        ours: Arrays of ``Measured``, of one transform or view set.
        theirs: Arrays of the other backbone's ``Measured``.
        metric: Its name.
        statistic: The metric's ``value``.
        seed: Of the bootstrap.

    Raises:
        UserError: The images or the parameters are not the same.
    """
    for arrays in (ours, theirs):
        if f"{metric}_per_image" not in arrays:
            raise UserError(f"{metric} was measured by one of the two only")
    if "parameters" in ours and not np.array_equal(ours["parameters"], theirs.get("parameters", np.empty(0))):
        raise UserError("measured at other parameters (k, protocol or sizes differ)")
    own, other = ours[f"{metric}_per_image"], theirs[f"{metric}_per_image"]
    # A metric may have been given the first images only.
    first, second = _common(ours["names"][: len(own)], theirs["names"][: len(other)])
    return estimate_difference(torch.from_numpy(own[first]), torch.from_numpy(other[second]), statistic, seed)


def num_paired(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> int:
    """Return how many images two measurements have in common."""
    return len(_common(ours["names"], theirs["names"])[0])


def _common(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the same images in both."""
    if np.array_equal(ours, theirs):
        return np.arange(len(ours)), np.arange(len(theirs))
    if len(np.unique(ours)) < len(ours) or len(np.unique(theirs)) < len(theirs):
        raise UserError("measured on other images")
    names, first, second = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
    if len(names) < 2:
        raise UserError("measured on other images")
    return first, second
