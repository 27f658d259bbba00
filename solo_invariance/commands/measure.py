"""``solo-invariance measure``: what did a backbone become invariant to?"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from solo_invariance.backbones import Backbone, SideBySide, load_backbone, random_init_of
from solo_invariance.commands.comparison import compare_runs, print_comparison
from solo_invariance.commands.in_processes import run_shared
from solo_invariance.commands.tables import print_measured
from solo_invariance.commands.terminal import console, progress_bars
from solo_invariance.config.composed import as_dict, as_object
from solo_invariance.config.measure import MeasureConfig as Config
from solo_invariance.data.images import ImageFiles, ImageSource, identify
from solo_invariance.data.reading import ReadingPolicy
from solo_invariance.device import choose_device
from solo_invariance.errors import UserError
from solo_invariance.features import FeatureCache
from solo_invariance.measure import (
    Geometry,
    InvarianceMeasurement,
    Measured,
    MeasureSettings,
    Moments,
    PartialResultFiles,
    Transform,
    ViewMetric,
    measure_groups,
)
from solo_invariance.measure.measurement import METRICS
from solo_invariance.measure.sources import MeasuredData, measured_data
from solo_invariance.measure.statistics.moments_cache import find_moments, keep_moments, key_of_moments
from solo_invariance.plugins import discover, load_plugin
from solo_invariance.processes import Processes
from solo_invariance.progress import Progress, no_progress
from solo_invariance.report import build_report
from solo_invariance.results.files import (
    SCHEMA,
    fingerprint_of,
    read_arrays,
    read_json,
    versions,
    write_arrays,
    write_json,
)
from solo_invariance.results.run_directory import RunDirectory, open_run

__all__ = ["Config", "measure", "run"]

_TWIN = "untrained"
# They change the speed, where results go, or what else is measured; not what the numbers are.
_OTHER_KEYS = (
    *("out", "against", "device", "devices", "batch_size", "num_workers", "transforms", "views"),
    *("on_error", "max_unreadable"),
)


def run(config: Any) -> None:
    """Measure, print the tables and say where the results are."""
    run_shared(config, Config, _run)


def _run(processes: Processes, device: torch.device, config: Any) -> None:
    settings = as_object(config, Config)
    with progress_bars(quiet=processes.rank > 0) as progress:
        results = measure(config, progress, processes=processes, device=device)
    if processes.rank > 0:
        return
    for result in results.values():
        print_measured(result)
    for comparison in _comparisons(settings, results):
        print_comparison(comparison)
    report = build_report([Path(settings.out)], Path(settings.out) / "report.html")
    console.print(f"results: {settings.out}, figures: {report}", soft_wrap=True)


def _comparisons(settings: Config, blocks: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Compare each layer with its untrained twin and with the other run's, as far as these were asked for."""
    out = Path(settings.out)
    if settings.twin:
        for block in blocks:
            if not _is_twin(block, settings):
                yield compare_runs(out / block, out / _TWIN / block, settings.seed, "comparison_untrained.json")
    if settings.against is not None:
        for block in _compared(settings, blocks):
            yield compare_runs(out / block, Path(settings.against) / block, settings.seed)


def measure(
    config: Any,
    progress: Progress = no_progress,
    backbone: Backbone | None = None,
    processes: Processes | None = None,
    device: torch.device | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure a backbone, write ``OUT/invariance.json`` and return its content.

    With several layers or an untrained twin there are several results: each has a name, under which its file is
    (``OUT/layer3/invariance.json``, ``OUT/untrained/invariance.json``).

    Args:
        config: Composed, of ``MeasureConfig``.
        progress: Told how far the work is.
        backbone: The configuration's, where it is loaded already.
        processes: Those that share the work, which all call this.
        device: This process's; the configuration's by default.

    Returns:
        The results by name; empty, for a backbone's only one. Nothing in processes but the first.

    What an earlier run with the same configuration has done is kept.
    """
    started = time.perf_counter()
    settings, processes = as_object(config, Config), processes or Processes()
    device = device or choose_device(settings.device)
    _check_before(settings)
    backbone = backbone or load_backbone(settings.backbone, settings.seed)
    measured = _measurable(backbone, settings)
    if settings.against is not None:
        blocks = _compared(settings, measured.layers)
    crop_size = settings.crop_size or backbone.input_spec.crop_size
    geometry = Geometry(settings.resize or round(crop_size * 8 / 7), crop_size)
    if geometry.resize < geometry.crop_size:
        raise UserError(f"resize={geometry.resize} is smaller than crop_size={geometry.crop_size}")
    if settings.against is not None:
        _require_comparable(settings, geometry, Path(settings.against) / blocks[0] / "invariance.json")
    data = measured_data(settings, geometry)
    names = _transform_names(settings, by_default=[] if data.view_set is not None else _all_transforms())
    if not names and not data.views:
        raise UserError("transforms and views are both empty: nothing to measure")
    path = settings.reference.path
    reference = data.images if path is None else ImageFiles(Path(path), geometry.resize)
    directory = open_run(settings.out, _identity(as_dict(config), backbone, data, reference))
    job = _Job(settings, measured.to(device), data, reference, directory, processes, progress)
    job.finish(names)
    if processes.rank > 0:
        return {}
    return {
        block: job.write(block, _about(config, backbone, block, data, time.perf_counter() - started), names)
        for block in measured.layers
    }


@dataclass(frozen=True)
class _Job:
    """The measurement that a configuration asks for, and the directory that it goes to."""

    settings: Config
    backbone: Backbone | SideBySide
    data: MeasuredData
    reference: ImageSource
    directory: RunDirectory
    processes: Processes
    progress: Progress

    def finish(self, names: list[str]) -> None:
        """Measure what is not there yet."""
        transforms = {name: load_plugin("transforms", name) for name in names if not self._is_done(name)}
        views = [name for name in self.data.views if not self._is_done(name)]
        if not transforms and not views and self._moments_path.is_file():
            return
        measurement = self._measurement()
        with self.directory.locked() if self.processes.rank == 0 else nullcontext():
            self._measure(measurement, transforms, views)

    def _measure(
        self, measurement: InvarianceMeasurement, transforms: Mapping[str, Transform], views: list[str]
    ) -> None:
        if self.processes.rank == 0 and not self._moments_path.is_file():
            self.directory.claim()
            _write_moments(self._moments_path, measurement)
        parts = PartialResultFiles(self.directory.path / "parts")
        metrics = {name: load_plugin("metrics", name) for name in _metric_names(self.settings)}
        measured = measurement.measure(transforms, self.data.images, metrics, parts) if transforms else {}
        for name in views:
            for block, one in measure_groups(measurement, name, self.data.view_groups(name), metrics, parts).items():
                measured.setdefault(block, {})[name] = one
        if self.processes.rank == 0:
            for block, results in measured.items():
                for name, one in results.items():
                    self._keep(block, name, one)
        self.processes.wait()  # until nobody reads the parts any more
        if self.processes.rank == 0:
            parts.drop(self._is_done)
        self.processes.wait()  # until they are gone

    def write(self, block: str, about: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
        """Write the result of a block of the features and return it."""
        moments = _read_moments(self._moments_path)
        reference = {
            "num_images": int(moments["count"]),
            **{key: moments[f"{block}|{key}"].item() for key in ("shrinkage", "estimator")},
            "unreadable": moments["unreadable"].tolist(),
        }
        result = {
            **about,
            "reference": reference,
            "transforms": {name: read_json(self._summary_path(block, name)) for name in names},
            "views": {name: read_json(self._summary_path(block, name)) for name in self.data.views},
        }
        write_json(self.directory.path / block / "invariance.json", result)
        return result

    def _measurement(self) -> InvarianceMeasurement:
        """Return the measurement with its statistics, which are computed once."""
        settings = measure_settings(self.settings, self.data.geometry, next(self.backbone.parameters()).device)
        if self._moments_path.is_file():
            moments = _moments(_read_moments(self._moments_path), self.backbone.layers)
            return InvarianceMeasurement(self.backbone, moments, settings, self.progress, self.processes)
        cache = FeatureCache.default()
        if cache is None or settings.reading.on_error == "skip":  # what is left out is to be listed
            return InvarianceMeasurement(self.backbone, self.reference, settings, self.progress, self.processes)
        key = key_of_moments(
            self.backbone,
            self.reference,
            self.data.geometry.crop_size,
            settings.precision,
            settings.reading.num_workers,
        )
        known = find_moments(cache, key, self.backbone.layers, len(self.reference))
        everywhere = all(self.processes.gather([known is not None]))
        reference = known if known is not None and everywhere else self.reference
        measurement = InvarianceMeasurement(self.backbone, reference, settings, self.progress, self.processes)
        if not everywhere and self.processes.rank == 0:
            keep_moments(cache, key, measurement.moments)
        return measurement

    def _is_done(self, name: str) -> bool:
        return all(self._summary_path(block, name).is_file() for block in self.backbone.layers)

    @property
    def _moments_path(self) -> Path:
        return self.directory.path / "parts" / "moments.npz"

    def _summary_path(self, block: str, name: str) -> Path:
        return self.directory.path / block / "parts" / f"{name}.json"

    def _keep(self, block: str, name: str, measured: Measured) -> None:
        # The summary comes last: where it is, the arrays are too.
        write_arrays(self.directory.path / block / f"{name}.npz", measured.arrays)
        write_json(self._summary_path(block, name), measured.summary)


def measure_settings(settings: Config, geometry: Geometry, device: torch.device) -> MeasureSettings:
    """Return how to measure, as a configuration says it."""
    return MeasureSettings(
        protocol=settings.protocol.name,  # type: ignore[arg-type]
        budget=settings.budget.name,  # type: ignore[arg-type]
        k=settings.k,
        num_images=settings.num_images,
        target_se=settings.target_se,
        gallery=settings.gallery,
        geometry=geometry,
        batch_size=settings.batch_size,
        precision=settings.precision.name,  # type: ignore[arg-type]
        compiled=settings.compile,
        reading=ReadingPolicy(settings.num_workers, settings.on_error.name, settings.max_unreadable),  # type: ignore[arg-type]
        seed=settings.seed,
    )


def _check_before(settings: Config) -> None:
    """Refuse names of plugins and runs that are not there before anything takes time."""
    for name in _metric_names(settings):
        metric = load_plugin("metrics", name)
        if not (isinstance(metric, type) and issubclass(metric, ViewMetric)):
            raise UserError(f"metrics: the plugin {name!r} is {metric!r}, expected a subclass of ViewMetric")
    for name in _transform_names(settings, by_default=[]):
        transform = load_plugin("transforms", name)
        if not isinstance(transform, Transform):
            raise UserError(f"transforms: the plugin {name!r} is {transform!r}, expected a Transform")


def _transform_names(settings: Config, by_default: list[str]) -> list[str]:
    chosen = settings.transforms
    if chosen is None:
        return by_default
    if chosen == "all":
        return _all_transforms()
    if not isinstance(chosen, list) or not all(isinstance(name, str) for name in chosen):
        raise UserError(f"transforms={chosen}: expected all, or a list such as [rotation,hue]")
    return list(dict.fromkeys(chosen))


def _all_transforms() -> list[str]:
    return [plugin.name for plugin in discover("transforms")]


def _metric_names(settings: Config) -> list[str]:
    chosen = settings.metrics
    if chosen == "all":
        chosen = [plugin.name for plugin in discover("metrics")]
    if not isinstance(chosen, list) or not all(isinstance(name, str) for name in chosen):
        raise UserError(f"metrics={chosen}: expected all, or a list such as [similarity,distance]")
    return list(dict.fromkeys([*METRICS, *chosen]))  # the paper's two cost nothing, and reports show them


def _measurable(backbone: Backbone, settings: Config) -> Backbone | SideBySide:
    if not settings.twin:
        return backbone
    return SideBySide({"": backbone, _TWIN: random_init_of(backbone, settings.seed)})


def _is_twin(block: str, settings: Config) -> bool:
    return settings.twin and block.split("/")[0] == _TWIN


def _compared(settings: Config, blocks: Iterable[str]) -> list[str]:
    """Return which blocks to compare with the other run: those that it has, too, but for untrained twins."""
    files = {block: Path(str(settings.against), block, "invariance.json") for block in blocks}
    found = [block for block, file in files.items() if file.is_file() and not _is_twin(block, settings)]
    if not found:
        first = next(iter(files.values()))
        there = sorted(str(file.parent) for file in Path(str(settings.against)).rglob("invariance.json"))
        hint = f"; there are {', '.join(there)}" if there else ""
        raise UserError(f"against={settings.against}: no result to compare with, such as {first}{hint}")
    return found


def _require_comparable(settings: Config, geometry: Geometry, other: Path) -> None:
    """Refuse what cannot be compared with another run before it is measured."""
    content = read_json(other)
    there = {**content.get("config", {}), **content}
    here = {
        "protocol": settings.protocol.name,
        "k": settings.k,
        "seed": settings.seed,
        "gallery": settings.gallery,
        "geometry": geometry._asdict(),
    }
    for key, value in here.items():
        if there.get(key) != value:
            raise UserError(f"against={settings.against}: measured with {key} {there.get(key)}, here {value}")


def _identity(config: dict[str, Any], backbone: Backbone, data: MeasuredData, reference: ImageSource) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key not in _OTHER_KEYS}
    return {
        **kept,
        "backbone": {**kept["backbone"], "sha256": backbone.provenance.sha256},
        **data.geometry._asdict(),
        "images": [_contents(data.images), _contents(reference)],
        "version": versions()["solo-invariance"],
    }


def _contents(source: ImageSource) -> str:
    """Hash what the images are known by."""
    return fingerprint_of({"images": [identify(source, index) for index in range(len(source))]})


def _about(config: Any, backbone: Backbone, block: str, data: MeasuredData, seconds: float) -> dict[str, Any]:
    """Return what a result says besides its numbers."""
    settings, label = as_object(config, Config), backbone.provenance.label
    of_twin = _is_twin(block, settings)
    layer = block.removeprefix(_TWIN).removeprefix("/") if of_twin else block
    width = backbone.layers[layer]
    return {
        "schema": SCHEMA,
        "kind": "invariance",
        "label": " ".join(filter(None, (label, layer, f"({_TWIN})" if of_twin else ""))),
        "backbone": {**backbone.describe(), "layer": layer or settings.backbone.layer, "num_features": width}
        | ({"checkpoint": None, "sha256": None} if of_twin else {}),
        "protocol": settings.protocol.name,
        "budget": settings.budget.name,
        "num_images": _num_images(settings, data),
        "k": settings.k,
        "geometry": data.geometry._asdict(),
        "config": as_dict(config),
        "versions": versions(),
        "seed": settings.seed,
        "timings": {"total_seconds": seconds},
    }


def _num_images(settings: Config, data: MeasuredData) -> int:
    available = len(data.images)
    if settings.budget.name == "adaptive":
        return min(settings.num_images or available, available)
    wanted = settings.num_images or 1000
    return wanted if settings.protocol.name == "paper" else min(wanted, available)


def _read_moments(path: Path) -> dict[str, np.ndarray]:
    return read_arrays(path, hint="; remove it, and the statistics are computed again")


def _moments(arrays: Mapping[str, np.ndarray], blocks: Iterable[str]) -> dict[str, Moments]:
    return {
        block: Moments(
            torch.from_numpy(arrays[f"{block}|mean"]),
            torch.from_numpy(arrays[f"{block}|covariance"]),
            int(arrays["count"]),
        )
        for block in blocks
    }


def _write_moments(path: Path, measurement: InvarianceMeasurement) -> None:
    arrays: dict[str, np.ndarray] = {"unreadable": np.asarray(measurement.unreadable, dtype=str)}
    for block, moments in measurement.moments.items():
        whitening = measurement.whitenings[block]
        arrays |= {
            "count": np.asarray(moments.num_images),
            f"{block}|mean": moments.mean.cpu().numpy(),
            f"{block}|covariance": moments.covariance.cpu().numpy(),
            f"{block}|shrinkage": np.asarray(whitening.shrinkage),
            f"{block}|estimator": np.asarray("oas" if whitening.shrinkage else "sample"),
        }
    write_arrays(path, arrays)
