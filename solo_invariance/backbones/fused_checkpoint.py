"""Fused checkpoints: plain tensors and plain data that say by themselves how to build the fusion again."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.backbone import Backbone, Provenance
from solo_invariance.backbones.checkpoint import FUSION_KEY, load_weights
from solo_invariance.backbones.chosen import choice_of, with_choice
from solo_invariance.backbones.fused import FusedNetwork, network_of, widths_of
from solo_invariance.backbones.fusion import FunctionHead, Fusion, FusionHead, FusionPlugin, is_head
from solo_invariance.backbones.input_spec import InputSpec
from solo_invariance.backbones.stand_ins import entries_of
from solo_invariance.errors import UserError, reason_of
from solo_invariance.plugins import load_plugin
from solo_invariance.results.files import versions, write_bytes

_SCHEMA = 1


def save_fused(backbone: Backbone, path: Path) -> None:
    """Write a fused backbone's checkpoint, atomically, in the host's layout: ``state_dict`` with ``backbone.*``.

    Raises:
        UserError: The backbone is no fused one, or the file cannot be written.
    """
    fused = network_of(backbone)
    content = {
        "state_dict": {f"backbone.{name}": value for name, value in fused.state_dict().items()},
        FUSION_KEY: {
            "schema": _SCHEMA,
            "mode": fused.mode,
            "num_features": fused.num_features,
            "options": fused.fusion.options,
            "members": [_describe(member) for member in fused.backbones],
            "fitted_on": sorted(fused.fitted_on),
            "versions": versions(),
        },
        # Lightning, and so solo-learn's main_knn.py, reads no checkpoint without it.
        "pytorch-lightning_version": versions()["lightning"],
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def fused_from_content(content: Mapping[str, Any], path: Path) -> FusedNetwork:
    """Build a fused network from a checkpoint's content; the mode names one of the plugins ``solo_invariance.fusions``.

    Args:
        content: What the file holds.
        path: Of the file, for messages.

    Raises:
        UserError: It is no fused checkpoint, or of an unknown schema or mode, or its weights do not fit.
    """
    description: dict[str, Any] = dict(entries_of(content.get(FUSION_KEY)))
    if not description:
        raise UserError(f"checkpoint {path}: not a fused one; `solo-invariance fuse members=[...] out=...` writes them")
    if description.get("schema") != _SCHEMA:
        raise UserError(f"checkpoint {path}: fused schema {description.get('schema')}, this version reads {_SCHEMA}")
    try:
        state = content["state_dict"]
        members = [
            _member(d, _below(state, f"members.{i}.network."), path) for i, d in enumerate(description["members"])
        ]
        mode, options = str(description["mode"]), dict(description.get("options", {}))
        fitted_on = frozenset(map(str, description.get("fitted_on", ())))
    except UserError:
        raise
    except Exception as error:  # a stranger's description can be anything
        reason = reason_of(error)
        raise UserError(f"checkpoint {path}: its description of the members is incomplete ({reason})") from error
    try:
        fusion = build_fusion(load_plugin("fusions", mode), members, mode, options)
        fused = FusedNetwork(members, fusion, mode, fitted_on)
    except UserError as error:
        raise UserError(f"checkpoint {path}: {error}") from error
    load_weights(fusion, _below(state, "fusion."), path)
    return fused


def build_fusion(
    plugin: FusionPlugin, members: Sequence[Backbone], mode: str, options: Mapping[str, Any]
) -> FusionHead:
    """Return a fusion for members, not yet fitted.

    Raises:
        UserError: The options, or the members' widths, do not fit the fusion.
    """
    if options and not is_head(plugin):
        raise UserError(f"mode={mode} takes no options, got {', '.join(options)}")
    widths = [member.num_features for member in members]
    try:
        return plugin(widths, **options) if is_head(plugin) else FunctionHead(widths, cast(Fusion, plugin))
    except TypeError as error:
        raise UserError(f"mode={mode} does not take these options: {', '.join(options)}") from error
    except ValueError as error:
        raise UserError(f"mode={mode} does not fit its members ({widths_of(members)}): {error}") from error


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


def _describe(member: Backbone) -> dict[str, Any]:
    require_single(member)
    return {
        "architecture": asdict(member.architecture),
        "input": asdict(member.input_spec),
        "provenance": asdict(member.provenance),
        "num_features": member.num_features,
        "features": choice_of(member.network),
    }


def _below(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"backbone.{name}"
    tensors = ((key, value) for key, value in entries_of(state) if isinstance(value, Tensor))
    return {key.removeprefix(prefix): value for key, value in tensors if key.startswith(prefix)}


def _member(description: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path) -> Backbone:
    architecture = Architecture(**description["architecture"])
    network = with_choice(architecture.without_weights().build(), description.get("features", {}))
    load_weights(network, weights, path)
    input_spec = InputSpec.from_mapping(description["input"])
    return Backbone(network, architecture, input_spec, Provenance.from_mapping(description["provenance"]))
