"""What is said of a checkpoint that a command has written for solo-learn."""

from pathlib import Path

from solo_invariance.backbones.knn_arguments import other_checkpoints
from solo_invariance.commands.terminal import console, print_remarks
from solo_invariance.config.overrides import as_typed


def print_checkpoint(out: str) -> None:
    """Say where a fused or shaped checkpoint is, and how solo-learn is given it.

    Args:
        out: Its path, as it was asked for.
    """
    console.print(f"checkpoint: {out}", soft_wrap=True)
    if others := other_checkpoints(Path(out)):
        beside = f"{len(others)} other checkpoints are" if len(others) > 1 else f"{others[0]} is"
        print_remarks([f"{beside} in its folder: solo-learn's main_knn.py needs it in a folder of its own"])
    console.print(
        f"in solo-learn: backbone.name=fusion {as_typed('+backbone.kwargs.checkpoint', out)} "
        f"{as_typed('pretrained_feature_extractor', out)}",
        soft_wrap=True,
        style="dim",
        markup=False,
    )
