"""Backbones that solo-learn builds, and where it is. The only module that imports it."""

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from solo_invariance.errors import UserError

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
