"""``solo-invariance pretrain``: the embedded host."""

from typing import Any

from solo_invariance.commands.terminal import console, progress_bars
from solo_invariance.config.pretrain import PretrainConfig as Config

__all__ = ["Config", "run"]


def run(config: Any) -> None:
    """Pre-train and print where the checkpoint is."""
    from solo_invariance.hosts.embedded.pretrain import pretrain

    with progress_bars() as progress:
        checkpoint = pretrain(config, progress)
    console.print(f"checkpoint: {checkpoint}", soft_wrap=True)
