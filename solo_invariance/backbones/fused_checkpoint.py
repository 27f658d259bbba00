"""Fused checkpoints: plain tensors and plain data that say by themselves how to build the fusion again."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor

from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.backbone import Backbone, InputSpec, Provenance
from solo_invariance.backbones.checkpoint import FUSION_KEY, load_weights
from solo_invariance.backbones.fused import FusedBackbone, widths_of
from solo_invariance.backbones.fusion import Fusion, FusionHead
from solo_invariance.errors import UserError
from solo_invariance.results.files import versions, write_bytes

_SCHEMA = 1

FusionPlugin = Fusion | type[FusionHead]
"""What a fusion's name stands for: a function of the members' features, or the class of a head that is fitted."""


def save_fused(fused: FusedBackbone, path: Path) -> None:
    """Write a fused checkpoint, atomically, in the host's layout: ``state_dict`` with ``backbone.*``."""
    content = {
        "state_dict": {f"backbone.{name}": value for name, value in fused.state_dict().items()},
        FUSION_KEY: {
            "schema": _SCHEMA,
            "mode": fused.mode,
            "num_features": fused.num_features,
            "options": fused.fusion.options if isinstance(fused.fusion, FusionHead) else {},
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


def fused_from_content(
    content: Mapping[str, Any], path: Path, plugin_of: Callable[[str], FusionPlugin]
) -> FusedBackbone:
    """Build a fused backbone from a checkpoint's content.

    Args:
        content: What the file holds.
        path: Of the file, for messages.
        plugin_of: Gives what a mode's name stands for.

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
        members = [
            _member(d, _below(state, f"members.{i}.network."), path) for i, d in enumerate(description["members"])
        ]
        mode, options = str(description["mode"]), dict(description.get("options", {}))
        fitted_on = frozenset(map(str, description.get("fitted_on", ())))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"checkpoint {path}: its description of the members is incomplete ({error})") from error
    try:
        fusion = build_fusion(plugin_of(mode), members, mode, options)
        fused = FusedBackbone(members, fusion, mode, fitted_on)
    except UserError as error:
        raise UserError(f"checkpoint {path}: {error}") from error
    if isinstance(fusion, FusionHead):
        load_weights(fusion, _below(state, "fusion."), path)
    return fused


def build_fusion(plugin: FusionPlugin, members: Sequence[Backbone], mode: str, options: Mapping[str, Any]) -> Fusion:
    """Return a fusion for members, not yet fitted where it is a head.

    Raises:
        UserError: The options, or the members' widths, do not fit the fusion.
    """
    if not is_head(plugin):
        if options:
            raise UserError(f"mode={mode} takes no options, got {', '.join(options)}")
        return cast(Fusion, plugin)
    try:
        return plugin([member.num_features for member in members], **options)
    except TypeError as error:
        raise UserError(f"mode={mode} does not take these options: {', '.join(options)}") from error
    except ValueError as error:
        raise UserError(f"mode={mode} does not fit its members ({widths_of(members)}): {error}") from error


def is_head(plugin: FusionPlugin) -> TypeGuard[type[FusionHead]]:
    """Whether a fusion is one that is fitted."""
    return isinstance(plugin, type) and issubclass(plugin, FusionHead)


def describe_fused(content: Mapping[str, Any]) -> tuple[str, str, int]:
    """Return the mode of a fused checkpoint's content, the members' labels and the width of the features."""
    try:
        description = content[FUSION_KEY]
        labels = [str(member["provenance"]["label"]) for member in description["members"]]
        return str(description["mode"]), "+".join(labels), int(description["num_features"])
    except (KeyError, TypeError, ValueError):
        return "an unknown fusion", "unknown members", 0


def require_single(member: Backbone) -> None:
    """Raise UserError where a backbone is a fused one, which cannot be a member."""
    if isinstance(member.network, FusedBackbone):
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
    }


def _below(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"backbone.{name}"
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _member(description: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path) -> Backbone:
    architecture = Architecture(**description["architecture"])
    network = architecture.without_weights().build()
    load_weights(network, weights, path)
    input_spec = InputSpec.from_mapping(description["input"])
    return Backbone(network, architecture, input_spec, Provenance(**description["provenance"]))
