"""From solo-learn's ``augmentations`` list to a crop pipeline."""

import difflib
import math
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from solo_invariance.config.composed import literal, plain
from solo_invariance.config.families import CanvasName
from solo_invariance.config.recipes import origin_of_crop_size
from solo_invariance.errors import UserError, did_you_mean, reason_of
from solo_invariance.families import (
    Canvas,
    CropEntry,
    CropPipeline,
    default_canvas_size,
)
from solo_invariance.families.from_config import family_from_config
from solo_invariance.hosts.refusals import refuse_dali
from solo_invariance.hosts.sensitive import KEYS as SENSITIVE_KEYS
from solo_invariance.known_datasets import IMAGENET, Statistics, known_dataset

_FAMILY_KEYS = ("family", "families")
_ENTRY_KEYS = (*_FAMILY_KEYS, "operations", "crop_size", "num_crops", "canvas", "canvas_size", "mean", "std")
RESOLVED = "resolved"
"""Key of ``invariance`` where a run's configuration has what makes its crops, written out."""

_RUN_KEYS = ("family", "views", "operations", "crop_size", "small_crop_size", "canvas", "canvas_size")


def crop_pipeline_from_config(cfg: DictConfig) -> tuple[CropPipeline, Canvas]:
    """Return what makes the crops of a run, and the canvas that it needs.

    Args:
        cfg: A run's configuration: ``augmentations`` (entries with ``family``, ``crop_size``, ``num_crops`` and
            optionally ``operations``, ``canvas``, ``canvas_size``, ``mean``, ``std``), ``data.dataset``,
            ``data.format``.
            Interpolations in ``augmentations`` are resolved in place, so that the host writes plain values to
            ``args.json``.

    Raises:
        UserError: A key is missing, unknown or contradicts another; the message names it.
    """
    refuse_dali(cfg)
    try:
        OmegaConf.resolve(cfg.augmentations)
    except InterpolationKeyError as error:
        raise _missing(error) from error
    except OmegaConfBaseException as error:
        raise UserError(f"augmentations: {reason_of(error)}") from error
    _refuse_unread(cfg)
    entries = tuple(_entry(f"augmentations[{index}]", entry) for index, entry in enumerate(cfg.augmentations))
    mean, std = _statistics(cfg)
    return CropPipeline(entries, mean, std), _canvas(cfg.augmentations, entries)


def describe_run(pipeline: CropPipeline, canvas: Canvas) -> dict[str, Any]:
    """Return what makes the crops of a run as plain data: families with all their numbers, units, sizes, statistics."""
    return {
        "crops": pipeline.describe(),
        "canvas": {"size": canvas.size, "shows": shown_by(canvas), "units": {"size": "pixels"}},
        "normalisation": {"mean": list(pipeline.mean), "std": list(pipeline.std), "units": "values in [0, 1]"},
    }


def summarise_run(pipeline: CropPipeline, canvas: Canvas) -> str:
    """Return what makes the crops of a run in one line for a reader."""
    shown = "whole image" if canvas.whole else "centre square"
    return f"families: {pipeline.summary()}; canvas {canvas.size} pixels, {shown}"


def record_run(cfg: Any, pipeline: CropPipeline, canvas: Canvas) -> None:
    """Write what makes the crops of a run into its configuration, as ``invariance.resolved``.

    The host writes its configuration to ``args.json``, where it stays readable when the families of a later version
    have other numbers. Nothing reads it back: a run of that configuration finds its families by their names.
    """
    chosen = OmegaConf.select(cfg, "invariance")
    if OmegaConf.is_readonly(cfg) or not (chosen is None or isinstance(chosen, DictConfig)):
        return
    described = literal(describe_run(pipeline, canvas))
    OmegaConf.update(cfg, f"invariance.{RESOLVED}", described, merge=False, force_add=True)


def shown_by(canvas: Canvas) -> str:
    """Return the name of what a canvas shows of an image, as ``canvas`` in a configuration has it."""
    return (CanvasName.whole if canvas.whole else CanvasName.centre).name


def origin_of_size(cfg: DictConfig) -> str:
    """Return where the crop size of a run comes from, in a few words, before its interpolations are resolved.

    Nothing where the configuration says it, and where there is nothing to tell.
    """
    content: Any = OmegaConf.to_container(cfg, resolve=False)
    size = content["augmentations"][0].get("crop_size") if content.get("augmentations") else None
    if not isinstance(size, str) or "solo_invariance.crop_size" not in size:
        return ""
    return origin_of_crop_size(
        str(OmegaConf.select(cfg, "data.dataset")), OmegaConf.select(cfg, "invariance.crop_size")
    )


def _missing(error: InterpolationKeyError) -> UserError:
    """What to write, where the augmentations refer to a key that is not there."""
    for key, example in (("family", "ventral"), ("views", "[ventral,dorsal]")):
        if f"'invariance.{key}" in str(error):
            return UserError(
                f"augmentations: 'invariance.{key}' is missing; add +invariance.{key}=..., such as "
                f"+invariance.{key}={example}"
            )
    return UserError(f"augmentations: {reason_of(error)}")


def _refuse_unread(cfg: DictConfig) -> None:
    """Refuse keys of a run's ``invariance`` that the chosen augmentations do not read: they would change nothing."""
    chosen = OmegaConf.select(cfg, "invariance")
    if not isinstance(chosen, DictConfig):
        return
    content: Any = OmegaConf.to_container(cfg.augmentations)
    entries = [entry for entry in content if isinstance(entry, dict)]
    for key, value in plain(chosen).items():
        if key == RESOLVED or key in SENSITIVE_KEYS:
            continue
        if key not in _RUN_KEYS:
            if hint := did_you_mean(key, (*_RUN_KEYS, *SENSITIVE_KEYS)):
                raise UserError(f"invariance.{key}: there is no such key{hint}")
            continue  # for other parts of this package, or of yours
        if value is None or value in ({}, []):
            continue
        if key == "views" and (not isinstance(value, list) or len(value) != 2):
            raise UserError(f"invariance.views={value}: expected two families, one a view")
        fields: dict[str, list[Any]] = {
            "family": [entry.get("family") for entry in entries],
            "views": [[entry.get("family") for entry in entries]],
            "operations": [entry.get("operations") for entry in entries],
            "canvas": [entry.get("canvas") for entry in entries],
            "canvas_size": [entry.get("canvas_size") for entry in entries],
        }
        if value not in fields.get(key, [entry.get("crop_size") for entry in entries]):
            raise UserError(
                f"invariance.{key}={value}: the chosen augmentations do not read this key, it would change nothing; "
                f"change their entries, as in augmentations.0.operations.grayscale.p=0.5, or choose others"
            )


def _entry(where: str, entry: Any) -> CropEntry:
    if not isinstance(entry, DictConfig):
        raise UserError(f"{where}={entry}: expected keys and values, such as family: ventral")
    content = plain(entry)
    for key in content:
        close = difflib.get_close_matches(key, _ENTRY_KEYS, n=1, cutoff=0.75)
        if key not in _ENTRY_KEYS and close:
            raise UserError(f"{where}.{key}: there is no such key; did you mean {close[0]!r}?")
    named = [key for key in _FAMILY_KEYS if content.get(key) is not None]
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
    return Canvas(size, sharp=size > largest, whole=_is_whole(augmentations))


def _is_whole(augmentations: ListConfig) -> bool:
    chosen = {entry.canvas for entry in augmentations if entry.get("canvas") is not None}
    if len(chosen) > 1:
        raise UserError(f"augmentations[*].canvas: all entries share one canvas, got {sorted(chosen)}")
    kept = chosen.pop() if chosen else CanvasName.whole.name
    if kept not in CanvasName.__members__:
        raise UserError(f"augmentations[*].canvas={kept}: choose from {', '.join(CanvasName.__members__)}")
    return CanvasName[kept] is CanvasName.whole


def _statistics(cfg: DictConfig) -> Statistics:
    """What crops are normalised with, as solo-learn has it: its own for a dataset it knows, else the entries'."""
    dataset = known_dataset(OmegaConf.select(cfg, "data.dataset"))
    if dataset.is_normalised_by_name:
        return dataset.statistics
    mean, std = _shared(cfg.augmentations, "mean", IMAGENET[0]), _shared(cfg.augmentations, "std", IMAGENET[1])
    if min(std) <= 0:
        raise UserError(f"augmentations[0].std={list(std)}: expected numbers above 0")
    return mean, std


def _shared(augmentations: ListConfig, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
    values = [plain(entry).get(key) for entry in augmentations]
    if any(value != values[0] for value in values):
        raise UserError(f"augmentations[*].{key}: all crops are normalised alike, got {values}")
    if values[0] is None:
        return default
    three = isinstance(values[0], list) and len(values[0]) == 3
    if not three or not all(isinstance(n, int | float) and math.isfinite(n) for n in values[0]):
        raise UserError(f"augmentations[0].{key}={values[0]}: expected three numbers, one a channel")
    return tuple(float(number) for number in values[0])
