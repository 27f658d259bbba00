"""Fusing, from backbones to a checkpoint."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.backbones.files.description import build_fusion
from solo_invariance.backbones.files.fused_checkpoint import require_place, require_same, require_single, save_fused
from solo_invariance.backbones.fusion import FusionPlugin, is_head
from solo_invariance.backbones.knn_arguments import write_knn_arguments
from solo_invariance.backbones.load import config_of
from solo_invariance.config.backbone import BackboneConfig
from solo_invariance.config.checks import require_texts
from solo_invariance.config.fuse import in_keys_of_members, require_members
from solo_invariance.config.task import TaskConfig
from solo_invariance.data.sources import Images
from solo_invariance.device import choose_device
from solo_invariance.errors import UserError
from solo_invariance.export.run import require_free, write_export
from solo_invariance.features.ahead import in_words
from solo_invariance.fuse.ahead import FusionAhead
from solo_invariance.fuse.choose import Choice, choose_members, choose_weights
from solo_invariance.fuse.fusing import fit_fusion
from solo_invariance.fuse.heads import Projected, Weighted
from solo_invariance.fuse.images import FusionImages
from solo_invariance.fuse.select import head_of_width
from solo_invariance.fuse.settings import FuseSettings
from solo_invariance.plugins import load_plugin
from solo_invariance.progress import Announce, Progress, no_progress, say_nothing
from solo_invariance.results.files import SCHEMA, versions
from solo_invariance.results.fusion import FusionResult
from solo_invariance.results.run_directory import locked
from solo_invariance.transfer.task_data import task_named

Member = Backbone | nn.Module | BackboneConfig | Path | str
"""A backbone, any module of one's own, the path of a checkpoint, or the name of a model (``timm:NAME``)."""

AUTO = "auto"
"""The mode that chooses among the fusions."""
_DEFAULT = FuseSettings()


def fuse(
    members: Sequence[Member],
    mode: str = "concat",
    *,
    reference: Images | None = None,
    task: TaskConfig | str | None = None,
    settings: FuseSettings = _DEFAULT,
    out: Path | str | None = None,
    export: Path | str | None = None,
    device: str = "auto",
    progress: Progress = no_progress,
    announce: Announce = say_nothing,
) -> Backbone:
    """Return one backbone of several, whose features on the same image are combined.

    Source: Ericsson, Gouk & Hospedales (2022), section on fusing features; the fitted modes are this package's.

    Args:
        members: What to fuse, at least one.
        mode: ``concat``, ``sum`` or ``mean``: the paper's. ``standardized``: z-scored on reference images, so that no
            width decides. ``projected``: the first ``settings.width`` principal components of that. ``weighted``: with
            weights that are chosen by cross-validation, for ``task`` now or by ``transfer`` for each task. ``auto``:
            members are chosen one by one for ``task``. Or another distribution's, by its name.
        reference: The images, without labels, that a fitted mode is fitted to: a folder, a tensor (N, 3, H, W), a
            dataset, or ``latent_scenes``, the embedded ones; by default the task's training images.
        task: The task whose training images decide, for ``weighted`` and ``auto``.
        settings: How to fuse.
        out: Where to write the fused checkpoint; what was chosen goes beside it, to a file ``.json``.
        export: Where to write it for others, as ``export`` does: a folder with a card, or a network that needs no
            solo-invariance, ``.pt2`` (torch.export) or ``.ts`` (TorchScript).
        device: To compute on; ``auto`` is a GPU where there is one. The fused backbone is on the CPU.
        progress: Told how far the work is.
        announce: Told what is to be done, a ``FusionAhead``.

    Raises:
        UserError: There are no members, one cannot be loaded or is fused itself, or the mode does not fit them; there
            are test images among those that the fusion is fitted to; or another thing is at ``out`` already.

    Example:
        >>> both = fuse(["random:resnet10", "random:resnet18"])
        >>> both.provenance.label, both.num_features
        ('random:resnet10+random:resnet18', 1024)
    """
    require_texts(mode=mode, reference=reference, task=task, out=out, export=export)
    job = _Fusing(mode, reference, TaskConfig(name=task) if isinstance(task, str) else task, settings, progress)
    _check_files(members, out, export)
    job.check()
    backbones = [_loaded(member, settings.seed) for member in members]
    names = _names(members, backbones)
    with nullcontext() if out is None else locked(Path(out).parent, Path(out).name):
        if announce is not say_nothing:
            announce(job.ahead(backbones, device, out, export))
        fused, choice = job.fused(backbones, names, device)
        if out is not None:
            require_same(fused, Path(out))
        if export is not None:  # first: a member may not be made for it
            write_export(fused, Path(export), key="export")
        if out is not None:
            save_fused(fused, Path(out))
            if choice is not None:
                _record(choice, names, mode, settings).write(Path(out).with_suffix(".json"))
    if out is not None:
        write_knn_arguments(Path(out))
    return fused


def _names(members: Sequence[Member], backbones: Sequence[Backbone]) -> list[str]:
    """Return what the record calls members: as they were named, or by their labels."""
    labels = [backbone.provenance.label for backbone in backbones]
    return [one if isinstance(one, str) else label for one, label in zip(members, labels, strict=True)]


def _check_files(members: Sequence[Member], out: Path | str | None, export: Path | str | None) -> None:
    """Raise UserError where there is nothing to fuse, or something would be lost where it goes."""
    require_members(members)
    if out is not None:
        require_place(Path(out), [path for one in members if (path := _path_of(one)) is not None])
    if export is not None:
        require_free(export, "export")


class _Fusing:
    """What is fused how; arguments as ``fuse``."""

    def __init__(
        self, mode: str, reference: Images | None, task: TaskConfig | None, settings: FuseSettings, progress: Progress
    ) -> None:
        self.mode = mode
        self.reference = reference
        self.task = task
        self.settings = settings
        self.progress = progress
        self.options = dict(settings.options) | ({} if settings.width is None else {"width": settings.width})

    def check(self) -> None:
        """Raise UserError where the mode, or the task, is unknown or reads nothing of what is set."""
        if self.mode != AUTO:
            plugin = _plugin(self.mode)
            if self.settings.max_members is not None:
                raise UserError(f"max_members: mode={self.mode} takes all members; auto chooses some")
            if not is_head(plugin):
                self._refuse_what_is_not_read()
        elif self.settings.options:
            key = next(iter(self.settings.options))
            raise UserError(f"options.{key}: mode=auto reads none but width and max_members")
        if self.task is not None:
            task_named(self.task.name)

    def ahead(
        self, members: Sequence[Backbone], device: str, out: Path | str | None, export: Path | str | None
    ) -> FusionAhead:
        """Return what is to be done, to features some of which may be in the cache."""
        where = choose_device(device)
        looks = self.mode == AUTO or build_fusion(_plugin(self.mode), members, self.mode, self.options).is_fitted
        images = self._images(members, device) if looks else None
        sources = {} if images is None else images.sources()
        return FusionAhead(
            members=tuple(map(in_words, members)),
            mode=self.mode,
            images={what: len(source) for what, source in sources.items()},
            num_missing=0 if images is None else sum(map(images.count_missing, sources.values())),
            num_passes=len(members) * sum(map(len, sources.values())),
            device=str(where),
            out=None if out is None else str(out),
            export=None if export is None else str(export),
        )

    def fused(self, members: Sequence[Backbone], names: list[str], device: str) -> tuple[Backbone, Choice | None]:
        """Return the fusion, and what was chosen for it where something was."""
        if self.mode == AUTO:
            return self._selected(self._images(members, device), names)
        plugin = _plugin(self.mode)
        if not build_fusion(plugin, members, self.mode, self.options).is_fitted:  # before any feature is computed
            return fit_fusion(members, plugin, self.mode, self.options), None
        images, choice = self._images(members, device), None
        if is_head(plugin) and issubclass(plugin, Weighted) and images.task is not None:
            if "weights" in self.options:
                raise UserError(
                    "options.weights and task.name are both set: the weights are given, or chosen for a task"
                )
            choice = choose_weights(images)
            self.options["weights"] = choice.weights
        return self._fitted(images, plugin, self.mode, self.options), choice

    def _selected(self, images: FusionImages, names: list[str]) -> tuple[Backbone, Choice]:
        choice = choose_members(images, names)
        images = images.of(choice.members)
        head = head_of_width([member.num_features for member in images.members], self.settings.width)
        mode, options = ("projected", head.options) if isinstance(head, Projected) else ("standardized", {})
        return self._fitted(images, type(head), mode, options), choice

    def _fitted(self, images: FusionImages, plugin: FusionPlugin, mode: str, options: dict[str, Any]) -> Backbone:
        features, digests = images.reference_features()
        return fit_fusion(images.members, plugin, mode, options, features, digests).cpu()

    def _images(self, members: Sequence[Backbone], device: str) -> FusionImages:
        on = [member.to(choose_device(device)) for member in members]
        return FusionImages(self.mode, on, self.reference, self.task, self.settings, self.progress)

    def _refuse_what_is_not_read(self) -> None:
        if self.reference is not None:
            key = "name" if self.reference == "latent_scenes" else "path"
            raise UserError(f"reference.{key}: mode={self.mode} is not fitted to images")
        if self.task is not None:
            raise UserError(f"task.name: mode={self.mode} is chosen without a task; weighted and auto take one")


def _plugin(mode: str) -> FusionPlugin:
    try:
        plugin: FusionPlugin = load_plugin("fusions", mode)
    except UserError as error:
        raise UserError(f"{error}; or auto, which chooses members") from error
    return plugin


def _loaded(member: Member, seed: int) -> Backbone:
    if isinstance(member, nn.Module):
        backbone = member if isinstance(member, Backbone) else Backbone.of(member)
    else:
        try:
            backbone = load_backbone(member, seed)
        except UserError as error:
            raise in_keys_of_members(error, member) from error
    require_single(backbone)
    return backbone


def _path_of(member: Member) -> Path | None:
    """Return the checkpoint that a member comes from, if any."""
    if isinstance(member, nn.Module):
        checkpoint = member.provenance.checkpoint if isinstance(member, Backbone) else None
    else:
        checkpoint = (member if isinstance(member, BackboneConfig) else config_of(member)).checkpoint
    return None if checkpoint is None else Path(checkpoint)


def _record(choice: Choice, names: list[str], mode: str, settings: FuseSettings) -> FusionResult:
    about = {"schema": SCHEMA, "kind": "fuse", "members": names, "mode": mode}
    return FusionResult.from_content({**about, **choice.record, "seed": settings.seed, "versions": versions()})
