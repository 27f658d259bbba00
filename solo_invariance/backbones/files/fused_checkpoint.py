"""Fused checkpoints: plain tensors and plain data that say by themselves how to build the fusion again."""

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.files.checkpoint import FUSION_KEY, load_weights, read_checkpoint
from solo_invariance.backbones.files.description import build_fused, describe_fusion
from solo_invariance.backbones.files.stand_ins import entries_of
from solo_invariance.backbones.fused import FusedNetwork, network_of
from solo_invariance.backbones.shaping import ShapedNetwork, label_of_shaped
from solo_invariance.backbones.views import DrawnViews
from solo_invariance.errors import UserError, reason_of
from solo_invariance.results.files import versions, write_bytes

_SCHEMA = 1


def save_fused(backbone: Backbone, path: Path) -> None:
    """Write a fused backbone's checkpoint, atomically, in the host's layout: ``state_dict`` with ``backbone.*``.

    Raises:
        UserError: The backbone is no fused one, or the file cannot be written.
    """
    fused = network_of(backbone)
    for member in fused.backbones if not isinstance(fused, ShapedNetwork) else ():
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


def fused_from_content(
    content: Mapping[str, Any], path: Path, trust: bool = False, options: Mapping[str, Any] | None = None
) -> FusedNetwork:
    """Build a fused network from a checkpoint's content; the mode names one of the plugins ``solo_invariance.fusions``.

    Args:
        content: What the file holds.
        path: Of the file, for messages.
        trust: Whether code may be run that it names members by.
        options: Of a shaper, in place of the file's: of which ``group`` images are, say.

    Raises:
        UserError: It is no fused checkpoint, or of an unknown schema or mode, or its weights do not fit, or it does not
            take the options.
    """
    description: dict[str, Any] = dict(entries_of(content.get(FUSION_KEY)))
    if not description:
        raise UserError(f"checkpoint {path}: not a fused one; `solo-invariance fuse members=[...] out=...` writes them")
    if description.get("schema") != _SCHEMA:
        raise UserError(f"checkpoint {path}: fused schema {description.get('schema')}, this version reads {_SCHEMA}")
    try:
        weights = _below(content["state_dict"], "backbone.")
        if options:
            description["options"] = {**_chosen(description, options)}
        fused = build_fused(description, trust)
    except UserError as error:
        raise UserError(f"checkpoint {path}: {error}") from error
    except Exception as error:  # a stranger's description can be anything
        reason = reason_of(error)
        raise UserError(f"checkpoint {path}: its description of the members is incomplete ({reason})") from error
    load_weights(fused, weights, path)
    return fused


def describe_fused(content: Mapping[str, Any]) -> tuple[str, str, int]:
    """Return the mode of a fused checkpoint's content, what it is called and the width of the features."""
    try:
        description = content[FUSION_KEY]
        mode, width = str(description["mode"]), int(description["num_features"])
        labels = [str(member["provenance"]["label"]) for member in description["members"]]
        if "shaped" in description:
            return mode, label_of_shaped(labels[0], mode, description["shaped"]), width
        return mode, "+".join(labels), width
    except Exception:  # a stranger's description can be anything
        return "an unknown fusion", "unknown members", 0


def require_place(out: Path, sources: Iterable[Path]) -> None:
    """Raise UserError where a checkpoint would replace what is none of its kind, or is not called as solo-learn wants.

    Args:
        out: Where it is to go.
        sources: The checkpoints that it is made of.
    """
    if out.suffix not in (".ckpt", ".pth", ".pt"):
        raise UserError(f"out={out}: solo-learn reads checkpoints called .ckpt, .pth or .pt")
    if os.path.realpath(out) in {*map(os.path.realpath, sources)}:
        raise UserError(f"out={out}: is what it is made of, and would be overwritten")
    if out.exists() and FUSION_KEY not in read_checkpoint(out):
        raise UserError(f"out={out}: is there already and is no fused checkpoint; choose another out")


def require_same(backbone: Backbone, out: Path) -> None:
    """Raise UserError where a checkpoint of another fusion, or of what is shaped otherwise, would be replaced."""
    if out.exists():
        before = describe_fused(read_checkpoint(out))
        if before != (now := (network_of(backbone).mode, backbone.provenance.label, backbone.num_features)):
            named = "{0} of {1}, {2} features".format
            raise UserError(
                f"out={out}: holds another fusion ({named(*before)}; now {named(*now)}); choose another out"
            )


def require_single(member: Backbone) -> None:
    """Raise UserError where a backbone cannot be a member: a fused one, or one that averages over views."""
    if isinstance(member.views, DrawnViews):
        raise UserError(
            f"{member.provenance.label}: its features are averaged over views, which no fused checkpoint keeps; set "
            f"backbone.views where the fused backbone is used"
        )
    if member.members and not isinstance(member.network, ShapedNetwork):
        raise UserError(
            f"{member.provenance.checkpoint}: a fused backbone cannot be a member; name its members instead"
        )


def _chosen(description: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a shaper with others in place of some of them."""
    own = dict(entries_of(description.get("options"))) if "shaped" in description else {}
    for key in options:
        if key not in own:
            has = f", it has {', '.join(own)}" if own else ""
            raise UserError(f"backbone.kwargs.{key}: {description['mode']} has no such option{has}")
    return {**own, **options}


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    tensors = ((key, value) for key, value in entries_of(state) if isinstance(value, Tensor))
    return {key.removeprefix(prefix): value for key, value in tensors if key.startswith(prefix)}
