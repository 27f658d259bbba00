"""From solo-learn's ``augmentations`` list to a crop pipeline."""

from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_invariance.data.normalization import statistics_of
from solo_invariance.errors import UserError
from solo_invariance.families import (
    Canvas,
    CropEntry,
    CropPipeline,
    Family,
    build_family,
    compose,
    default_canvas_size,
    with_operations,
)
from solo_invariance.hosts.plugins import load_plugin

FAMILY_KEYS = ("family", "families")


def crop_pipeline_from_config(cfg: DictConfig) -> tuple[CropPipeline, Canvas]:
    """Return what makes the crops of a run, and the canvas that it needs.

    Args:
        cfg: A run's configuration: ``augmentations`` (entries with ``family``, ``crop_size``, ``num_crops`` and
            optionally ``operations``, ``canvas_size``, ``mean``, ``std``), ``data.dataset``, ``data.format``.
            Interpolations in ``augmentations`` are resolved in place, so that the host writes plain values to
            ``args.json``.

    Raises:
        UserError: A key is missing, unknown or contradicts another; the message names it.
    """
    if OmegaConf.select(cfg, "data.format") == "dali":
        raise UserError(
            "data.format=dali bypasses the dataset that families work on; use data.format=image_folder or h5"
        )
    try:
        OmegaConf.resolve(cfg.augmentations)
    except OmegaConfBaseException as error:
        raise UserError(f"augmentations: {str(error).splitlines()[0]}") from error
    entries = tuple(_entry(f"augmentations[{index}]", entry) for index, entry in enumerate(cfg.augmentations))
    mean, std = _statistics(cfg)
    return CropPipeline(entries, mean, std), _canvas(cfg.augmentations, entries)


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain data, resolved."""
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def family_from_config(chosen: Any, operations: Any = None, where: str = "") -> Family:
    """Return the family that a configuration asks for.

    Args:
        chosen: A family's name; a mapping with ``operations`` (a list) and optionally ``name`` and ``invariant_to``,
            which is a family written out; or a list of these, which are composed.
        operations: Other numbers for some of its operations, by operation; or None.
        where: The place in the configuration, for messages.

    Raises:
        UserError: Something is unknown or may not have its value; the message names the key.
    """
    choices = chosen if isinstance(chosen, list) else [chosen]
    if not choices:
        raise UserError(f"{where}family=[]: expected at least one family; identity changes nothing")
    family = compose([_family(choice, where) for choice in choices])
    if operations is None:
        return family
    if not isinstance(operations, Mapping):
        raise UserError(f"{where}operations={operations}: expected numbers by operation; a whole family goes to family")
    return _or_refuse(f"{where}operations.", lambda: with_operations(family, operations))


def _family(choice: Any, where: str) -> Family:
    if isinstance(choice, Mapping):
        return _written_out(choice, f"{where}family")
    family = load_plugin("families", str(choice))
    if not isinstance(family, Family):
        raise UserError(f"{where}family={choice}: the plugin is a {type(family).__name__}, expected a Family")
    return family


def _written_out(content: Mapping[Any, Any], where: str) -> Family:
    unknown = [str(key) for key in content if key not in ("name", "invariant_to", "operations")]
    if unknown:
        raise UserError(f"{where}.{unknown[0]}: a family written out has name, invariant_to and operations")
    operations = content.get("operations")
    if not isinstance(operations, list):
        raise UserError(f"{where}.operations={operations}: expected a list of operations")
    name, invariant_to = str(content.get("name", "custom")), str(content.get("invariant_to", ""))
    return _or_refuse(f"{where}.operations", lambda: build_family(name, operations, invariant_to))


def _or_refuse(where: str, build: Callable[[], Family]) -> Family:
    try:
        return build()
    except ValueError as error:
        raise UserError(f"{where}{error}") from error


def _entry(where: str, entry: DictConfig) -> CropEntry:
    content = plain(entry)
    named = [key for key in FAMILY_KEYS if content.get(key) is not None]
    if not named:
        raise UserError(f"{where}.family is missing: either every entry names a family or none does")
    if len(named) > 1:
        raise UserError(f"{where}: family and families say the same thing; keep one")
    family = family_from_config(content[named[0]], content.get("operations"), f"{where}.")
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
    return Canvas(size, sharp=size > largest)


def _statistics(cfg: DictConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean, std = statistics_of(OmegaConf.select(cfg, "data.dataset"))
    first = cfg.augmentations[0]
    return tuple(first.get("mean", mean)), tuple(first.get("std", std))
