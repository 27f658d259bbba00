"""``solo-invariance fuse``: make one backbone of several."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.backbones.checkpoint import FUSION_KEY, read_checkpoint
from solo_invariance.backbones.fused import network_of
from solo_invariance.backbones.fused_checkpoint import build_fusion, describe_fused, require_single, save_fused
from solo_invariance.backbones.fusion import is_head
from solo_invariance.commands.complementarity import print_complementarity
from solo_invariance.commands.fitting import FusionImages, choose_members, choose_weights
from solo_invariance.commands.terminal import console, progress_bars
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.composed import as_object
from solo_invariance.config.fuse import FuseConfig as Config
from solo_invariance.device import choose_device
from solo_invariance.errors import UserError
from solo_invariance.fuse import FusionPlugin, Projected, Weighted
from solo_invariance.fuse.export import check_export, export_network
from solo_invariance.fuse.fusing import fit_fusion
from solo_invariance.fuse.select import head_of_width
from solo_invariance.hosts.solo_learn.knn_arguments import write_knn_arguments
from solo_invariance.plugins import load_plugin
from solo_invariance.progress import Progress, no_progress
from solo_invariance.results.files import SCHEMA, versions, write_json
from solo_invariance.transfer.task_data import task_named

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
    about = f"{len(fused.members)} members, {network_of(fused).mode}, {fused.num_features} features"
    console.print(f"{fused.provenance.label}: {about}")

    console.print(f"checkpoint: {settings.out}", soft_wrap=True)
    console.print(
        f"in solo-learn: backbone.name=fusion +backbone.kwargs.checkpoint={settings.out} "
        f"pretrained_feature_extractor={settings.out}",
        soft_wrap=True,
        style="dim",
    )


def fuse(settings: Config, progress: Progress = no_progress) -> Backbone:
    """Write the fused checkpoint and return the backbone.

    Raises:
        UserError: There are no members, one cannot be loaded, or the mode does not fit them.
    """
    out = _checked_out(settings)
    if settings.export is not None:
        check_export(Path(settings.export))
    if settings.mode != _AUTO:
        _plugin(settings.mode)
        if settings.max_members is not None:
            raise UserError(f"max_members: mode={settings.mode} takes all members; auto chooses some")
    if settings.task.name is not None:
        task_named(settings.task.name)
    members = [load_backbone(_member(entry), settings.seed) for entry in settings.members]
    for member in members:
        require_single(member)
    fused, record = _fused(settings, members, progress)
    _save(fused, out)
    if record is not None:
        _write_record(settings, record)
    write_knn_arguments(out)
    if settings.export is not None:
        export_network(fused, Path(settings.export))
        size = fused.input_spec.crop_size
        taken = f"(N, 3, {size}, {size})" if settings.export.endswith(".pt2") else "(N, 3, H, W)"
        console.print(f"exported: {settings.export}, images {taken} in [0, 1]", soft_wrap=True)
    return fused


def _checked_out(settings: Config) -> Path:
    """Return where the checkpoint goes, and refuse what would be lost there."""
    if not settings.members:
        raise UserError("members: name the checkpoints to fuse, members=[a.ckpt,b.ckpt]")
    out = Path(settings.out)
    if out.suffix not in (".ckpt", ".pth", ".pt"):
        raise UserError(f"out={out}: solo-learn reads checkpoints called .ckpt, .pth or .pt")
    checkpoints = {Path(config.checkpoint).resolve() for config in map(_member, settings.members) if config.checkpoint}
    if out.resolve() in checkpoints:
        raise UserError(f"out={out}: is one of the members, and would be overwritten")
    if out.exists() and FUSION_KEY not in read_checkpoint(out):
        raise UserError(f"out={out}: is there already and is no fused checkpoint; choose another out")
    return out


def _save(fused: Backbone, out: Path) -> None:
    """Write the checkpoint, but never over one of another fusion."""
    if out.exists():
        before = describe_fused(read_checkpoint(out))
        if before != (now := (network_of(fused).mode, fused.provenance.label, fused.num_features)):
            named = "{0} of {1}, {2} features".format
            raise UserError(
                f"out={out}: holds another fusion ({named(*before)}; now {named(*now)}); choose another out"
            )
    save_fused(fused, out)


def _member(entry: Any) -> BackboneConfig:
    """Return the backbone that a member is: a checkpoint, a model's name, or keys as those of ``backbone``."""
    if isinstance(entry, str):
        model = entry.startswith(("timm:", "torchvision:", "random:"))
        return BackboneConfig(name=entry) if model else BackboneConfig(checkpoint=entry)
    try:
        return as_object(OmegaConf.merge(OmegaConf.structured(BackboneConfig), entry), BackboneConfig)
    except (OmegaConfBaseException, ValueError) as error:
        raise UserError(f"members: {entry}: {str(error).splitlines()[0]}") from error


def _fused(settings: Config, members: Sequence[Backbone], progress: Progress) -> tuple[Backbone, dict[str, Any] | None]:
    """Return the fusion, and what was chosen for it where something was."""
    options = {**settings.options, **({} if settings.width is None else {"width": settings.width})}
    if settings.mode == _AUTO:
        if settings.options:
            raise UserError(f"options.{next(iter(settings.options))}: mode=auto reads none but width and max_members")
        return _fused_by_selection(_images(settings, members, progress))
    plugin = _plugin(settings.mode)
    if not is_head(plugin):
        _refuse_what_is_not_read(settings)
        return fit_fusion(members, plugin, settings.mode, options), None
    build_fusion(plugin, members, settings.mode, options)  # before any feature is computed
    images, record = _images(settings, members, progress), None
    if issubclass(plugin, Weighted) and images.task is not None:
        if "weights" in options:
            raise UserError("options.weights and task.name are both set: the weights are given, or chosen for a task")
        options["weights"], record = choose_weights(images)
    features, digests = images.reference()
    return fit_fusion(images.members, plugin, settings.mode, options, features, digests).cpu(), record


def _plugin(mode: str) -> FusionPlugin:
    try:
        plugin: FusionPlugin = load_plugin("fusions", mode)
    except UserError as error:
        raise UserError(f"{error}; or auto, which chooses members") from error
    return plugin


def _fused_by_selection(images: FusionImages) -> tuple[Backbone, dict[str, Any]]:
    chosen, record = choose_members(images)
    images = images.of(chosen)
    features, digests = images.reference()
    head = head_of_width([member.num_features for member in images.members], images.settings.width)
    mode, options = ("projected", head.options) if isinstance(head, Projected) else ("standardized", {})
    return fit_fusion(images.members, type(head), mode, options, features, digests).cpu(), record


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
