"""Our backbones in solo-learn's registry."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from solo_invariance.backbones.files.checkpoint import read_checkpoint
from solo_invariance.backbones.files.fused_checkpoint import fused_from_content
from solo_invariance.backbones.fused import FusedNetwork
from solo_invariance.backbones.resnet import WideResNet
from solo_invariance.backbones.solo_learn import METHODS_MODULE
from solo_invariance.errors import UserError
from solo_invariance.hosts.refusals import leave_solo_learn

# Depth and width.
_RESNETS = {
    **{"resnet10": (10, 1), "resnet10w025": (10, 0.25), "resnet10w075": (10, 0.75)},
    **{"resnet18w3": (18, 3), "resnet50w3": (50, 3)},
}


def register_backbones() -> None:
    """Add our backbones to solo-learn's registry, if solo-learn is running.

    They are ``fusion``, the small ``resnet10`` and ``resnet10w025``, and the controls of three times a width,
    ``resnet10w075``, ``resnet18w3`` and ``resnet50w3``. Called when Hydra starts.
    """
    host = sys.modules.get(METHODS_MODULE)
    if host is None:
        return
    host.BaseMethod._BACKBONES.setdefault("fusion", build_fusion)
    for name, (depth, width) in _RESNETS.items():
        host.BaseMethod._BACKBONES.setdefault(name, partial(build_resnet, depth=depth, default_width=width))


def build_resnet(method: str | None = None, *, depth: int, default_width: float, **kwargs: Any) -> nn.Module:
    """Build one of our ResNets the way solo-learn calls its builders."""
    return HostResNet(depth, **{"width": default_width, **kwargs})


class HostResNet(WideResNet):
    """A ResNet that keeps its width when solo-learn gives it a stem for CIFAR, which is one of 64 planes."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "conv1" and hasattr(self, "bn1") and value.out_channels != self.bn1.num_features:
            planes, bias = self.bn1.num_features, value.bias is not None
            value = nn.Conv2d(3, planes, value.kernel_size, value.stride, value.padding, bias=bias)
        super().__setattr__(name, value)


def build_fusion(
    method: str | None = None,
    *,
    checkpoint: str | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
) -> nn.Module:
    """Build a fused backbone from its checkpoint, for images that are normalised as solo-learn does.

    Args:
        method: Ignored; solo-learn passes it to every builder.
        checkpoint: The fused checkpoint (``backbone.kwargs.checkpoint``).
        mean: Channel means that solo-learn's loader normalises with; those of the first member by default, which is
            right whenever the linear evaluation uses the dataset of the pre-training.
        std: Channel standard deviations that solo-learn's loader normalises with; the first member's by default.

    Raises:
        UserError: No checkpoint, or one that is not fused.
    """
    try:
        fused = _fused(checkpoint)
    except UserError as error:
        leave_solo_learn(error)
        raise
    fused.expect_normalized(mean, std)
    fused.register_load_state_dict_post_hook(_refuse_foreign_weights)
    return fused


def _fused(checkpoint: str | None) -> FusedNetwork:
    if checkpoint is None:
        raise UserError(
            "backbone.name=fusion needs backbone.kwargs.checkpoint=FUSED.ckpt, as `solo-invariance fuse` writes"
        )
    path = Path(checkpoint)
    return fused_from_content(read_checkpoint(path), path)


def _refuse_foreign_weights(module: nn.Module, keys: Any) -> None:
    # solo-learn loads with strict=False: a wrong pretrained_feature_extractor would load nothing and say nothing.
    if keys.missing_keys:
        error = UserError(
            f"pretrained_feature_extractor does not hold the fused backbone of backbone.kwargs.checkpoint: "
            f"{len(keys.missing_keys)} weights are missing, such as {keys.missing_keys[0]}; give both the same file"
        )
        leave_solo_learn(error)
        raise error
