"""``solo-invariance pretrain``: the embedded host."""

from typing import Any

from solo_invariance.commands.console import console, progress_bars
from solo_invariance.config import PretrainConfig as Config

__all__ = ["Config", "run"]


def run(config: Any) -> None:
    """Pre-train and print where the checkpoint is."""
    from solo_invariance.hosts.pretrain import pretrain

    with progress_bars() as progress:
        checkpoint = pretrain(config, progress)
    console.print(f"checkpoint: {checkpoint}", soft_wrap=True)
