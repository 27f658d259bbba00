"""The seam to solo-learn: where it is, what backbones it has, and ours among them. The only module that imports it."""

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from solo_invariance.errors import UserError

_METHODS = "solo.methods.base"


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
    if _METHODS not in sys.modules:
        found = find_solo_learn()
        if found is None:
            return {}
        if str(found.package.parent) not in sys.path:
            sys.path.append(str(found.package.parent))
    from solo.methods.base import BaseMethod

    builders: Mapping[str, Callable[..., nn.Module]] = BaseMethod._BACKBONES
    return builders


def register_backbones() -> None:
    """Add our backbones to solo-learn's registry, if solo-learn is running: ``fusion`` and the small ResNet-10.

    Called when Hydra starts; costs nothing and imports nothing where solo-learn was not imported before.
    """
    host = sys.modules.get(_METHODS)
    if host is None:
        return
    host.BaseMethod._BACKBONES.setdefault("fusion", build_fusion)
    host.BaseMethod._BACKBONES.setdefault("resnet10", build_resnet10)


def build_resnet10(method: str | None = None, **kwargs: Any) -> nn.Module:
    """Build our ResNet-10 the way solo-learn calls its builders."""
    from solo_invariance.backbones.resnet import WideResNet

    return WideResNet(10, **kwargs)


def build_fusion(
    method: str | None = None,
    *,
    checkpoint: str | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
) -> nn.Module:
    """Build a fused backbone from its checkpoint, for images that are normalised as solo-learn does.

    Args:
        method: Ignored; solo-learn passes it to every builder.
        checkpoint: The fused checkpoint (``backbone.kwargs.checkpoint``).
        mean: Channel means that solo-learn's loader normalises with; those of the first member by default, which is
            right whenever the linear evaluation uses the dataset of the pre-training.
        std: Channel standard deviations, likewise.

    Raises:
        UserError: No checkpoint, or one that is not fused.
    """
    from solo_invariance.backbones.checkpoint import read_checkpoint
    from solo_invariance.fuse.checkpoint import fused_from_content
    from solo_invariance.hosts.plugins import load_plugin

    if checkpoint is None:
        raise UserError(
            "backbone.name=fusion needs backbone.kwargs.checkpoint=FUSED.ckpt, as `solo-invariance fuse` writes"
        )
    path = Path(checkpoint)
    fused = fused_from_content(read_checkpoint(path), path, lambda mode: load_plugin("fusions", mode))
    fused.expect_normalized(mean, std)
    fused.register_load_state_dict_post_hook(_refuse_foreign_weights)
    return fused


def _refuse_foreign_weights(module: nn.Module, keys: Any) -> None:
    # solo-learn loads with strict=False: a wrong pretrained_feature_extractor would load nothing and say nothing.
    if keys.missing_keys:
        raise UserError(
            f"pretrained_feature_extractor does not hold the fused backbone of backbone.kwargs.checkpoint: "
            f"{len(keys.missing_keys)} weights are missing, such as {keys.missing_keys[0]}; give both the same file"
        )
