"""``solo-invariance fuse``: make one backbone of several."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.backbones.checkpoint import FUSION_KEY, read_checkpoint
from solo_invariance.commands.complementarity import print_complementarity
from solo_invariance.commands.console import as_object, choose_device, console, progress_bars
from solo_invariance.commands.fitting import FusionImages, choose_members, choose_weights
from solo_invariance.commands.task_data import task_named
from solo_invariance.config import BackboneConfig
from solo_invariance.config import FuseConfig as Config
from solo_invariance.data.images import Progress, no_progress
from solo_invariance.errors import UserError
from solo_invariance.fuse import FusedBackbone, FusionPlugin, Projected, Weighted, build_fusion, is_head, save_fused
from solo_invariance.fuse import fuse as fuse_backbones
from solo_invariance.fuse.export import check_export, export_network
from solo_invariance.fuse.select import head_of_width
from solo_invariance.hosts.plugins import load_plugin
from solo_invariance.hosts.solo_learn import write_knn_arguments
from solo_invariance.results import SCHEMA, versions, write_json

__all__ = ["Config", "fuse", "run"]

_AUTO = "auto"


def run(config: Any) -> None:
    """Fuse and say how the checkpoint is used; print the complementarity of measured backbones where asked for."""
    settings = as_object(config, Config)
    if settings.measured:
        print_complementarity([Path(run) for run in settings.measured])
        if not settings.members:
            return
    with progress_bars() as progress:
        fused = fuse(settings, progress)
    console.print(f"{fused.label}: {len(fused.members)} members, {fused.mode}, {fused.num_features} features")
    console.print(f"checkpoint: {settings.out}", soft_wrap=True)
    console.print(
        f"in solo-learn: backbone.name=fusion +backbone.kwargs.checkpoint={settings.out} "
        f"pretrained_feature_extractor={settings.out}",
        soft_wrap=True,
        style="dim",
    )


def fuse(settings: Config, progress: Progress = no_progress) -> FusedBackbone:
    """Write the fused checkpoint and return the backbone.

    Raises:
        UserError: There are no members, one cannot be loaded, or the mode does not fit them.
    """
    out = _checked_out(settings)
    if settings.export is not None:
        check_export(Path(settings.export))
    if settings.mode != _AUTO:
        load_plugin("fusions", settings.mode)
        if settings.max_members is not None:
            raise UserError(f"max_members: mode={settings.mode} takes all members; auto chooses some")
    if settings.task.name is not None:
        task_named(settings.task.name)
    members = [load_backbone(_member(name), settings.seed) for name in settings.members]
    fused = _fused(settings, members, progress)
    save_fused(fused, out)
    write_knn_arguments(out)
    if settings.export is not None:
        export_network(fused, Path(settings.export))
    return fused


def _checked_out(settings: Config) -> Path:
    """Return where the checkpoint goes, and refuse what would be lost there."""
    if not settings.members:
        raise UserError("members: name the checkpoints to fuse, members=[a.ckpt,b.ckpt]")
    out = Path(settings.out)
    if out.suffix not in (".ckpt", ".pth", ".pt"):
        raise UserError(f"out={out}: solo-learn reads checkpoints called .ckpt, .pth or .pt")
    if out.resolve() in {Path(name).resolve() for name in settings.members}:
        raise UserError(f"out={out}: is one of the members, and would be overwritten")
    if out.exists() and FUSION_KEY not in read_checkpoint(out):
        raise UserError(f"out={out}: is there already and is no fused checkpoint; choose another out")
    return out


def _member(name: str) -> BackboneConfig:
    model = name.startswith(("timm:", "torchvision:", "random:"))
    return BackboneConfig(name=name) if model else BackboneConfig(checkpoint=name)


def _fused(settings: Config, members: Sequence[Backbone], progress: Progress) -> FusedBackbone:
    options = {**settings.options, **({} if settings.width is None else {"width": settings.width})}
    if settings.mode == _AUTO:
        if settings.options:
            raise UserError(f"options.{next(iter(settings.options))}: mode=auto reads none but width and max_members")
        return _fused_by_selection(_images(settings, members, progress))
    plugin: FusionPlugin = load_plugin("fusions", settings.mode)
    if not is_head(plugin):
        _refuse_what_is_not_read(settings)
        return fuse_backbones(members, plugin, settings.mode, options)
    build_fusion(plugin, members, settings.mode, options)  # before any feature is computed
    images = _images(settings, members, progress)
    if issubclass(plugin, Weighted) and images.task is not None:
        if "weights" in options:
            raise UserError("options.weights and task.name are both set: the weights are given, or chosen for a task")
        options["weights"], record = choose_weights(images)
        _write_record(settings, record)
    features, digests = images.reference()
    return fuse_backbones(images.members, plugin, settings.mode, options, features, digests).cpu()


def _fused_by_selection(images: FusionImages) -> FusedBackbone:
    chosen, record = choose_members(images)
    _write_record(images.settings, record)
    images = images.of(chosen)
    features, digests = images.reference()
    head = head_of_width([member.num_features for member in images.members], images.settings.width)
    mode, options = ("projected", head.options) if isinstance(head, Projected) else ("standardized", {})
    return fuse_backbones(images.members, type(head), mode, options, features, digests).cpu()


def _images(settings: Config, members: Sequence[Backbone], progress: Progress) -> FusionImages:
    device = choose_device(settings.device)
    return FusionImages(settings, [member.to(device) for member in members], progress)


def _refuse_what_is_not_read(settings: Config) -> None:
    """Raise UserError where keys are set that a fusion without anything to fit has no use for."""
    unread = [key for key in ("path", "name") if getattr(settings.reference, key) is not None]
    if unread:
        raise UserError(f"reference.{unread[0]}: mode={settings.mode} is not fitted to images")
    if settings.task.name is not None:
        raise UserError(f"task.name: mode={settings.mode} is chosen without a task; weighted and auto take one")


def _write_record(settings: Config, record: dict[str, Any]) -> None:
    about = {"schema": SCHEMA, "kind": "fuse", "members": settings.members, "mode": settings.mode}
    path = Path(settings.out).with_suffix(".json")
    write_json(path, {**about, **record, "seed": settings.seed, "versions": versions()})
    console.print(f"what was chosen: {path}", soft_wrap=True)
