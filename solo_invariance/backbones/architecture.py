"""From an architecture's name to a network without a classifier."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import timm
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import ResNet

from solo_invariance.backbones.resnet import SOLO_LEARNS_PADDING, WideResNet, use_small_stem
from solo_invariance.device import device_of
from solo_invariance.errors import UserError, reason_of

Builder = Callable[..., nn.Module]

_NO_WEIGHTS = {"pretrained": False, "weights": None}
_FILES = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "weights_backbone")
OWN_BUILDERS: dict[str, Builder] = {
    "resnet10": lambda **kwargs: WideResNet(10, **kwargs),
    "resnet10w025": lambda **kwargs: WideResNet(10, **{"width": 0.25, **kwargs}),
    "resnet18": lambda **kwargs: WideResNet(18, **kwargs),
    "resnet50": lambda **kwargs: WideResNet(50, **kwargs),
    "resnet18w3": lambda **kwargs: WideResNet(18, **{"width": 3, **kwargs}),
    "resnet50w3": lambda **kwargs: WideResNet(50, **{"width": 3, **kwargs}),
}
"""Architectures that need no other package; their weights have torchvision's names.

Those that end in ``w3`` have three times the width: the control for a fusion of three (Ericsson et al. 2022). The one
in ``w025`` has a quarter of it, 128 features: small enough to pre-train on a CPU.
"""


@dataclass(frozen=True)
class Architecture:
    """What is needed to build a network again: plain data, stored with fused checkpoints.

    Args:
        name: A name of solo-learn's (``resnet18``, ``vit_tiny``, ...), ``resnet10``, ``timm:NAME`` or
            ``torchvision:NAME``.
        kwargs: The builder's further arguments.
        small_stem: A ResNet with a stem for CIFAR: solo-learn's, or one of another padding, which ``kwargs`` then have
            as ``stem_padding``.
        method: The self-supervised method; some of solo-learn's builders differ by it.
    """

    name: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    small_stem: bool = False
    method: str | None = None

    def build(self) -> nn.Module:
        """Return the network, randomly initialised unless ``kwargs`` say otherwise; it maps images to (N, D).

        Raises:
            UserError: The name is unknown, or the builder refuses the arguments.
        """
        kwargs = dict(self.kwargs)
        padding = kwargs.pop("stem_padding", SOLO_LEARNS_PADDING) if self.small_stem else SOLO_LEARNS_PADDING
        try:
            network = self._builder()(**kwargs)
        except (UserError, OSError):  # a download that fails is for the caller to explain
            raise
        except Exception as error:  # a stranger's arguments can make a builder raise anything
            reason = reason_of(error)
            if unexpected := re.search("unexpected keyword argument ('.*')", reason):
                reason = f"it takes no {unexpected.group(1)}"
            raise UserError(f"backbone {self.name!r} cannot be built with {dict(self.kwargs)}: {reason}") from error
        if self.small_stem:
            if not isinstance(network, ResNet):
                raise UserError(f"backbone {self.name!r} is no ResNet and has no stem for small images")
            if padding not in (1, 2):
                raise UserError(f"backbone.kwargs.stem_padding={padding}: expected 1 or 2")
            use_small_stem(network, padding)
        return network

    def without_weights(self) -> "Architecture":
        """Return the same without the arguments by which a builder would fetch weights: a checkpoint has them."""
        return replace(self, kwargs={k: _NO_WEIGHTS.get(k, v) for k, v in self.kwargs.items() if k not in _FILES})

    def _builder(self) -> Builder:
        source, _, name = self.name.rpartition(":")
        if source == "timm":
            return _timm_builder(name)
        if source == "torchvision":
            return _torchvision_builder(name)
        if source:
            raise UserError(f"backbone {self.name!r}: unknown source {source!r}; choose timm: or torchvision:")
        if name in OWN_BUILDERS:
            return OWN_BUILDERS[name]
        return _host_builder(name, self.method)


def num_features_of(network: nn.Module, crop_size: int) -> int:
    """Return the width of a network's features, by looking at its output for one image."""
    device = device_of(network)
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            features = network(torch.zeros(1, 3, crop_size, crop_size, device=device))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = reason_of(error)
        raise UserError(
            f"the backbone takes no images of {crop_size} pixels ({reason}); set backbone.crop_size"
        ) from error
    network.train(training)
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise UserError(f"the backbone returns {getattr(features, 'shape', type(features))}, expected features (N, D)")
    return int(features.shape[1])


def _timm_builder(name: str) -> Builder:
    if not timm.is_model(name.split(".")[0]):
        raise UserError(f"backbone 'timm:{name}': timm has no such model; timm.list_models() lists them")
    return lambda **kwargs: timm.create_model(name, **{"num_classes": 0, **kwargs})


def _torchvision_builder(name: str) -> Builder:
    if name not in torchvision.models.list_models(module=torchvision.models):
        raise UserError(
            f"backbone 'torchvision:{name}': torchvision has no such model; torchvision.models.list_models() lists them"
        )

    def build(**kwargs: Any) -> nn.Module:
        network = torchvision.models.get_model(name, **kwargs)
        for head in ("fc", "classifier", "heads", "head"):
            if hasattr(network, head):
                setattr(network, head, nn.Identity())
                return network
        raise UserError(f"torchvision:{name} has no classifier that could be taken off")

    return build


def _host_builder(name: str, method: str | None) -> Builder:
    from solo_invariance.backbones.solo_learn import host_builders

    builders = host_builders()
    if name in builders:
        return lambda **kwargs: builders[name](method=method, **kwargs)
    known = sorted({*OWN_BUILDERS, *builders})
    hint = "" if builders else "; solo-learn was not found (set SOLO_LEARN_DIR to a checkout for its other backbones)"
    raise UserError(f"unknown backbone {name!r}; choose from {', '.join(known)}, timm:NAME, torchvision:NAME{hint}")
