"""``solo-invariance fuse``: make one backbone of several."""

from pathlib import Path
from typing import Any

from solo_invariance.backbones import load_backbone
from solo_invariance.backbones.checkpoint import FUSION_KEY, read_checkpoint
from solo_invariance.commands.console import as_object, console
from solo_invariance.config import BackboneConfig
from solo_invariance.config import FuseConfig as Config
from solo_invariance.errors import UserError
from solo_invariance.fuse import FusedBackbone, save_fused
from solo_invariance.fuse import fuse as fuse_backbones
from solo_invariance.hosts.plugins import load_plugin

__all__ = ["Config", "fuse", "run"]


def run(config: Any) -> None:
    """Fuse and say how the checkpoint is used."""
    settings = as_object(config, Config)
    fused = fuse(settings)
    console.print(f"{fused.label}: {len(fused.members)} members, {settings.mode}, {fused.num_features} features")
    console.print(f"checkpoint: {settings.out}", soft_wrap=True)
    console.print(
        f"in solo-learn: backbone.name=fusion +backbone.kwargs.checkpoint={settings.out} "
        f"pretrained_feature_extractor={settings.out}",
        soft_wrap=True,
        style="dim",
    )


def fuse(settings: Config) -> FusedBackbone:
    """Write the fused checkpoint and return the backbone.

    Raises:
        UserError: There are no members, one cannot be loaded, or the mode does not fit them.
    """
    if not settings.members:
        raise UserError("members: name the checkpoints to fuse, members=[a.ckpt,b.ckpt]")
    out = Path(settings.out)
    if out.suffix not in (".ckpt", ".pth", ".pt"):
        raise UserError(f"out={out}: solo-learn reads checkpoints called .ckpt, .pth or .pt")
    if out.resolve() in {Path(name).resolve() for name in settings.members}:
        raise UserError(f"out={out}: is one of the members, and would be overwritten")
    if out.exists() and FUSION_KEY not in read_checkpoint(out):
        raise UserError(f"out={out}: is there already and is no fused checkpoint; choose another out")
    fusion = load_plugin("fusions", settings.mode)
    members = [load_backbone(_member(name)) for name in settings.members]
    fused = fuse_backbones(members, fusion, settings.mode)
    save_fused(fused, out)
    return fused


def _member(name: str) -> BackboneConfig:
    model = name.startswith(("timm:", "torchvision:", "random:"))
    return BackboneConfig(name=name) if model else BackboneConfig(checkpoint=name)
