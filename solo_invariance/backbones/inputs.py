"""The input that a model of timm's or torchvision's was trained on, as these packages say it."""

from enum import Enum
from typing import Any

import timm.data
import torchvision
from torch import nn

from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.backbone import InputSpec
from solo_invariance.config.backbone import INTERPOLATIONS


def input_of(architecture: Architecture, network: nn.Module, sha256: str | None = None) -> InputSpec:
    """Return the input of a named model: size, normalisation and interpolation, as its package has them.

    What the package's own evaluation cuts off around the crop is left out: transforms need what lies there.

    timm has them by the name, with its tag. torchvision has them by the weights: those that ``kwargs`` name, those of
    the file, or its default ones.

    Args:
        architecture: By which the network was built; ImageNet's usual input for those that neither package has.
        network: Its own.
        sha256: Of the file that the weights are from, if any: torchvision's files have its beginning in their names.
    """
    if architecture.name.startswith("torchvision:"):
        return _torchvisions(architecture, network, sha256)
    if not hasattr(network, "pretrained_cfg"):
        return InputSpec()
    config = timm.data.resolve_data_config(model=network)
    return InputSpec(
        config["input_size"][-1],
        tuple(config["mean"]),
        tuple(config["std"]),
        _interpolation(config["interpolation"]),
    )


def _torchvisions(architecture: Architecture, network: nn.Module, sha256: str | None) -> InputSpec:
    transforms = _weights_of(architecture, sha256).value.transforms()
    # A vision transformer takes images of one size, which weights of another size do not change.
    size = getattr(network, "image_size", transforms.crop_size[0])
    return InputSpec(
        size, tuple(transforms.mean), tuple(transforms.std), _interpolation(transforms.interpolation.value)
    )


def _weights_of(architecture: Architecture, sha256: str | None) -> Any:
    """Return the entry of torchvision's that says most about an architecture's weights."""
    known: Any = torchvision.models.get_model_weights(architecture.name.removeprefix("torchvision:"))
    named = architecture.kwargs.get("weights")
    if isinstance(named, Enum):
        return named
    if isinstance(named, str) and (entry := known.__members__.get(named.rpartition(".")[2])) is not None:
        return entry
    for entry in known:
        beginning = entry.value.url.removesuffix(".pth").rpartition("-")[2]
        if sha256 is not None and len(beginning) >= 8 and sha256.startswith(beginning):
            return entry
    return known.DEFAULT


def _interpolation(name: str) -> str:
    return name if name in INTERPOLATIONS else "bicubic"
