"""What of a composed configuration cannot be done, as far as that is told without anything heavy: names and files."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from solo_invariance.config.advise import AdviseConfig
from solo_invariance.config.backbone import BackboneConfig, config_of, require_backbone
from solo_invariance.config.checks import require_device, require_images, require_runs
from solo_invariance.config.claims import claims_from
from solo_invariance.config.composed import as_dict, as_object
from solo_invariance.config.export import ExportConfig, require_place
from solo_invariance.config.families import FamiliesConfig
from solo_invariance.config.fuse import FuseConfig, in_keys_of_members, require_members
from solo_invariance.config.kinds import schema_of
from solo_invariance.config.measure import (
    ALWAYS_MEASURED,
    EMBEDDED,
    EMBEDDED_VIEWS,
    KINDS,
    METRICS_EXAMPLE,
    NOTHING_TO_MEASURE,
    OF_FEATURES,
    TRANSFORMS_EXAMPLE,
    MeasureConfig,
    require_data,
)
from solo_invariance.config.objective import EVERYWHERE, require_objective
from solo_invariance.config.pretrain import PretrainConfig
from solo_invariance.config.report import ReportConfig
from solo_invariance.config.shape import ShapeConfig
from solo_invariance.config.study import StudyConfig, require_something_to_do, view_sets_of
from solo_invariance.config.task_entries import watch_transfer_from, watched_task
from solo_invariance.config.transfer import ProbeConfig, TransferConfig
from solo_invariance.config.watch_transfer import WATCH_TRANSFER
from solo_invariance.errors import UserError
from solo_invariance.plugins import Kind, discover, find_plugin, names_chosen

_FROM_KEY = re.compile(r"\$\{(invariance\.(\w+))(?:\[\d\])?\}")


def require_possible(command: str, config: Any) -> None:
    """Refuse values that are none, names that nothing has, and files that are not there, before anything is imported.

    Args:
        command: ``measure``, ``pretrain``, ...
        config: Composed for it.

    Raises:
        UserError: In one line, which names the key.
    """
    if command == "pretrain":
        _require_chosen_families(config)
    settings = as_object(config, schema_of(command))
    if command in _CHECKS:
        _CHECKS[command](settings, as_dict(config))


def _measure(settings: MeasureConfig, plain: Mapping[str, Any]) -> None:
    if settings.transforms is not None:
        _require("transforms", names_chosen("transforms", plain["transforms"], TRANSFORMS_EXAMPLE))
    _require("metrics", names_chosen("metrics", plain["metrics"], METRICS_EXAMPLE))
    _require_views_of(settings.backbone, plain)
    require_device(settings.device)
    require_backbone(settings.backbone)
    require_data(settings.data)
    if settings.data.name is None:
        _require_folders(settings.data.path)
    _require_folders(settings.reference.path)
    of_features = {*names_chosen("metrics", plain["metrics"], METRICS_EXAMPLE)} - {*ALWAYS_MEASURED}
    if settings.transforms == [] and (settings.data.name is None or settings.views == []) and not of_features:
        raise UserError(NOTHING_TO_MEASURE)
    require_objective(settings.objective, *_numbers_of_measuring(settings, plain))


def _numbers_of_measuring(settings: MeasureConfig, plain: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the names of numbers that a measurement will have, and what those of others begin with."""
    metrics = [*dict.fromkeys([*ALWAYS_MEASURED, *names_chosen("metrics", plain["metrics"], METRICS_EXAMPLE)])]
    for_views = settings.data.name not in (None, EMBEDDED)
    named = [] if settings.transforms is None and for_views else plain["transforms"] or "all"
    if settings.transforms == []:
        named = []
    changes = [*names_chosen("transforms", named, TRANSFORMS_EXAMPLE), *(settings.views or ())]
    changes = [*(f"mean_{kind}" for kind in KINDS if changes), *changes]
    if settings.views is None and settings.data.name is not None:
        changes += [*EMBEDDED_VIEWS] if settings.data.name == EMBEDDED else [settings.data.name]
    of_views = [metric for metric in metrics if metric not in OF_FEATURES]
    known = [f"{metric}.{change}" for change in changes for metric in of_views]
    # Of a plugin's metric, it is not known before whether it is of views or of features.
    health = [f"health.{metric}" for metric in metrics if metric not in ALWAYS_MEASURED]
    further = [f"{metric}.mean_" for metric in of_views]  # of kinds that a plugin's transforms may have
    layers = settings.backbone.layer if isinstance(settings.backbone.layer, list) else []
    names = [*EVERYWHERE, *(one for one in health if one.removeprefix("health.") in OF_FEATURES), *known, *health]
    return names, [*further, "similarity_without_identity.", *(f"{layer}/" for layer in (*layers, "untrained"))]


def _transfer(settings: TransferConfig, plain: Mapping[str, Any]) -> None:
    tasks = plain["tasks"] if isinstance(plain["tasks"], list) else [settings.task.name]
    scores = ["score.mean"] if len(tasks) > 1 else ["score"]
    known = [*scores, *(f"score.{task}" for task in _named(tasks)), *EVERYWHERE]
    require_objective(settings.objective, known, [] if len(tasks) > 1 else ["outputs."])
    _require("tasks", _named(tasks))
    _require_views_of(settings.backbone, plain)
    require_device(settings.device)
    if settings.probe == ProbeConfig() and settings.metric is None:  # whether they fit the task is said first
        require_backbone(settings.backbone)


def _fuse(settings: FuseConfig, plain: Mapping[str, Any]) -> None:
    chosen = settings.task.name is not None and settings.mode in ("auto", "weighted")
    require_objective(settings.objective, ["num_features", *(["score"] if chosen else [])])
    if settings.mode != "auto" and settings.mode not in (plugin.name for plugin in discover("fusions")):
        return  # which is refused with more to say
    _require("tasks", _named([settings.task.name]))
    require_device(settings.device)
    if settings.measured:
        require_runs(settings.measured)
    else:
        require_members(settings.members)
    if settings.export is not None:
        require_place(settings.export, "export")
    if settings.out.endswith((".ckpt", ".pth", ".pt")):  # else it is refused first
        for member in settings.members:
            if isinstance(member, str):
                _require_member(member)
    _require_folders(settings.reference.path)


def _advise(settings: AdviseConfig, plain: Mapping[str, Any]) -> None:
    _require("families", _families_in(plain["families"]), "families")
    _require("transforms", names_chosen("transforms", plain["transforms"] or [], TRANSFORMS_EXAMPLE))
    _require("tasks", _named([settings.task.name]))
    require_device(settings.device)
    if settings.reads_a_backbone:
        _require_views_of(settings.backbone, plain)
        require_backbone(settings.backbone)
    if settings.runs:
        require_runs(settings.runs)
    for entry in settings.backbones:
        if isinstance(entry, str):
            require_backbone(config_of(entry))


def _export(settings: ExportConfig, plain: Mapping[str, Any]) -> None:
    require_place(settings.out, "out")
    _require_views_of(settings.backbone, plain)
    require_backbone(settings.backbone)
    if settings.measured:
        require_runs(settings.measured)


def _shape(settings: ShapeConfig, plain: Mapping[str, Any]) -> None:
    _require("shapers", [settings.mode], "mode")
    _require("transforms", names_chosen("transforms", plain["transforms"] or [], TRANSFORMS_EXAMPLE))
    _require_views_of(settings.backbone, plain)
    require_device(settings.device)
    require_backbone(settings.backbone)
    _require_folders(settings.reference.path)


def _require_member(member: str) -> None:
    try:
        require_backbone(config_of(member))
    except UserError as error:
        raise in_keys_of_members(error, member) from error


def _report(settings: ReportConfig, plain: Mapping[str, Any]) -> None:
    require_runs(settings.runs)


def _families(settings: FamiliesConfig, plain: Mapping[str, Any]) -> None:
    _require("families", _families_in(plain["show"]), "show: family")
    _require_folders(settings.data.path)


def _study(settings: StudyConfig, plain: Mapping[str, Any]) -> None:
    preset = settings.study
    require_something_to_do(settings)
    claims_from(preset.claims)
    for name, arm in preset.arms.items():
        if arm.family is not None:
            _require("families", _families_in(plain["study"]["arms"][name]["family"]), f"study.arms.{name}.family")
    _require("transforms", names_chosen("transforms", plain["study"]["measure"]["transforms"], TRANSFORMS_EXAMPLE))
    _require("tasks", _named(plain["study"]["tasks"]), "study.tasks")
    require_device(settings.device)
    if settings.dry_run:  # which does without
        return
    folders = {
        "measure.data.path": preset.measure.data.path,
        "measure.reference.path": preset.measure.reference.path,
        **{f"measure.views: {name}": one.data.path for name, one in view_sets_of(preset.measure.views).items()},
        "fuse_reference.path": preset.fuse_reference.path,
    }
    for key, path in folders.items():
        try:
            _require_folders(path)
        except UserError as error:
            raise UserError(f"study.{key}: {error}") from error


def _pretrain(settings: PretrainConfig, plain: Mapping[str, Any]) -> None:
    monitored = ["invariance/", "health/"] if settings.invariance.monitor is not None else []
    scored = ["transfer/", "health/"] if settings.invariance.transfer is not None else []
    require_objective(settings.objective, ["loss"], ["train_", *dict.fromkeys([*monitored, *scored])])
    for place, entry in enumerate(plain["augmentations"]):
        if isinstance(entry, dict) and isinstance(entry.get("family"), str | list | dict):
            _require("families", _families_in(entry["family"]), f"augmentations[{place}].family")
    if settings.data.dataset == "custom":
        _require_folders(settings.data.train_path)
    if plain["invariance"]["transfer"] is not None:
        watched = [watched_task(entry)[0] for entry in watch_transfer_from(plain["invariance"]["transfer"]).tasks]
        _require("tasks", [str(task.name) for task in watched], f"{WATCH_TRANSFER}.tasks")
        for task in watched:
            try:
                _require_folders(None if task.download else task.path)
            except UserError as error:
                raise UserError(f"{WATCH_TRANSFER}.tasks: {task.label or task.name}: {error}") from error


_CHECKS: Mapping[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "advise": _advise,
    "export": _export,
    "families": _families,
    "fuse": _fuse,
    "measure": _measure,
    "pretrain": _pretrain,
    "report": _report,
    "shape": _shape,
    "study": _study,
    "transfer": _transfer,
}


def _require_chosen_families(config: DictConfig) -> None:
    """Refuse a configuration of augmentations that takes its families from a key that is not set."""
    entries = config.augmentations if isinstance(config.augmentations, ListConfig) else []
    for place, entry in enumerate(OmegaConf.to_container(entries, resolve=False) if entries else []):  # type: ignore[arg-type]
        from_key = _FROM_KEY.fullmatch(str(entry.get("family"))) if isinstance(entry, dict) else None
        if from_key and config.invariance.get(from_key.group(2)) is None:
            key = from_key.group(1)
            example = "'invariance.views=[default,ventral]'" if key == "invariance.views" else f"{key}=NAME"
            known = ", ".join(plugin.name for plugin in discover("families"))
            raise UserError(f"augmentations[{place}].family: is {key}, which is not set; add {example}, of {known}")


def _require(kind: Kind, names: list[str], where: str = "") -> None:
    for name in names:
        find_plugin(kind, name, where)


def _require_views_of(backbone: BackboneConfig, plain: Mapping[str, Any]) -> None:
    if backbone.views.family is not None:
        _require("families", _families_in(plain["backbone"]["views"]["family"]), "backbone.views.family")


def _require_folders(path: str | None) -> None:
    if path is not None:
        with suppress(OSError):
            require_images(path)


def _named(entries: list[Any]) -> list[str]:
    """Return the names in a list of names, or of mappings with names; what is neither is refused with more to say."""
    names = [entry.get("name") if isinstance(entry, dict) else entry for entry in entries]
    return [name for name in names if isinstance(name, str)]


def _families_in(chosen: Any) -> list[str]:
    return list(_names_in(chosen))


def _names_in(chosen: Any) -> Iterator[str]:
    if isinstance(chosen, str):
        yield chosen
    for one in chosen if isinstance(chosen, list) else []:
        yield from _names_in(one)
