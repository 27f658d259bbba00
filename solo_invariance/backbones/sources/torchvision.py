"""torchvision's networks, ``torchvision:NAME``."""

from collections.abc import Mapping
from enum import Enum
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from solo_invariance.backbones.input_spec import InputSpec, known_interpolation
from solo_invariance.backbones.sources.online import require_reachable
from solo_invariance.backbones.sources.positions import size_in_file
from solo_invariance.backbones.sources.source import Builder, Source
from solo_invariance.errors import UserError

HIDDEN = "hidden_layers"
"""The argument that keeps the layers of a classifier that are before its last one.

It is False where it is not given, as in descriptions of fused backbones that were written before there was one.
"""

_GOOGLES = ("googlenet", "inception_v3")
"""Networks that torchvision builds with ``transform_input=True`` where it loads its weights: these are Google's."""


class Torchvision(Source):
    """The networks that ``torchvision.models.get_model`` builds, without the last layer of their classifiers.

    Features are what this layer is given: 4096 of VGG's and AlexNet's second hidden layer, MobileNetV3's after its
    first, ConvNeXt's after its norm. A file without these hidden layers, as self-supervised training leaves it, gives
    the pooled maps before them; so does the argument ``hidden_layers=False``.
    """

    def builder(self, name: str, method: str | None = None) -> Builder:
        """Return torchvision's builder of a name.

        Raises:
            UserError: torchvision has no such model.
        """
        if name not in torchvision.models.list_models(module=torchvision.models):
            raise UserError(
                f"backbone 'torchvision:{name}': torchvision has no such model; torchvision.models.list_models() "
                f"lists them"
            )

        def build(**kwargs: Any) -> nn.Module:
            _require_weights_at_hand(name, kwargs.get("weights"))
            hidden = kwargs.pop(HIDDEN, False)
            return without_classifier(torchvision.models.get_model(name, **kwargs), hidden)

        return build

    def weights(self, name: str, pretrained: bool) -> dict[str, Any]:
        """Return torchvision's own argument, and that by which a classifier's hidden layers are kept."""
        return {"weights": "DEFAULT" if pretrained else None, HIDDEN: True}

    def input_of(self, name: str, kwargs: Mapping[str, Any], network: nn.Module, sha256: str | None) -> InputSpec:
        """Return torchvision's input: of the weights that ``kwargs`` name, those of the file, or its default ones.

        What torchvision's evaluation cuts off around the crop is left out: transforms need what lies there.

        Args:
            name: Of the network, without the prefix of the source.
            kwargs: By which it was built.
            network: Its own.
            sha256: Of the file that the weights are from, if any: torchvision's files have its beginning in their
                names.
        """
        transforms = _weights_of(name, kwargs.get("weights"), sha256).value.transforms()
        # A vision transformer takes images of one size, which weights of another size do not change.
        fixed = self.size_argument(kwargs, network)
        size = transforms.crop_size[0] if fixed is None else fixed[1]
        return InputSpec(
            size, tuple(transforms.mean), tuple(transforms.std), known_interpolation(transforms.interpolation.value)
        )

    def without_weights(self, name: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that fetch no weights, but build what torchvision builds where it fetches them."""
        plain = super().without_weights(name, kwargs)
        return plain if kwargs.get("weights") is None else _as_published(name, plain)

    def as_in_file(
        self,
        name: str,
        kwargs: Mapping[str, Any],
        network: nn.Module,
        shapes: Mapping[str, tuple[int, ...]],
        sha256: str,
    ) -> dict[str, Any]:
        """Return them as torchvision's own file wants them: of its size, without hidden layers that are not there."""
        found = dict(kwargs)
        own = {name: tuple(value.shape) for name, value in network.named_parameters()}
        if isinstance(network, VisionTransformer):
            size = size_in_file(network.image_size, network.patch_size, own, shapes)
            found |= {"image_size": size} if size != network.image_size else {}
        hidden = [name for name in own if name.startswith("classifier.")]
        if hidden and not any(_has(shapes, name, own[name]) for name in hidden):
            found[HIDDEN] = False
        return _as_published(name, found) if _entry_of_file(name, sha256) is not None else found

    def size_argument(self, kwargs: Mapping[str, Any], network: nn.Module) -> tuple[str, int] | None:
        """Return that of a vision transformer, which alone takes images of one size."""
        if not isinstance(network, VisionTransformer):
            return None
        return "image_size", int(kwargs.get("image_size") or network.image_size)

    def interpolated(self, network: nn.Module, other: nn.Module) -> Mapping[str, Tensor]:
        """Return them as torchvision itself fits a vision transformer's to another size."""
        state = network.state_dict()
        if not isinstance(other, VisionTransformer):
            return state
        return interpolate_embeddings(other.image_size, other.patch_size, state)


def _require_weights_at_hand(name: str, named: Any) -> None:
    """Raise UserError where weights that are to be fetched are not kept here, and who has them cannot be reached."""
    if named is None:
        return
    url = _weights_of(name, named, None).value.url
    if not (Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]).is_file():
        require_reachable(url, f"backbone torchvision:{name}: its weights")


def without_classifier(network: nn.Module, hidden: bool) -> nn.Module:
    """Return a network whose output is what its last layer of weights was given, or the first of its classifier's.

    Args:
        network: With a classifier.
        hidden: Whether the classifier's layers before its last one are kept.
    """
    last = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    if hidden:
        holder, _, name = last.rpartition(".")
        setattr(network.get_submodule(holder), name, nn.Identity())
    else:
        name = last.partition(".")[0]
        layers = getattr(network, name)
        before = list(takewhile(lambda layer: not any(True for _ in layer.parameters()), layers.children()))
        setattr(network, name, nn.Sequential(*before, nn.Flatten(1)))
    # Classifiers beside the last, which training alone uses; torchvision takes them off likewise.
    for name, off in {"aux1": None, "aux2": None, "AuxLogits": None, "aux_logits": False}.items():
        if hasattr(network, name):
            setattr(network, name, off)
    return network


def _has(shapes: Mapping[str, tuple[int, ...]], name: str, shape: tuple[int, ...]) -> bool:
    return any(found == shape and f".{own}".endswith(f".{name}") for own, found in shapes.items())


def _as_published(name: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {**({"transform_input": True} if name in _GOOGLES else {}), **kwargs}


def _weights_of(name: str, named: Any, sha256: str | None) -> Any:
    """Return the entry of torchvision's that says most about a network's weights."""
    known: Any = torchvision.models.get_model_weights(name)
    if isinstance(named, Enum):
        return named
    if isinstance(named, str) and (entry := known.__members__.get(named.rpartition(".")[2])) is not None:
        return entry
    return _entry_of_file(name, sha256) or known.DEFAULT


def _entry_of_file(name: str, sha256: str | None) -> Any:
    """Return the entry of torchvision's whose file has a hash; None where it has none."""
    for entry in torchvision.models.get_model_weights(name):
        beginning = entry.value.url.removesuffix(".pth").rpartition("-")[2]
        if sha256 is not None and len(beginning) >= 8 and sha256.startswith(beginning):
            return entry
    return None
