"""``solo-invariance pretrain``: the embedded host."""

from typing import Any

from solo_invariance.commands.terminal import print_facts, print_summary, progress_bars
from solo_invariance.config.pretrain import PretrainConfig as Config
from solo_invariance.progress import Facts

__all__ = ["Config", "run"]


def run(config: Any) -> None:
    """Pre-train, and print what came of it and where the checkpoint is."""
    from solo_invariance.hosts.embedded.ahead import Pretrained
    from solo_invariance.hosts.embedded.pretrain import pretrain

    ended: list[Pretrained] = []

    def announce(facts: Facts) -> None:
        if isinstance(facts, Pretrained):
            ended.append(facts)
        else:
            print_facts(facts)

    with progress_bars() as progress:
        pretrain(config, progress, announce)
    print_summary(ended[0])
