"""Two backbones measured on the same images: what is different, and how sure that is."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from solo_invariance.bootstrap import Estimate, Statistic, estimate_difference, estimates, resampled_columns
from solo_invariance.errors import UserError
from solo_invariance.measure.health import health_differences
from solo_invariance.measure.loop.reference_error import standard_error
from solo_invariance.measure.measurement import METRICS
from solo_invariance.measure.metrics.view_metric import ViewMetric
from solo_invariance.plugins import discover, load_plugin
from solo_invariance.results import InvarianceComparison, InvarianceResult
from solo_invariance.results.comparison import COMPARISON_FILE
from solo_invariance.results.files import REMEDY, SCHEMA, read_arrays
from solo_invariance.results.invariance import INVARIANCE_FILE, widths_caution

_SUFFIX = "_per_image"
_INFLUENCE = "_influence"
_LARGEST = 1e30  # whose means and squares are finite
_NONE = np.empty(0)


def compare_runs(
    ours: Path,
    theirs: Path,
    seed: int,
    name: str = COMPARISON_FILE,
    metrics: Mapping[str, ViewMetric] | None = None,
) -> InvarianceComparison:
    """Compare what two runs measured on the same images; write it to a file in ``ours`` and return it.

    Args:
        ours: A run's directory.
        theirs: Another's; differences are ours minus theirs.
        seed: Of the bootstrap.
        name: Of the file.
        metrics: Those that are no plugins, by name.

    Raises:
        UserError: They share no transform, no view set and no metric of features, or measured other images or
            parameters.
    """
    first, second = (InvarianceResult.read(run / INVARIANCE_FILE) for run in (ours, theirs))
    if first.protocol != second.protocol:
        raise UserError(f"against={theirs}: protocol {second.protocol}, here {first.protocol}")
    chosen: dict[str, ViewMetric | type[ViewMetric]] = {**METRICS, **(metrics or {})}
    if first.matched_width != second.matched_width:
        del chosen["width_matched_similarity"]
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": InvarianceComparison.kind,
        "label": first.label,
        "against": {"label": second.label, "out": str(theirs)},
        "seed": seed,
        "cautions": [*filter(None, [widths_caution([first, second])])],
    }
    require_same_source(first, second, f"against={theirs}: ")
    same = have_same_reference(first, second)
    for part in ("transforms", "views"):
        here, there = getattr(first, part), getattr(second, part)
        shared = {one: here[one].kind for one in here if one in there}
        content[part] = {
            one: _compare(one, ours, theirs, kind, seed, chosen, same_reference=same) for one, kind in shared.items()
        }
    if health := health_differences(ours, theirs, same_reference=same):
        content["health"] = {metric: one.as_dict() for metric, one in health.items()}
    if not content["transforms"] and not content["views"] and not health:
        raise UserError(f"against={theirs}: has no transform and no view set in common with {ours}")
    result = InvarianceComparison.from_content(content)
    result.write(ours / name)
    return result


def _compare(
    name: str,
    ours: Path,
    theirs: Path,
    kind: str,
    seed: int,
    metrics: Mapping[str, ViewMetric | type[ViewMetric]],
    *,
    same_reference: bool,
) -> dict[str, Any]:
    own, other = per_image(ours / f"{name}.npz"), per_image(theirs / f"{name}.npz")
    plugins = {plugin.name for plugin in discover("metrics")} - {*METRICS}
    known = {*metrics, *plugins}
    measured = [
        name.removesuffix(_SUFFIX)
        for name in own
        if name.endswith(_SUFFIX) and name in other and own[name].shape[1:] == other[name].shape[1:]
    ]
    shared = [metric for metric in measured if metric in known]
    try:
        found = {m: paired_difference(own, other, m, _metric(m, metrics).value, seed) for m in shared}
    except UserError as error:
        raise UserError(f"against={theirs}: {name}: {error}") from error
    for metric in shared:
        reference_error = reference_error_of_difference(own, other, metric, same_reference=same_reference)
        if reference_error is not None:
            found[metric] = found[metric].with_reference_error(reference_error)
    differences = {metric: one.as_dict() for metric, one in found.items()}
    return {"kind": kind, "num_images": num_paired(own, other), **differences}


def per_image(path: Path, metrics: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Return what a file of arrays says of each image, and of which images and parameters that is.

    Args:
        path: ``OUT/TRANSFORM.npz``.
        metrics: Which are wanted, all by default.

    Returns:
        ``names`` (N,), ``parameters`` where there are any, and ``METRIC_per_image`` (N', T), and ``METRIC_influence``
        (B,) of blocks of reference images, of each metric.

    Raises:
        UserError: It is missing or broken.
    """
    chosen = None if metrics is None else {f"{metric}{end}" for metric in metrics for end in (_SUFFIX, _INFLUENCE)}

    def wanted(name: str) -> bool:
        return name in ("names", "parameters") or (
            name.endswith((_SUFFIX, _INFLUENCE)) if chosen is None else name in chosen
        )

    found = read_arrays(path, wanted)
    if "names" not in found:
        raise UserError(f"{path}: 'names' is missing in it. {REMEDY}")
    for name, array in found.items():
        if array.ndim == 0 or (array.dtype.kind == "U") != (name == "names"):
            raise UserError(f"{path}: {name!r} in it is {array.dtype} {array.shape}, expected rows. {REMEDY}")
        if name.endswith(_SUFFIX) and len(array) > len(found["names"]):
            raise UserError(f"{path}: {name!r} in it is of {len(array)} images, of {len(found['names'])}. {REMEDY}")
        if array.dtype.kind == "f" and not (np.abs(array) < _LARGEST).all():
            raise UserError(f"{path}: {name!r} in it is not finite, or too large. {REMEDY}")
    return {name: array.astype(float) if array.dtype.kind in "biu" else array for name, array in found.items()}


def _metric(name: str, own: Mapping[str, ViewMetric | type[ViewMetric]]) -> ViewMetric | type[ViewMetric]:
    return own[name] if name in own else load_plugin("metrics", name)


def compared_layers(against: Path, layers: Iterable[str]) -> list[str]:
    """Return which layers to compare with another run: those that it has, too.

    Args:
        against: The other run's directory.
        layers: Their names; not those of untrained twins, which are compared with what they are twins of.

    Raises:
        UserError: It has none of them; the message says what it has.
    """
    files = {layer: against / layer / INVARIANCE_FILE for layer in layers}
    found = [layer for layer, file in files.items() if file.is_file()]
    if not found:
        first = next(iter(files.values()))
        there = sorted(str(file.parent) for file in against.rglob(INVARIANCE_FILE))
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
    content = InvarianceResult.read(against / layer / INVARIANCE_FILE).as_content()
    there = {**content["config"], **content}
    for key, value in here.items():
        if there.get(key) != value:
            raise UserError(f"against={against}: measured with {key} {there.get(key)}, here {value}")


def require_arrays(run: Path) -> None:
    """Raise UserError unless what a run keeps of each image can be read, before another is measured.

    Args:
        run: A layer's directory of the run.
    """
    result = InvarianceResult.read(run / INVARIANCE_FILE)
    for name in (*result.transforms, *result.views):
        per_image(run / f"{name}.npz")


def require_common(
    against: Path,
    layer: str,
    images: Sequence[str],
    transforms: Iterable[str],
    views: Iterable[str],
    health: Iterable[str] = (),
) -> None:
    """Refuse what has nothing in common with another run, before it is measured.

    Args:
        against: The other run's directory.
        layer: One of those to compare.
        images: The names of the images that transforms are measured on.
        transforms: The names of the transforms.
        views: The names of the view sets; whether their groups are the other run's is seen when they are read.
        health: The names of the metrics of features.

    Raises:
        UserError: No transform, view set or metric of features is shared, or a transform was measured on other images.
    """
    there = InvarianceResult.read(against / layer / INVARIANCE_FILE)
    shared = [name for name in transforms if name in there.transforms]
    compared = {*there.views} & {*views} or {*there.health} & {*health}
    if not shared and not compared:
        raise UserError(f"against={against}: has no transform and no view set in common with what is to be measured")
    for name in shared:
        measured = per_image(against / layer / f"{name}.npz")["names"]
        if len({*images} & {*measured.tolist()}) < 2:  # which are the same, is known when all were read
            raise UserError(f"against={against}: {name}: measured on other images")


def paired_difference(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], metric: str, statistic: Statistic, seed: int
) -> Estimate:
    """Return the difference of a metric between two measurements, ours minus theirs, with a paired 95 % interval.

    Where both measured each image once, the images that both measured are compared. The interval is over images: draws
    of one are one, and ``reference_error_of_difference`` is not in it.

    Args:
        ours: Arrays of ``Measured``, of one transform or view set.
        theirs: Arrays of the other backbone's ``Measured``.
        metric: Its name.
        statistic: The metric's ``value``.
        seed: Of the bootstrap.

    Raises:
        UserError: The images or the parameters are not the same.
    """
    first, second = _pairs(ours, theirs, metric)
    own, other = ours[f"{metric}_per_image"], theirs[f"{metric}_per_image"]
    return estimate_difference(
        torch.from_numpy(own[first]), torch.from_numpy(other[second]), statistic, seed, _images(ours, first)
    )


class Pair(NamedTuple):
    """A metric of one term of two backbones, measured on one change; the difference is ours minus theirs.

    Attributes:
        ours: Arrays of ``per_image``.
        theirs: Arrays of the other backbone.
        metric: Its name.
        same_reference: Whether both have the same reference images.
    """

    ours: Mapping[str, np.ndarray]
    theirs: Mapping[str, np.ndarray]
    metric: str
    same_reference: bool


class PairedDifference(NamedTuple):
    """A difference, with the reference's error where it is known, and on how many images it is paired."""

    estimate: Estimate
    num_images: int


def paired_differences(pairs: Sequence[Pair], seed: int) -> list[PairedDifference | None]:
    """Return the differences of many pairs, as ``paired_difference`` does for each, with the reference's error.

    Images are drawn once for all pairs that are of the same images.

    Args:
        pairs: P pairs.
        seed: Of the bootstrap.

    Returns:
        P differences, None for a pair of other images or other parameters, or where one has no such metric.
    """
    batches: dict[bytes, list[tuple[int, np.ndarray, Tensor]]] = {}
    known = _KnownImages()
    for index, (ours, theirs, metric, _) in enumerate(pairs):
        try:
            first, second = _pairs(ours, theirs, metric)
        except UserError:
            continue
        difference = ours[metric + _SUFFIX][first, 0] - theirs[metric + _SUFFIX][second, 0]
        images = known.of(ours["names"], first)
        batches.setdefault(images.numpy().tobytes(), []).append((index, difference, images))
    found: list[PairedDifference | None] = [None] * len(pairs)
    for batch in batches.values():
        columns = torch.from_numpy(np.stack([difference for _, difference, _ in batch], axis=1))
        for (index, _, _), one in zip(batch, estimates(columns, seed, images=batch[0][2]), strict=True):
            ours, theirs, metric, same = pairs[index]
            error = reference_error_of_difference(ours, theirs, metric, same_reference=same)
            whole = one if error is None else one.with_reference_error(error)
            found[index] = PairedDifference(whole, len(batch[0][2].unique()))
    return found


def mean_estimates(measured: Sequence[tuple[Mapping[str, np.ndarray], str]], seed: int) -> list[Estimate]:
    """Return the means over images of metrics of one term, with the reference's error where it is known.

    Images are drawn once for all that are of the same images.

    Args:
        measured: Arrays of ``per_image``, each with the name of a metric that is in them.
        seed: Of the bootstrap.
    """
    batches: dict[bytes, list[tuple[int, np.ndarray, Tensor]]] = {}
    known = _KnownImages()
    for index, (arrays, metric) in enumerate(measured):
        terms = arrays[metric + _SUFFIX][:, 0]
        images = known.of(arrays["names"], np.arange(len(terms)))
        batches.setdefault(images.numpy().tobytes(), []).append((index, terms, images))
    found: dict[int, Estimate] = {}
    for batch in batches.values():
        columns = torch.from_numpy(np.stack([terms for _, terms, _ in batch], axis=1))
        for (index, _, _), one in zip(batch, estimates(columns, seed, images=batch[0][2]), strict=True):
            arrays, metric = measured[index]
            influence = arrays.get(metric + _INFLUENCE)
            error = None if influence is None else standard_error(torch.from_numpy(influence))
            found[index] = one if error is None else one.with_reference_error(error)
    return [found[index] for index in range(len(measured))]


def resampled_together(
    runs: Sequence[Path], change: str, metric: str, seed: int, resamples: int
) -> tuple[np.ndarray, int]:
    """Return the means of a metric over bootstrap samples of the images that all of some backbones measured.

    Args:
        runs: M directories with ``invariance.json``.
        change: A transform or view set.
        metric: One of one term, by its name.
        seed: Of the bootstrap.
        resamples: B.

    Returns:
        (B, M), with the same images in a sample for all, and the number of images.

    Raises:
        UserError: A file is missing or broken, or one is of other images or parameters than the first.
    """
    files = [run / f"{change}.npz" for run in runs]
    first, *others = (per_image(file, [metric]) for file in files)
    places = _pairs(first, first, metric)[0]
    for file, other in zip(files[1:], others, strict=True):
        try:
            places = np.intersect1d(places, _pairs(first, other, metric)[0])
        except UserError as error:
            raise UserError(f"{file}: {error}, compared with {files[0]}") from error
    names = first["names"][places]
    columns = [
        one[metric + _SUFFIX][_common(names, _first(one["names"], len(one[metric + _SUFFIX])))[1], 0]
        for one in (first, *others)
    ]
    terms = torch.from_numpy(np.stack(columns, axis=1))
    _, samples, count = resampled_columns(terms, seed, resamples, _images(first, places))
    return samples.numpy(), count


def averaged(changes: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray] | None:
    """Return what one backbone's measurements of several changes say of each image on average.

    Args:
        changes: Arrays of ``per_image``, by change.

    Returns:
        Arrays as of one change, of the metrics that all have; None where the changes were measured on other images.
    """
    if not changes:
        return None
    names = changes[0]["names"]
    if any(names is not one["names"] and not np.array_equal(names, one["names"]) for one in changes[1:]):
        return None
    found = {"names": names, "parameters": np.concatenate([one.get("parameters", _NONE).ravel() for one in changes])}
    for key in changes[0]:
        values = [one[key] for one in changes if key in one]
        if (
            key.endswith((_SUFFIX, _INFLUENCE))
            and len({one.shape for one in values}) == 1
            and len(values) == len(changes)
        ):
            found[key] = np.mean(values, axis=0)
    return found


def have_same_reference(first: InvarianceResult, second: InvarianceResult) -> bool:
    """Return whether two results are known to be whitened by the same reference images."""
    known = [one.reference.fingerprint for one in (first, second) if one.reference and one.reference.fingerprint]
    return len(known) == 2 and known[0] == known[1]


def require_same_source(first: InvarianceResult, second: InvarianceResult, where: str = "") -> None:
    """Raise UserError where images of two results have the same names, as those in memory have, and other contents.

    Args:
        first: A result.
        second: Another one.
        where: What the message begins with.
    """
    sets = [one.images for one in (first, second) if one.images is not None and one.images.known_by == "content"]
    if len({one.fingerprint for one in sets}) > 1:
        raise UserError(f"{where}measured on other images")


def reference_error_of_difference(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], metric: str, *, same_reference: bool
) -> float | None:
    """Return the standard error that a metric's difference has from the reference, None where it is unknown.

    Args:
        ours: Arrays of ``Measured``, of one transform or view set.
        theirs: Arrays of the other backbone's ``Measured``.
        metric: Its name.
        same_reference: Whether both have the same reference images, whose errors cancel as far as they are alike;
            otherwise both errors count, as of independent references.
    """
    name = metric + _INFLUENCE
    if name not in ours or name not in theirs:
        return None
    own, other = torch.from_numpy(ours[name]), torch.from_numpy(theirs[name])
    if same_reference and own.shape == other.shape:
        return standard_error(own - other)
    return math.hypot(standard_error(own), standard_error(other))


def num_paired(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> int:
    """Return how many images two measurements have in common."""
    return len(_common(ours["names"], theirs["names"])[0])


def _pairs(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the images that a metric is to be compared on, in both."""
    for arrays in (ours, theirs):
        if f"{metric}_per_image" not in arrays:
            raise UserError(f"{metric} was measured by one of the two only")
    if "parameters" in ours and not np.array_equal(ours["parameters"], theirs.get("parameters", np.empty(0))):
        raise UserError("measured at other parameters (k, protocol or sizes differ)")
    # A metric may have been given the first images only.
    return _common(*(_first(arrays["names"], len(arrays[metric + _SUFFIX])) for arrays in (ours, theirs)))


def _first(names: np.ndarray, count: int) -> np.ndarray:
    return names if len(names) == count else names[:count]


class _KnownImages:
    """Of which image each row is, found once for all results of the same array of names: sorting them takes time."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, bytes], Tensor] = {}

    def of(self, names: np.ndarray, places: np.ndarray) -> Tensor:
        """Return of which image each of some rows is, by numbers; ``names`` must stay while this is in use."""
        key = id(names), places.tobytes()
        if key not in self._found:
            self._found[key] = _images({"names": names}, places)
        return self._found[key]


def _images(arrays: Mapping[str, np.ndarray], places: np.ndarray) -> Tensor:
    """Return of which image each of some rows is, by numbers."""
    return torch.from_numpy(np.unique(arrays["names"][places], return_inverse=True)[1])


def _common(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the same images in both."""
    if ours is theirs or np.array_equal(ours, theirs):
        return np.arange(len(ours)), np.arange(len(theirs))
    if len(np.unique(ours)) < len(ours) or len(np.unique(theirs)) < len(theirs):
        raise UserError("measured on other images")
    names, first, second = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
    if len(names) < 2:
        raise UserError("measured on other images")
    return first, second
