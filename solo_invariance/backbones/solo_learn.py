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
    """Return the solo-learn that is there, without importing it.

    It is the checkout that ``SOLO_LEARN_DIR`` names, or what can be imported as ``solo``, or the checkout that the
    current directory lies in.

    Raises:
        UserError: ``SOLO_LEARN_DIR`` is set, but names no checkout.
    """
    directory = os.environ.get("SOLO_LEARN_DIR")
    if directory:
        package = Path(directory) / "solo"
        if not _is_solo_learn(package):
            raise UserError(f"SOLO_LEARN_DIR={directory}: no solo-learn checkout there (no solo/methods/base.py)")
        return Installation(package, _version(package))
    spec = importlib.util.find_spec("solo")
    for found in spec.submodule_search_locations or () if spec is not None else ():
        if _is_solo_learn(Path(found)):
            return Installation(Path(found), _version(Path(found)))
    return _checkout_around()


def _is_solo_learn(package: Path) -> bool:
    return (package / "methods" / "base.py").is_file()


def _checkout_around() -> Installation | None:
    """The checkout that the current directory lies in.

    Its code is run, so that it has to belong to this user, to the system's, or to whoever has the current directory:
    in a folder that all may write to, anybody can put one above it.
    """
    try:
        here = Path.cwd()
        trusted = {here.stat().st_uid, 0, getattr(os, "getuid", int)()}
    except OSError:  # it is gone
        return None
    for folder in (here, *here.parents):
        script, package = folder / "main_pretrain.py", folder / "solo"
        if script.is_file() and _is_solo_learn(package) and {script.stat().st_uid, package.stat().st_uid} <= trusted:
            return Installation(package, _version(package))
    return None


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
        raise UserError(
            f"solo-learn was found, but cannot be imported: {error}; its requirements.txt says what it needs"
        ) from error

    builders: Mapping[str, Callable[..., nn.Module]] = BaseMethod._BACKBONES
    return builders
