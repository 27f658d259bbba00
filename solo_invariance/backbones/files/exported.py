"""Folders that ``export`` writes: weights as safetensors, and a configuration that says of what they are."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.chosen import choice_of, with_choice
from solo_invariance.backbones.files.checkpoint import load_weights, read_checkpoint, sha256_of
from solo_invariance.backbones.files.description import build
from solo_invariance.backbones.fitting import resized
from solo_invariance.backbones.fused import FusedNetwork
from solo_invariance.backbones.input_spec import InputSpec
from solo_invariance.config.backbone import INPUT_CHECKS, BackboneConfig
from solo_invariance.errors import UserError, reason_of
from solo_invariance.results.files import read_json

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
"""The files of an exported folder."""

OURS = "solo_invariance"
"""The entry of ``config.json`` that makes a folder an exported one; what is beside it is for other programs."""

EXPORT_SCHEMA = 1


def is_exported(content: Mapping[str, Any]) -> bool:
    """Return whether a folder's ``config.json`` is that of an exported one."""
    return OURS in content


def read_exported(folder: Path, config: BackboneConfig) -> Backbone:
    """Return the backbone that an exported folder holds: its features are those of the one that was exported.

    Args:
        folder: A stranger's, perhaps: nothing that it names is run, unless there is ``config.trust``.
        config: What else is asked of it: input, label, views; it says itself what it is.

    Raises:
        UserError: A part of it is missing, broken or not what was written; the message names the file and the key.
    """
    file = folder / CONFIG
    written = _written(read_json(file, "Export it again."), file)
    backbone = _built(written, file, config.trust)
    weights = folder / WEIGHTS
    load_weights(backbone.whole_network, read_checkpoint(weights), weights)
    if (found := sha256_of(weights)) != written.get("sha256"):
        raise UserError(f"{weights}: is not what {file} was written with, sha256 {found[:12]}...; export it again")
    _require_nothing_else(folder, backbone, config)
    backbone.provenance = replace(backbone.provenance, checkpoint=str(folder), sha256=found, key=None)
    return _with_input(backbone, config)


def _written(content: Mapping[str, Any], file: Path) -> Mapping[str, Any]:
    written = content.get(OURS)
    if not isinstance(written, Mapping):
        raise UserError(f"{file}: {OURS} is {written!r}, expected a mapping; export it again")
    if written.get("schema") != EXPORT_SCHEMA:
        found = written.get("schema")
        raise UserError(f"{file}: {OURS}.schema is {found!r}, this version reads {EXPORT_SCHEMA}")
    return written


def _built(written: Mapping[str, Any], file: Path, trust: bool) -> Backbone:
    try:
        return build(written["backbone"], trust)
    except UserError as error:
        raise UserError(f"{file}: {OURS}.backbone: {error}") from error
    except Exception as error:  # a stranger's description can be anything
        reason = reason_of(error)
        raise UserError(f"{file}: {OURS}.backbone describes none ({reason}); export it again") from error


def _require_nothing_else(folder: Path, backbone: Backbone, config: BackboneConfig) -> None:
    """Raise UserError where a key asks for what an exported backbone is not."""
    if config.name not in (None, backbone.architecture.name):
        raise UserError(f"backbone.name={config.name}: {folder} says itself that it is {backbone.architecture.name}")
    for key in ("kwargs", "weights", "heads"):
        if getattr(config, key):
            raise UserError(f"backbone.{key}: {folder} says itself how it is built and what its weights are")
    asked = {key: value for key in ("layer", "pool") if (value := getattr(config, key)) is not None}
    if asked and (backbone.network is not backbone.whole_network or backbone.views is not None):
        key, value = next(iter(asked.items()))
        names = ", ".join(filter(None, backbone.layers)) or f"its tokens, pool={choice_of(backbone.network)['pool']},"
        gives = "views of images" if backbone.views is not None else f"{names} alone"
        raise UserError(f"backbone.{key}={value}: {folder} was exported to give features of {gives}; export it without")


def _with_input(backbone: Backbone, config: BackboneConfig) -> Backbone:
    own = {key: getattr(config, key) for key in INPUT_CHECKS if getattr(config, key) is not None}
    if not own:
        return backbone
    if isinstance(backbone.whole_network, FusedNetwork):
        raise UserError(f"backbone.{next(iter(own))}: {config.checkpoint} is a fused one, whose members say this")
    spec = InputSpec.from_mapping({**asdict(backbone.input_spec), **own})
    architecture, network, on_size = resized(backbone.architecture, backbone.whole_network, spec.crop_size)
    provenance = replace(backbone.provenance, remarks=backbone.provenance.remarks + on_size)
    return Backbone(with_choice(network, choice_of(backbone.network)), architecture, spec, provenance, backbone.views)
