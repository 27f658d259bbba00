"""A backbone as a folder that others read: weights as safetensors, a configuration and a card."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
from safetensors.torch import load
from torch import nn

from solo_invariance.backbones.backbone import Backbone
from solo_invariance.backbones.files.checkpoint import load_weights
from solo_invariance.backbones.files.description import build
from solo_invariance.backbones.files.exported import CARD, CONFIG, OURS, WEIGHTS, is_exported
from solo_invariance.config.export import holds_others
from solo_invariance.errors import UserError, reason_of
from solo_invariance.export.card import card_of
from solo_invariance.export.written import (
    Written,
    example_images,
    fingerprint_of_content,
    gives_the_same,
    in_words,
    weights_of,
)
from solo_invariance.results import InvarianceResult, TransferResult
from solo_invariance.results.files import IN_THE_MAKING, directories, read_json, write_bytes, write_json

_NOT_OF_THE_NETWORK = ("pretrained", "num_classes")
# Of timm's description of a network: how it takes images and what its layers are called. What else it says is of the
# weights that timm has for it, and of where these are.
_OF_THE_NETWORK = (
    "fixed_input_size",
    "min_input_size",
    "crop_pct",
    "crop_mode",
    "pool_size",
    "first_conv",
    "classifier",
)


def write_folder(
    written: Written, folder: Path, measured: Sequence[InvarianceResult | TransferResult], license: str | None
) -> None:
    """Write a backbone to a folder that ``backbone.checkpoint`` reads; files are whole or not there.

    Args:
        written: The backbone, of a network that can be built by its name.
        folder: A free one, or the backbone's own.
        measured: The card shows these results.
        license: Of the weights, None where it is not known.

    Raises:
        UserError: What was to be written would not be read back as the same backbone, or cannot be written.
    """
    _require_same_again(written)
    for_timm = _timms_configuration(written.backbone)
    card = card_of(written, folder.resolve().name, measured, license, for_timm=bool(for_timm))
    files = {folder / name for name in (WEIGHTS, CARD, CONFIG)}
    before = {path for path in files if path.exists()}
    with directories(folder):
        for unfinished in IN_THE_MAKING.below(folder):
            unfinished.unlink(missing_ok=True)
        try:
            write_bytes(folder / WEIGHTS, written.weights)
            write_bytes(folder / CARD, card.encode())
            # Last: it makes the folder one that is read.
            write_json(folder / CONFIG, {**for_timm, OURS: written.content})
        except BaseException:
            for path in files - before:
                path.unlink(missing_ok=True)
            raise


def require_free_folder(folder: Path, key: str, written: Written | None = None) -> None:
    """Raise UserError where a folder is that of another program's network, or of another backbone.

    Args:
        folder: It need not be there.
        key: That names it, for messages.
        written: What is to be written; None where that is not known yet.
    """
    others = holds_others(folder, sorted(os.listdir(folder)) if folder.is_dir() else [], key)
    if not (folder / CONFIG).is_file():  # of an export that was interrupted, perhaps
        if written is not None and (folder / WEIGHTS).is_file() and not written.has_weights(folder / WEIGHTS):
            raise others
        return
    content = read_json(folder / CONFIG, f"Choose another {key}, or remove it.")
    if not is_exported(content):
        raise others
    before = content[OURS] if isinstance(content[OURS], dict) else {}
    if written is not None and fingerprint_of_content(before) != written.fingerprint:
        raise UserError(
            f"{key}={folder}: holds another backbone ({in_words(before)}; now {written}); choose another {key}, or "
            f"remove it"
        )


def _require_same_again(written: Written) -> None:
    """Raise UserError unless what is to be written gives, once it is read, the same features."""
    label = written.backbone.provenance.label
    try:
        again = build(json.loads(json.dumps(written.content["backbone"])), trust=True)  # it was built here
        load_weights(again.whole_network, load(written.weights), Path(WEIGHTS))
    except Exception as error:  # of a network that is no longer, or never was, what its name builds
        raise UserError(
            f"{label}: cannot be exported to a folder, its network is not built again by the name "
            f"{written.backbone.architecture.name!r} ({reason_of(error)}); .pt2 and .ts need no name"
        ) from error
    if not gives_the_same(again, written.backbone, example_images(written.backbone)):
        raise UserError(
            f"{label}: cannot be exported to a folder, its name and weights alone give other features (something was "
            f"changed in it since it was built); .pt2 and .ts keep that"
        )


def _timms_configuration(backbone: Backbone) -> dict[str, Any]:
    """Return what timm reads a folder by, as it writes it itself; nothing where timm would not build this network."""
    network, name = backbone.network, backbone.architecture.name
    if not name.startswith("timm:") or backbone.views is not None or not hasattr(network, "pretrained_cfg"):
        return {}
    said = dict(network.pretrained_cfg)  # type: ignore[arg-type]
    architecture = said.get("architecture")
    kwargs = backbone.architecture.without_weights().kwargs
    arguments = {key: one for key, one in kwargs.items() if key not in _NOT_OF_THE_NETWORK}
    if not isinstance(architecture, str) or not _timm_builds(architecture, arguments, backbone):
        return {}
    spec = backbone.input_spec
    asked = {
        "input_size": [3, spec.crop_size, spec.crop_size],
        "mean": list(spec.mean),
        "std": list(spec.std),
        "interpolation": spec.interpolation,
        "num_classes": 0,
        **({} if spec.crop_pct is None else {"crop_pct": spec.crop_pct}),
    }
    said = {key: said[key] for key in _OF_THE_NETWORK if said.get(key) is not None} | asked
    return {
        "architecture": architecture,
        "num_classes": 0,
        "num_features": backbone.num_features,
        **({"model_args": arguments} if arguments else {}),
        "pretrained_cfg": said,
    }


def _timm_builds(architecture: str, arguments: dict[str, Any], backbone: Backbone) -> bool:
    """Return whether timm by itself gives the network's output for its weights."""
    try:
        theirs: nn.Module = timm.create_model(architecture, pretrained=False, num_classes=0, **arguments)
        theirs.load_state_dict(weights_of(backbone))
        return gives_the_same(theirs.eval(), backbone.network, example_images(backbone))
    except Exception:  # a network that differs can make timm raise anything
        return False
