"""Run a checkout's unmodified main_pretrain.py and write down what its trainer saw.

Run in the checkout with the arguments of main_pretrain.py. For every process, ``$SPY_OUT/rank<R>.pt`` has the training
batches, the validation batches, and the metrics after each training batch and each epoch.
"""

import functools
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import torch
import torchvision
from lightning.pytorch import Callback, Trainer


class Spy(Callback):
    """Remember batches as the method got them, and metrics as the trainer has them."""

    def __init__(self) -> None:
        self._seen: dict[str, list[Any]] = {"train": [], "val": [], "metrics": []}

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        indexes, crops, targets = batch
        self._seen["train"].append(
            {"epoch": trainer.current_epoch, "indexes": indexes, "crops": crops, "targets": targets}
        )
        self._remember_metrics(trainer)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        images, targets = batch
        self._seen["val"].append({"images": images, "targets": targets})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._remember_metrics(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        torch.save(self._seen, Path(os.environ["SPY_OUT"]) / f"rank{trainer.global_rank}.pt")

    def _remember_metrics(self, trainer: Trainer) -> None:
        self._seen["metrics"].append({name: float(value) for name, value in trainer.callback_metrics.items()})


def _with_spy(construct: Any) -> Any:
    # main_pretrain.py reads the signature of Trainer.__init__, which wraps keeps.
    @functools.wraps(construct)
    def wrapped(self: Trainer, *args: Any, **kwargs: Any) -> None:
        sys.argv[0] = __file__  # by which Lightning starts the other processes; runpy has changed it
        construct(self, *args, **{**kwargs, "callbacks": [*kwargs["callbacks"], Spy()]})

    return wrapped


def main() -> None:
    """Add the spy and run the script."""
    Trainer.__init__ = _with_spy(Trainer.__init__)  # type: ignore[method-assign]
    for dataset in (torchvision.datasets.cifar, torchvision.datasets.stl10):
        dataset.check_integrity = lambda *_: True  # the tests' files have the layout, not the content
    sys.path.insert(0, os.getcwd())
    runpy.run_path("main_pretrain.py", run_name="__main__")


if __name__ == "__main__":
    main()
