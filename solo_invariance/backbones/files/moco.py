"""Checkpoints that name their architecture, as those of MoCo's own code do: the paper's, and Facebook's.

Source: https://github.com/facebookresearch/moco (``main_moco.py``, ``moco/builder.py``), to which the paper's code adds
the architectures ``resnet18w3`` and ``resnet50w3``; https://github.com/facebookresearch/moco-v3 for ``base_encoder``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torchvision

from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.files.checkpoint_tensors import names_of
from solo_invariance.errors import UserError

_ENCODERS = (".encoder_q.", ".base_encoder.")
_ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet18": ("resnet18", {}),
    "resnet50": ("resnet50", {}),
    "resnet18w3": ("resnet18", {"width": 3}),
    "resnet50w3": ("resnet50", {"width": 3}),
}
_MOCO_V3S: dict[str, tuple[str, dict[str, Any]]] = {
    "vit_small": ("timm:vit_small_patch16_224", {"num_heads": 12}),
    "vit_base": ("timm:vit_base_patch16_224", {}),
}
"""MoCo v3's ViTs, of which the small one has more heads than others': shapes do not show that (``vits.py``)."""


def names_its_arch(content: Mapping[str, Any]) -> bool:
    """Whether a checkpoint says itself, as MoCo's do, of which architecture it is.

    Args:
        content: What the file holds: an ``arch``, or names with ``encoder_q`` or, of MoCo v3, ``base_encoder``.
    """
    return "arch" in content or any(encoder in f".{name}" for name in names_of(content) for encoder in _ENCODERS)


def moco_architecture(content: Mapping[str, Any], kwargs: Mapping[str, Any], path: Path) -> Architecture:
    """Return the architecture that a checkpoint names as its ``arch``.

    Args:
        content: What the file holds.
        kwargs: Further arguments for building the network.
        path: Of the file, for messages.

    Raises:
        UserError: The name is missing or unknown. MoCo v3's ViTs with a convolutional stem are among the unknown.
    """
    arch = content.get("arch")
    known = {**_ARCHITECTURES, **(_MOCO_V3S if is_moco_v3(content) else {})}
    if isinstance(arch, str) and arch in known:
        name, own = known[arch]
        return Architecture(name, {**own, **kwargs})
    if isinstance(arch, str) and arch in torchvision.models.list_models(module=torchvision.models):
        return Architecture(f"torchvision:{arch}", {"weights": None, **kwargs})
    if isinstance(arch, str) and timm.is_model(arch):
        return Architecture(f"timm:{arch}", {"pretrained": False, **kwargs})
    raise UserError(
        f"checkpoint {path}: its arch is {arch!r}, expected one of {', '.join(known)} or a name of torchvision's or "
        f"timm's; set backbone.name (and backbone.kwargs)"
    )


def is_moco_v3(content: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is one of MoCo v3's code.

    Args:
        content: What the file holds.
    """
    return any(".base_encoder." in f".{name}" for name in names_of(content))
