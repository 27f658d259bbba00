"""``solo-invariance export``: write a backbone for others."""

from pathlib import Path
from typing import Any

from solo_invariance.backbones import Backbone, load_backbone
from solo_invariance.commands.outcome import Outcome, deliver
from solo_invariance.commands.terminal import console, print_remarks
from solo_invariance.config.composed import as_object
from solo_invariance.config.export import ExportConfig as Config
from solo_invariance.config.export import is_program
from solo_invariance.config.overrides import as_typed
from solo_invariance.export.run import export, require_free

__all__ = ["Config", "print_exported", "run"]


def run(config: Any) -> None:
    """Export and say how it is used."""
    settings = as_object(config, Config)
    require_free(settings.out)  # before the network is built
    backbone = load_backbone(settings.backbone, settings.seed)
    export(backbone, settings.out, measured=settings.measured, license=settings.license)
    print_remarks(backbone.describe()["remarks"])
    label, width = backbone.provenance.label, backbone.num_features
    print_exported(backbone, settings.out)
    if not is_program(settings.out) and settings.license is None:
        console.print("license: unknown, as its card says; license=NAME sets it", soft_wrap=True)
    document = {
        "out": settings.out,
        "format": Path(settings.out).suffix.lower().removeprefix(".") if is_program(settings.out) else "folder",
        "label": label,
        "num_features": width,
    }
    row = {"backbone": label, "features": str(width), "exported": settings.out}
    deliver(Outcome(settings.out, document, [row]))


def print_exported(backbone: Backbone, out: str) -> None:
    """Say what was written and how it is read.

    Args:
        backbone: It.
        out: Where it is.
    """
    size, width = backbone.input_spec.crop_size, backbone.num_features
    gives = f"to features (N, {width})"
    if not is_program(out):
        console.print(f"exported: {out}, images (N, 3, H, W) in [0, 1] {gives}", soft_wrap=True)
        console.print(f"read by: {as_typed('backbone.checkpoint', out)}", soft_wrap=True, style="dim", markup=False)
        return
    taken = f"(N, 3, {size}, {size})" if out.lower().endswith(".pt2") else "(N, 3, H, W)"
    console.print(f"exported: {out}, images {taken} in [0, 1] {gives}", soft_wrap=True)
