"""torchvision's networks, ``torchvision:NAME``."""

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from solo_invariance.backbones.input_spec import InputSpec, known_interpolation
from solo_invariance.backbones.sources.online import require_reachable
from solo_invariance.backbones.sources.source import Builder, Source
from solo_invariance.errors import UserError


class Torchvision(Source):
    """The networks that ``torchvision.models.get_model`` builds, without their classifiers."""

    def builder(self, name: str, method: str | None = None) -> Builder:
        """Return torchvision's builder of a name.

        Raises:
            UserError: torchvision has no such model; or, of the builder, it has no classifier that could be taken off.
        """
        if name not in torchvision.models.list_models(module=torchvision.models):
            raise UserError(
                f"backbone 'torchvision:{name}': torchvision has no such model; torchvision.models.list_models() "
                f"lists them"
            )

        def build(**kwargs: Any) -> nn.Module:
            _require_weights_at_hand(name, kwargs.get("weights"))
            network = torchvision.models.get_model(name, **kwargs)
            for head in ("fc", "classifier", "heads", "head"):
                if hasattr(network, head):
                    setattr(network, head, nn.Identity())
                    return network
            raise UserError(f"torchvision:{name} has no classifier that could be taken off")

        return build

    def weights(self, name: str, pretrained: bool) -> dict[str, Any]:
        """Return torchvision's own argument."""
        return {"weights": "DEFAULT" if pretrained else None}

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
        size = getattr(network, "image_size", transforms.crop_size[0])
        return InputSpec(
            size, tuple(transforms.mean), tuple(transforms.std), known_interpolation(transforms.interpolation.value)
        )


def _require_weights_at_hand(name: str, named: Any) -> None:
    """Raise UserError where weights that are to be fetched are not kept here, and who has them cannot be reached."""
    if named is None:
        return
    url = _weights_of(name, named, None).value.url
    if not (Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]).is_file():
        require_reachable(url, f"backbone torchvision:{name}: its weights")


def _weights_of(name: str, named: Any, sha256: str | None) -> Any:
    """Return the entry of torchvision's that says most about a network's weights."""
    known: Any = torchvision.models.get_model_weights(name)
    if isinstance(named, Enum):
        return named
    if isinstance(named, str) and (entry := known.__members__.get(named.rpartition(".")[2])) is not None:
        return entry
    for entry in known:
        beginning = entry.value.url.removesuffix(".pth").rpartition("-")[2]
        if sha256 is not None and len(beginning) >= 8 and sha256.startswith(beginning):
            return entry
    return known.DEFAULT
