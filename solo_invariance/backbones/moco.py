"""Checkpoints of MoCo's own code: those of the paper, and Facebook's, whose layout they have.

Source: https://github.com/facebookresearch/moco (``main_moco.py``, ``moco/builder.py``), to which the paper's code adds
the architectures ``resnet18w3`` and ``resnet50w3``; https://github.com/facebookresearch/moco-v3 for ``base_encoder``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.checkpoint import without_head
from solo_invariance.errors import UserError

_ENCODERS = ("encoder_q.", "base_encoder.")
_ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet18": ("resnet18", {}),
    "resnet50": ("resnet50", {}),
    "resnet18w3": ("resnet18", {"width": 3}),
    "resnet50w3": ("resnet50", {"width": 3}),
}


def moco_weights(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the trained encoder's weights by their names in the network; empty for a checkpoint of another layout.

    Its projection head is left out, and so are the momentum encoder, the predictor and the queue: the method's.

    Args:
        content: What the file holds: a ``state_dict`` with ``encoder_q.*`` or, of MoCo v3, ``base_encoder.*``; with
            ``module.`` before them where the network was trained with DistributedDataParallel.
    """
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping):
        return {}
    tensors = {str(name).removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
    for encoder in _ENCODERS:
        weights = {name.removeprefix(encoder): value for name, value in tensors.items() if name.startswith(encoder)}
        if weights:
            return without_head(weights)
    return {}


def moco_architecture(content: Mapping[str, Any], kwargs: Mapping[str, Any], path: Path) -> Architecture:
    """Return the architecture that a checkpoint names as its ``arch``.

    Args:
        content: What the file holds.
        kwargs: Further arguments for building the network.
        path: Of the file, for messages.

    Raises:
        UserError: The name is missing or unknown. MoCo v3's ViTs are among the unknown: they differ from timm's of
            the same name in their heads, which the weights' shapes do not show.
    """
    arch = content.get("arch")
    if not isinstance(arch, str) or arch not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise UserError(
            f"checkpoint {path}: its arch is {arch!r}, expected one of {known}; set backbone.name (and backbone.kwargs)"
        )
    name, own = _ARCHITECTURES[arch]
    return Architecture(name, {**own, **kwargs})
