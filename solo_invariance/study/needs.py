"""What a study reads besides what it trains on, looked for before anything is trained."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from solo_invariance.backbones import BackboneConfig, load_backbone
from solo_invariance.config.composed import plain
from solo_invariance.config.measure import EMBEDDED, DataConfig
from solo_invariance.config.task import TaskConfig
from solo_invariance.errors import UserError
from solo_invariance.measure import ResizeCrop
from solo_invariance.measure.named import transforms_named
from solo_invariance.measure.sources import measured_data
from solo_invariance.plugins import load_plugin
from solo_invariance.protocols import ProtocolName
from solo_invariance.study.images import StudyImages
from solo_invariance.study.plan import Plan, Pretraining
from solo_invariance.transfer.chosen_tasks import ChosenTask

_FEW = 64  # of rendered images, which are always there: all of them would take seconds


def num_features_of_arms(plan: Plan) -> dict[str, int]:
    """Return how many features a backbone of each arm has; networks are built for that, one of a kind.

    What is made of several arms has as many as these together.

    Args:
        plan: Of the study.
    """
    found, known = dict[str, int](), dict[str, int]()
    for name in plan.settings.study.arms:
        config = plan.config_of(Pretraining(name, plan.settings.chosen_seeds[0]))
        network, kwargs = str(config.backbone.name), plain(config.backbone.kwargs)
        key = f"{network} {kwargs}"
        if key not in known:
            crop = int(config.augmentations[0].crop_size)
            known[key] = load_backbone(f"random:{network}", kwargs=kwargs, crop_size=crop).num_features
        found[name] = known[key]
    return found


def require_width(plan: Plan) -> None:
    """Raise UserError where an arm has fewer features than all are projected to, or images are too few for that.

    What is made of several arms has more features: it would be projected to another width than an arm that has fewer.
    """
    preset = plan.settings.study
    widths = {"study.width": preset.width, "study.measure.matched_width": preset.measure.matched_width}
    for name, count in num_features_of_arms(plan).items():
        for key, width in widths.items():
            if count < width:
                raise UserError(f"{key}={width}: {name} has {count} features; take {count} at most")
    _require_images("study.fuse_reference.num_images", preset.fuse_reference.num_images, preset.width)


def require_all_there(plan: Plan) -> None:
    """Raise UserError where something is not there that measuring and scoring read, or cannot be read."""
    found = [*missing(plan)]
    if found:
        others = f" (and {len(found) - 1} more: dry_run=true names them)" if len(found) > 1 else ""
        raise UserError(f"{found[0]}{others}")


def missing(plan: Plan) -> list[str]:
    """Return what is not there, or not as it should be, of all that measuring and scoring read: a sentence for each.

    Files of weights are read, folders and tables are listed; images are not opened, and nothing is downloaded.

    Args:
        plan: Of the study.
    """
    return [said for key, look in _looks(plan) if (said := _complaint_of(key, look))]


def _looks(plan: Plan) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield what looks for each thing, with the key that names it."""
    preset, images = plan.settings.study, StudyImages(plan.settings.study)
    measured = preset.measure
    protocol: ProtocolName = measured.protocol.value
    crop = int(plan.config_of(plan.pretrainings[0]).augmentations[0].crop_size)
    geometry = ResizeCrop.of_crop(crop)
    for path in plan.checkpoints.values():
        yield "study.checkpoints", partial(load_backbone, BackboneConfig(checkpoint=str(path)))
    if measured.data.name != EMBEDDED:
        data = DataConfig(**vars(measured.data))
        yield "study.measure.data", partial(measured_data, data, geometry, None, protocol)
    if measured.reference.path is not None:
        yield "study.measure.reference", partial(images.reference, measured.reference)
    for label, entry in images.view_sets.items():
        key = f"study.measure.views: {label}"
        yield key, partial(measured_data, entry.data, geometry, None, protocol)
        if entry.reference.path is not None:
            yield f"{key}: reference", partial(images.reference, entry.reference)
    if preset.fuse_reference.path is not None:
        yield "study.fuse_reference", partial(_fuse_reference, images, preset.width)
    for name, shaped in preset.shaped.items():
        yield f"study.shaped.{name}", partial(load_plugin, "shapers", shaped.mode, "mode")
        yield f"study.shaped.{name}", partial(transforms_named, shaped.transforms)
    if preset.shaped and preset.shape_reference.path is not None:
        yield "study.shape_reference", partial(images.reference, preset.shape_reference)
    for task in plan.tasks:
        if not task.download:
            yield f"study.tasks: {task.label or task.name}", partial(_task, plan, task, crop)


def _complaint_of(key: str, look: Callable[[], Any]) -> str:
    try:
        look()
    except UserError as error:
        return f"{key}: {error}"
    except OSError as error:
        return f"{key}: {error.filename}: cannot be read ({error.strerror})"
    return ""


def _task(plan: Plan, task: TaskConfig, crop: int) -> None:
    is_rendered = task.path is None
    ChosenTask(task).load(crop, plan.settings.study.transfer.protocol.value, 0, _FEW if is_rendered else None)


def _fuse_reference(images: StudyImages, width: int) -> None:
    _require_images(Path(str(images.preset.fuse_reference.path)).name, len(images.fuse_reference), width)


def _require_images(what: str, count: int, width: int) -> None:
    """Refuse images that span fewer dimensions than features are projected to: as many as they are, but one."""
    if count <= width:
        raise UserError(f"{what}: {count} images, of which a projection to study.width={width} needs {width + 1}")
