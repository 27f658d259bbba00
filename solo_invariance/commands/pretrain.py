"""``solo-invariance pretrain``: the embedded host."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solo_invariance.commands.outcome import Outcome, deliver
from solo_invariance.commands.terminal import print_facts, print_summary, progress_bars
from solo_invariance.config.pretrain import PretrainConfig as Config
from solo_invariance.progress import Facts

if TYPE_CHECKING:
    from solo_invariance.hosts.embedded.ahead import Pretrained

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
    document = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(ended[0]).items()}
    deliver(Outcome(document["checkpoint"], document, [_row(ended[0])], _numbers(ended[0])))


def _numbers(made: "Pretrained") -> dict[str, float]:
    """Return what ``objective`` chooses from: what the run has logged of its last epochs, and the loss."""
    from solo_invariance.hosts.embedded.logged import last_logged

    logged = last_logged(made.checkpoint.parent / "metrics.csv")
    loss = logged.get("train_loss", made.loss)
    return {**({} if loss is None else {"loss": loss}), **logged}


def _row(made: "Pretrained") -> dict[str, str]:
    """Return a run's row in the table of a sweep."""
    loss = "done before" if made.loss is None else f"{made.loss:.3f}"
    return {"loss": loss, "checkpoint": str(made.checkpoint)}
