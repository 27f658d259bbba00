"""Backbones as plain data: what is needed to build one again, into which weights are loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from torch import nn

from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.backbone import Backbone, Provenance
from solo_invariance.backbones.chosen import choice_of, with_choice
from solo_invariance.backbones.files.stand_ins import entries_of
from solo_invariance.backbones.fused import FusedNetwork, widths_of
from solo_invariance.backbones.fusion import FunctionHead, Fusion, FusionHead, FusionPlugin, is_head
from solo_invariance.backbones.input_spec import InputSpec
from solo_invariance.backbones.shaping import ShapedNetwork, Shaper
from solo_invariance.backbones.views import views_from
from solo_invariance.errors import UserError
from solo_invariance.plugins import load_plugin


def describe(backbone: Backbone) -> dict[str, Any]:
    """Return what ``build`` makes the same backbone of, but for the weights of ``whole_network``.

    Beyond its own width it has, where the backbone does: ``layer``, ``pool`` and ``tokens``, ``views`` and ``fusion``,
    with its members.
    """
    found: dict[str, Any] = {
        "architecture": backbone.architecture.without_weights().plain(),
        "input": asdict(backbone.input_spec),
        "provenance": asdict(backbone.provenance),
        "num_features": backbone.num_features,
    }
    found |= {key: value for key, value in choice_of(backbone.network).items() if value is not None}
    if isinstance(backbone.whole_network, FusedNetwork):
        found["fusion"] = describe_fusion(backbone.whole_network)
    if backbone.views is not None:
        found["views"] = backbone.views.content()
    return found


def describe_fusion(fused: FusedNetwork) -> dict[str, Any]:
    """Return what ``build_fused`` makes the same network of, but for its weights."""
    shaped = {"shaped": [*fused.factors]} if isinstance(fused, ShapedNetwork) else {}
    return {
        **shaped,
        "mode": fused.mode,
        "num_features": fused.num_features,
        "options": fused.fusion.options,
        "members": [describe(member) for member in fused.backbones],
        "fitted_on": sorted(fused.fitted_on),
    }


def build(description: Mapping[str, Any], trust: bool = False) -> Backbone:
    """Return the backbone that plain data describe, with weights that are yet to be loaded.

    Args:
        description: A stranger's, perhaps. It is checked, and nothing is run that it names, unless there is trust.
        trust: Whether code may be run that the description names, and folders and hubs be read.

    Raises:
        UserError: It does not describe a backbone that can be built here.
        Exception: It lacks something, or something in it is not what it should be.
    """
    given = _entries(description)
    architecture = Architecture.from_mapping(_entries(given["architecture"]), trust).without_weights()
    spec = InputSpec.from_mapping(_entries(given["input"]))
    provenance = Provenance.from_mapping(_entries(given["provenance"]))
    views = views_from(_entries(given["views"])) if given.get("views") is not None else None
    network: nn.Module = build_fused(_entries(given["fusion"]), trust) if "fusion" in given else architecture.build()
    backbone = Backbone(with_choice(network, given), architecture, spec, provenance, views)
    if backbone.num_features != given.get("num_features", backbone.num_features):
        raise UserError(f"num_features is {given['num_features']!r}, but what is described has {backbone.num_features}")
    return backbone


def build_fused(description: Mapping[str, Any], trust: bool = False) -> FusedNetwork:
    """Return the fused network that plain data describe, with weights that are yet to be loaded.

    Args:
        description: A stranger's, perhaps.
        trust: Whether code may be run that it names, and folders and hubs be read.

    Raises:
        UserError: It does not describe a fusion that can be built here.
        Exception: It lacks something, or something in it is not what it should be.
    """
    members = [build(_entries(member), trust) for member in description["members"]]
    mode, options = str(description["mode"]), dict(description.get("options", {}))
    fitted_on = frozenset(map(str, description.get("fitted_on", ())))
    if "shaped" in description:
        shaper = build_shaper(load_plugin("shapers", mode), members[0], mode, options)
        return ShapedNetwork(members[:1], shaper, mode, fitted_on, [*map(str, description["shaped"])])
    fusion = build_fusion(load_plugin("fusions", mode), members, mode, options)
    return FusedNetwork(members, fusion, mode, fitted_on)


def build_shaper(plugin: type[Shaper], backbone: Backbone, mode: str, options: Mapping[str, Any]) -> Shaper:
    """Return a shaper for a backbone, not yet fitted.

    Args:
        plugin: The shaper's class.
        backbone: That is to be shaped.
        mode: The shaper's name.
        options: Its further arguments.

    Raises:
        UserError: It does not take these options.
    """
    try:
        return plugin([backbone.num_features], **options)
    except TypeError as error:
        raise UserError(f"mode={mode} does not take these options: {', '.join(options)}") from error
    except ValueError as error:
        raise UserError(f"mode={mode}: {error}") from error


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


def _entries(value: object) -> dict[str, Any]:
    """Return a mapping's entries; of what a checkpoint has in place of one, too."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is no mapping")
    return dict(entries_of(value))
