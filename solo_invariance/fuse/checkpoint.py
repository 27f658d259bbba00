"""Fused checkpoints: plain tensors and plain data that say by themselves how to build the fusion again."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.backbone import Backbone, InputSpec, Provenance
from solo_invariance.backbones.checkpoint import FUSION_KEY, load_weights
from solo_invariance.errors import UserError
from solo_invariance.fuse.functional import Fusion
from solo_invariance.fuse.fused import FusedBackbone
from solo_invariance.results import versions, write_bytes

_SCHEMA = 1


def save_fused(fused: FusedBackbone, path: Path) -> None:
    """Write a fused checkpoint, atomically, in the host's layout: ``state_dict`` with ``backbone.*``."""
    content = {
        "state_dict": {f"backbone.{name}": value for name, value in fused.state_dict().items()},
        FUSION_KEY: {
            "schema": _SCHEMA,
            "mode": fused.mode,
            "members": [_describe(member) for member in fused.backbones],
            "versions": versions(),
        },
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def fused_from_content(content: Mapping[str, Any], path: Path, fusion_of: Callable[[str], Fusion]) -> FusedBackbone:
    """Build a fused backbone from a checkpoint's content.

    Args:
        content: What the file holds.
        path: Of the file, for messages.
        fusion_of: Gives the fusion of a mode's name.

    Raises:
        UserError: It is no fused checkpoint, or of an unknown schema or mode, or its weights do not fit.
    """
    description = content.get(FUSION_KEY)
    if not isinstance(description, Mapping):
        raise UserError(f"checkpoint {path}: not a fused one; `solo-invariance fuse members=[...] out=...` writes them")
    if description.get("schema") != _SCHEMA:
        raise UserError(f"checkpoint {path}: fused schema {description.get('schema')}, this version reads {_SCHEMA}")
    try:
        state = content["state_dict"]
        members = [_member(d, _weights_of(state, i), path) for i, d in enumerate(description["members"])]
        mode = description["mode"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"checkpoint {path}: its description of the members is incomplete ({error})") from error
    try:
        return FusedBackbone(members, fusion_of(str(mode)), mode)
    except UserError as error:
        raise UserError(f"checkpoint {path}: {error}") from error


def _describe(member: Backbone) -> dict[str, Any]:
    if isinstance(member.network, FusedBackbone):
        raise UserError(
            f"{member.provenance.checkpoint}: a fused backbone cannot be a member; name its members instead"
        )
    return {
        "architecture": asdict(member.architecture),
        "input": asdict(member.input_spec),
        "provenance": asdict(member.provenance),
        "num_features": member.num_features,
    }


def _weights_of(state: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    prefix = f"backbone.members.{index}.network."
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _member(description: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path) -> Backbone:
    architecture = Architecture(**description["architecture"])
    network = architecture.without_weights().build()
    load_weights(network, weights, path)
    input_spec = InputSpec.from_mapping(description["input"])
    return Backbone(network, architecture, input_spec, Provenance(**description["provenance"]))


def fuse(members: Sequence[Backbone], fusion: Fusion, mode: str) -> FusedBackbone:
    """Return the fusion of backbones, refusing fused ones as members."""
    for member in members:
        _describe(member)
    return FusedBackbone(members, fusion, mode)
