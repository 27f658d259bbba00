"""Fused checkpoints: plain tensors and plain data that say by themselves how to build the fusion again."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.files.checkpoint import FUSION_KEY, load_weights
from solo_invariance.backbones.files.description import build_fused, describe_fusion
from solo_invariance.backbones.files.stand_ins import entries_of
from solo_invariance.backbones.fused import FusedNetwork, network_of
from solo_invariance.errors import UserError, reason_of
from solo_invariance.results.files import versions, write_bytes

_SCHEMA = 1


def save_fused(backbone: Backbone, path: Path) -> None:
    """Write a fused backbone's checkpoint, atomically, in the host's layout: ``state_dict`` with ``backbone.*``.

    Raises:
        UserError: The backbone is no fused one, or the file cannot be written.
    """
    fused = network_of(backbone)
    for member in fused.backbones:
        require_single(member)
    content = {
        "state_dict": {f"backbone.{name}": value for name, value in fused.state_dict().items()},
        FUSION_KEY: {
            "schema": _SCHEMA,
            **describe_fusion(fused),
            "versions": versions(),
        },
        # Lightning, and so solo-learn's main_knn.py, reads no checkpoint without it.
        "pytorch-lightning_version": versions()["lightning"],
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def fused_from_content(content: Mapping[str, Any], path: Path, trust: bool = False) -> FusedNetwork:
    """Build a fused network from a checkpoint's content; the mode names one of the plugins ``solo_invariance.fusions``.

    Args:
        content: What the file holds.
        path: Of the file, for messages.
        trust: Whether code may be run that it names members by.

    Raises:
        UserError: It is no fused checkpoint, or of an unknown schema or mode, or its weights do not fit.
    """
    description: dict[str, Any] = dict(entries_of(content.get(FUSION_KEY)))
    if not description:
        raise UserError(f"checkpoint {path}: not a fused one; `solo-invariance fuse members=[...] out=...` writes them")
    if description.get("schema") != _SCHEMA:
        raise UserError(f"checkpoint {path}: fused schema {description.get('schema')}, this version reads {_SCHEMA}")
    try:
        weights = _below(content["state_dict"], "backbone.")
        fused = build_fused(description, trust)
    except UserError as error:
        raise UserError(f"checkpoint {path}: {error}") from error
    except Exception as error:  # a stranger's description can be anything
        reason = reason_of(error)
        raise UserError(f"checkpoint {path}: its description of the members is incomplete ({reason})") from error
    load_weights(fused, weights, path)
    return fused


def describe_fused(content: Mapping[str, Any]) -> tuple[str, str, int]:
    """Return the mode of a fused checkpoint's content, the members' labels and the width of the features."""
    try:
        description = content[FUSION_KEY]
        labels = [str(member["provenance"]["label"]) for member in description["members"]]
        return str(description["mode"]), "+".join(labels), int(description["num_features"])
    except Exception:  # a stranger's description can be anything
        return "an unknown fusion", "unknown members", 0


def require_single(member: Backbone) -> None:
    """Raise UserError where a backbone cannot be a member: a fused one, or one that averages over views."""
    if member.views is not None:
        raise UserError(
            f"{member.provenance.label}: its features are averaged over views, which no fused checkpoint keeps; set "
            f"backbone.views where the fused backbone is used"
        )
    if member.members:
        raise UserError(
            f"{member.provenance.checkpoint}: a fused backbone cannot be a member; name its members instead"
        )


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    tensors = ((key, value) for key, value in entries_of(state) if isinstance(value, Tensor))
    return {key.removeprefix(prefix): value for key, value in tensors if key.startswith(prefix)}
