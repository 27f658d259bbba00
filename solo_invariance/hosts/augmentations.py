"""From solo-learn's ``augmentations`` list to a crop pipeline."""

from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from solo_invariance.data.normalization import statistics_of
from solo_invariance.errors import UserError
from solo_invariance.families import Canvas, CropEntry, CropPipeline, Family, default_canvas_size
from solo_invariance.hosts.plugins import load_plugin


def crop_pipeline_from_config(cfg: DictConfig) -> tuple[CropPipeline, Canvas]:
    """Return what makes the crops of a run, and the canvas that it needs.

    Args:
        cfg: A run's configuration: ``augmentations`` (entries with ``family``, ``crop_size``, ``num_crops`` and
            optionally ``canvas_size``, ``mean``, ``std``), ``data.dataset``, ``data.format``. Interpolations in
            ``augmentations`` are resolved in place, so that the host writes plain numbers to ``args.json``.

    Raises:
        UserError: A key is missing, unknown or contradicts another; the message names it.
    """
    if OmegaConf.select(cfg, "data.format") == "dali":
        raise UserError(
            "data.format=dali bypasses the dataset that families work on; use data.format=image_folder or h5"
        )
    OmegaConf.resolve(cfg.augmentations)
    entries = tuple(_entry(index, entry) for index, entry in enumerate(cfg.augmentations))
    mean, std = _statistics(cfg)
    return CropPipeline(entries, mean, std), _canvas(cfg.augmentations, entries)


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain data, resolved."""
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _entry(index: int, entry: DictConfig) -> CropEntry:
    where = f"augmentations[{index}]"
    if "family" not in entry:
        raise UserError(f"{where}.family is missing: either every entry names a family or none does")
    family = load_plugin("families", str(entry.family))
    if not isinstance(family, Family):
        raise UserError(f"{where}.family={entry.family}: the plugin is a {type(family).__name__}, expected a Family")
    return CropEntry(family, _positive(entry, "crop_size", where), _positive(entry, "num_crops", where))


def _positive(entry: DictConfig, key: str, where: str) -> int:
    value: Any = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{where}.{key}={value}: expected a positive whole number")
    return value


def _canvas(augmentations: ListConfig, entries: tuple[CropEntry, ...]) -> Canvas:
    chosen = {entry.canvas_size for entry in augmentations if entry.get("canvas_size") is not None}
    largest = max(entry.crop_size for entry in entries)
    if len(chosen) > 1:
        raise UserError(f"augmentations[*].canvas_size: all entries share one canvas, got {sorted(chosen)}")
    size = chosen.pop() if chosen else default_canvas_size(largest)
    if not isinstance(size, int) or size < largest:
        raise UserError(
            f"augmentations[*].canvas_size={size}: expected a whole number, at least the crop size {largest}"
        )
    return Canvas(size)


def _statistics(cfg: DictConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean, std = statistics_of(OmegaConf.select(cfg, "data.dataset"))
    first = cfg.augmentations[0]
    return tuple(first.get("mean", mean)), tuple(first.get("std", std))
