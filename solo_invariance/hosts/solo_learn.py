"""The seam to solo-learn: where it is, and what backbones it has. The only module that imports it."""

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from solo_invariance.errors import UserError
from solo_invariance.results import write_json

METHODS_MODULE = "solo.methods.base"
"""The module that holds solo-learn's registry of backbones."""


@dataclass(frozen=True)
class Installation:
    """A solo-learn that was found.

    Args:
        package: The directory of its package ``solo``.
        version: What its ``setup.py`` or metadata says, ``"unknown"`` where neither is there.
    """

    package: Path
    version: str

    @property
    def checkout(self) -> Path | None:
        """The checkout's root, where ``main_pretrain.py`` is; None for an installed package."""
        return self.package.parent if (self.package.parent / "main_pretrain.py").is_file() else None


def find_solo_learn() -> Installation | None:
    """Return the solo-learn that can be imported, or the checkout that ``SOLO_LEARN_DIR`` names, without importing it.

    Raises:
        UserError: ``SOLO_LEARN_DIR`` is set, but names no checkout.
    """
    directory = os.environ.get("SOLO_LEARN_DIR")
    if directory:
        package = Path(directory) / "solo"
        if not (package / "methods" / "base.py").is_file():
            raise UserError(f"SOLO_LEARN_DIR={directory}: no solo-learn checkout there (no solo/methods/base.py)")
        return Installation(package, _version(package))
    spec = importlib.util.find_spec("solo")
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(next(iter(spec.submodule_search_locations)))
    return Installation(package, _version(package)) if (package / "methods" / "base.py").is_file() else None


def _version(package: Path) -> str:
    setup = package.parent / "setup.py"
    if setup.is_file():
        for line in setup.read_text().splitlines():
            if line.strip().startswith("version="):
                return line.split("=", 1)[1].strip().strip("\",'")
    return "unknown"


def host_builders() -> Mapping[str, Callable[..., nn.Module]]:
    """Return solo-learn's backbone builders, ``BUILDER(method=..., **kwargs)``; empty where it is not to be had."""
    if METHODS_MODULE not in sys.modules:
        found = find_solo_learn()
        if found is None:
            return {}
        if str(found.package.parent) not in sys.path:
            sys.path.insert(0, str(found.package.parent))
    try:
        from solo.methods.base import BaseMethod
    except ImportError as error:
        raise UserError(f"solo-learn was found, but cannot be imported: {error}") from error

    builders: Mapping[str, Callable[..., nn.Module]] = BaseMethod._BACKBONES
    return builders


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


def _is_ours(path: Path) -> bool:
    """Whether an ``args.json`` may be written: there is none yet, or it is a fused checkpoint's."""
    if not path.exists():
        return True
    try:
        return json.loads(path.read_text())["backbone"]["name"] == "fusion"
    except (OSError, ValueError, KeyError, TypeError):
        return False
