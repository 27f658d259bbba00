"""``solo-invariance measure``: what did a backbone become invariant to?"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.commands.console import as_dict, as_object, choose_device, console, progress_bars
from solo_invariance.commands.run_directory import RunDirectory, open_run
from solo_invariance.config import DataConfig
from solo_invariance.config import MeasureConfig as Config
from solo_invariance.data.images import ImageFiles, ImageSource, Progress, TensorImages, no_progress
from solo_invariance.data.latent_scenes import VIEW_SETS, LatentScenes, view_groups
from solo_invariance.errors import UserError
from solo_invariance.hosts.plugins import discover, load_plugin
from solo_invariance.measure import Geometry, InvarianceMeasurement, Measured, MeasureSettings
from solo_invariance.results import SCHEMA, fingerprint_of, read_json, versions, write_arrays, write_json

VIEW_KINDS = {"pose": "spatial", "light_direction": "appearance", "light_hue": "appearance"}
_SPEED_KEYS = ("out", "device", "batch_size", "num_workers", "transforms", "views")


def run(config: Any) -> None:
    """Measure, print the table and say where the results are."""
    with progress_bars() as progress:
        result = measure(config, progress)
    _print(result)
    console.print(f"results: {as_object(config, Config).out}", soft_wrap=True)


def measure(config: Any, progress: Progress = no_progress, backbone: Backbone | None = None) -> dict[str, Any]:
    """Measure a backbone and write ``OUT/invariance.json``; return its content.

    Args:
        config: Composed, of ``MeasureConfig``.
        progress: Told how far the work is.
        backbone: The configuration's, where it is loaded already.

    Transforms that were finished by an earlier run with the same configuration are kept.
    """
    started = time.perf_counter()
    settings = as_object(config, Config)
    device = choose_device(settings.device)
    names, views = _transform_names(settings.transforms), _view_names(settings)
    if not names and not views:
        raise UserError("transforms and views are both empty: nothing to measure")
    transforms = {name: load_plugin("transforms", name) for name in names}
    metrics = {name: load_plugin("metrics", name) for name in {"similarity": 0, **dict.fromkeys(settings.metrics)}}
    backbone = (backbone or load_backbone(settings.backbone, settings.seed)).to(device)
    crop_size = settings.crop_size or backbone.input_spec.crop_size
    geometry = Geometry(settings.resize or round(crop_size * 8 / 7), crop_size)
    if geometry.resize < geometry.crop_size:
        raise UserError(f"resize={geometry.resize} is smaller than crop_size={geometry.crop_size}")
    source = _images(settings.data, geometry.resize)
    reference = (
        source if settings.reference.path is None else ImageFiles(Path(settings.reference.path), geometry.resize)
    )
    directory = open_run(settings.out, _identity(as_dict(config), backbone, geometry, source, reference))
    parts = {name: _part(directory, name) for name in (*names, *views)}
    statistics = _part(directory, "statistics")
    if not all(part.is_file() for part in (*parts.values(), statistics)):
        measurement = InvarianceMeasurement(
            backbone,
            reference,
            MeasureSettings(
                protocol=settings.protocol.name,  # type: ignore[arg-type]
                k=settings.k,
                num_images=settings.num_images,
                geometry=geometry,
                batch_size=settings.batch_size,
                num_workers=settings.num_workers,
                seed=settings.seed,
            ),
            progress,
        )
        directory.claim()
        write_json(statistics, {"shrinkage": measurement.whitening.shrinkage})
        for name, transform in transforms.items():
            if not parts[name].is_file():
                _keep(directory, name, measurement.measure_transform(name, transform, source, metrics))
        for name in views:
            if not parts[name].is_file():
                groups = _view_groups(name, settings.data, geometry)
                _keep(directory, name, measurement.measure_groups(name, VIEW_KINDS[name], groups))
    result = {
        "schema": SCHEMA,
        "kind": "invariance",
        "label": backbone.provenance.label,
        "backbone": backbone.describe(),
        "protocol": settings.protocol.name,
        "num_images": settings.num_images
        if settings.protocol.name == "paper"
        else min(settings.num_images, len(source)),
        "k": settings.k,
        "geometry": geometry._asdict(),
        "reference": {"num_images": len(reference), **read_json(statistics)},
        "transforms": {name: read_json(parts[name]) for name in names},
        "views": {name: read_json(parts[name]) for name in views},
        "config": as_dict(config),
        "versions": versions(),
        "seed": settings.seed,
        "timings": {"total_seconds": time.perf_counter() - started},
    }
    write_json(directory.path / "invariance.json", result)
    return result


def _transform_names(chosen: Any) -> list[str]:
    known = [plugin.name for plugin in discover("transforms")]
    if chosen == "all":
        return known
    if not isinstance(chosen, list) or not all(isinstance(name, str) for name in chosen):
        raise UserError(f"transforms={chosen}: expected all, or a list such as [rotation,hue]")
    return list(dict.fromkeys(chosen))


def _view_names(settings: Config) -> list[str]:
    embedded = settings.data.name is not None
    chosen = (list(VIEW_SETS) if embedded else []) if settings.views is None else settings.views
    for name in chosen:
        if name not in VIEW_SETS:
            raise UserError(f"views: there is no {name!r}; choose from {', '.join(VIEW_SETS)}")
    if chosen and not embedded:
        raise UserError("views: the view sets are those of data.name=latent_scenes; data.path has none")
    return chosen


def _images(data: DataConfig, resize: int) -> ImageSource:
    if (data.path is None) == (data.name is None):
        raise UserError("data: set data.path=FOLDER or data.name=latent_scenes, one of them")
    if data.path is not None:
        return ImageFiles(Path(data.path), resize)
    if data.name != "latent_scenes":
        raise UserError(f"data.name={data.name}: the embedded dataset is latent_scenes")
    scenes = LatentScenes(data.num_images, size=data.size, seed=data.seed)
    return TensorImages(scenes.images, resize, name="latent_scenes image")


def _view_groups(name: str, data: DataConfig, geometry: Geometry) -> Any:
    # Rendered at the crop's size: nothing of the scene is lost to a centre crop.
    return view_groups(name, data.num_groups, data.num_views, size=geometry.crop_size, seed=data.seed)


def _identity(
    config: dict[str, Any], backbone: Backbone, geometry: Geometry, source: ImageSource, reference: ImageSource
) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key not in _SPEED_KEYS}
    return {
        **kept,
        "backbone": {**kept["backbone"], "sha256": backbone.provenance.sha256},
        **geometry._asdict(),
        "images": [_contents(source), _contents(reference)],
        "version": versions()["solo-invariance"],
    }


def _contents(source: ImageSource) -> str:
    """Hash the names of the images and, of files, the sizes."""
    names = [source.name_of(index) for index in range(len(source))]
    sizes = [path.stat().st_size for path in source.paths] if isinstance(source, ImageFiles) else []
    return fingerprint_of({"names": names, "sizes": sizes})


def _part(directory: RunDirectory, name: str) -> Path:
    return directory.path / "parts" / f"{name}.json"


def _keep(directory: RunDirectory, name: str, measured: Measured) -> None:
    # The summary comes last: where it is, the arrays are too.
    write_arrays(directory.path / f"{name}.npz", measured.arrays)
    write_json(_part(directory, name), measured.summary)


def _print(result: Mapping[str, Any]) -> None:
    table = Table(title=f"{result['label']}: invariance, protocol {result['protocol']}", title_justify="left")
    table.add_column("kind")
    table.add_column("transform")
    for column in ("similarity", "95 %", "distance", "95 %"):
        table.add_column(column, justify="right")
    for name, entry in {**result["transforms"], **result["views"]}.items():
        cells = []
        for metric in ("similarity", "distance"):
            measured = entry.get(metric)
            cells += [f"{measured['mean']:.3f}", "[{:.3f}, {:.3f}]".format(*measured["ci95"])] if measured else ["", ""]
        table.add_row(entry["kind"], name, *cells)
    console.print(table)


__all__ = ["Config", "measure", "run"]
