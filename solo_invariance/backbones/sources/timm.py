"""timm's networks, ``timm:NAME``."""

from collections.abc import Mapping
from typing import Any

import timm
import timm.data
from torch import nn

from solo_invariance.backbones.input_spec import InputSpec, known_interpolation
from solo_invariance.backbones.sources.source import Builder, Source
from solo_invariance.errors import UserError


class Timm(Source):
    """The networks that ``timm.create_model`` builds."""

    def builder(self, name: str, method: str | None = None) -> Builder:
        """Return timm's builder of a name, which may have a tag of weights, ``resnet18.a1_in1k``.

        Raises:
            UserError: timm has no such model.
        """
        if not timm.is_model(name.split(".")[0]):
            raise UserError(f"backbone 'timm:{name}': timm has no such model; timm.list_models() lists them")
        return lambda **kwargs: timm.create_model(name, **{"num_classes": 0, **kwargs})

    def weights(self, pretrained: bool) -> dict[str, Any]:
        """Return timm's own argument."""
        return {"pretrained": pretrained}

    def input_of(self, name: str, kwargs: Mapping[str, Any], network: nn.Module, sha256: str | None) -> InputSpec:
        """Return timm's input, which it has by the name, with its tag."""
        return input_of_timms(network)


def input_of_timms(network: nn.Module) -> InputSpec:
    """Return the input of a network that timm built: size, normalisation and interpolation, as timm has them.

    What timm's evaluation cuts off around the crop is left out: transforms need what lies there.

    Args:
        network: ImageNet's usual input for one that timm did not build.
    """
    if not hasattr(network, "pretrained_cfg"):
        return InputSpec()
    config = timm.data.resolve_data_config(model=network)
    return InputSpec(
        config["input_size"][-1],
        tuple(config["mean"]),
        tuple(config["std"]),
        known_interpolation(config["interpolation"]),
    )
