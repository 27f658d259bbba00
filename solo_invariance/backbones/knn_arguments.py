"""The ``args.json`` by which solo-learn reads a fused checkpoint."""

from pathlib import Path

from solo_invariance.errors import UserError
from solo_invariance.results.files import read_json, write_json


def write_knn_arguments(checkpoint: Path) -> bool:
    """Write the ``args.json`` with which solo-learn's ``main_knn.py`` reads a fused checkpoint; say whether it was.

    That script loads a whole method, of which only the backbone matters: SimCLR is the one with the least besides. It
    takes any checkpoint in the directory, and other checkpoints there would be taken for what ``args.json`` says: it is
    written only where there is nothing but the fused checkpoint and what goes with it.
    """
    path = checkpoint.parent / "args.json"
    others = {entry.stem for entry in checkpoint.parent.iterdir()} - {checkpoint.stem, path.stem}
    if checkpoint.suffix != ".ckpt" or others or not _is_ours(path):
        return False
    arguments = {
        "method": "simclr",
        "backbone": {"name": "fusion", "kwargs": {"checkpoint": str(checkpoint.resolve())}},
        "data": {"dataset": "custom", "num_classes": 1, "num_large_crops": 2, "num_small_crops": 0},
        "method_kwargs": {"proj_hidden_dim": 1, "proj_output_dim": 1, "temperature": 0.2},
        "optimizer": {
            "name": "sgd",
            "batch_size": 1,
            "lr": 0.1,
            "weight_decay": 0,
            "classifier_lr": 0.1,
            "kwargs": {},
        },
        "scheduler": {"name": "none"},
        "max_epochs": 1,
    }
    write_json(path, arguments)
    return True


def other_checkpoints(checkpoint: Path) -> list[str]:
    """Return the names of the other checkpoints in a checkpoint's folder, of which ``main_knn.py`` may take any."""
    return sorted(path.name for path in checkpoint.parent.glob("*.ckpt") if path.name != checkpoint.name)


def _is_ours(path: Path) -> bool:
    """Whether an ``args.json`` may be written: there is none yet, or it is a fused checkpoint's."""
    if not path.exists():
        return True
    try:
        return read_json(path)["backbone"]["name"] == "fusion"
    except (UserError, KeyError, TypeError):
        return False
