"""The networks that solo-learn builds, which have names without a prefix."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from solo_invariance.backbones.input_spec import InputSpec
from solo_invariance.backbones.solo_learn import host_builders
from solo_invariance.backbones.sources.own import OWN_BUILDERS
from solo_invariance.backbones.sources.source import Builder, Source
from solo_invariance.backbones.sources.timm import input_of_timms
from solo_invariance.errors import UserError


class Host(Source):
    """solo-learn's networks, where solo-learn is there."""

    def builder(self, name: str, method: str | None = None) -> Builder:
        """Return solo-learn's builder of a name.

        Raises:
            UserError: There is none, or no solo-learn; the message lists what there is.
        """
        builders = host_builders()
        if name in builders:
            return lambda **kwargs: builders[name](method=method, **kwargs)
        known = sorted({*OWN_BUILDERS, *builders})
        hint = (
            "" if builders else "; solo-learn was not found (set SOLO_LEARN_DIR to a checkout for its other backbones)"
        )
        raise UserError(f"unknown backbone {name!r}; choose from {', '.join(known)}, timm:NAME, torchvision:NAME{hint}")

    def input_of(self, name: str, kwargs: Mapping[str, Any], network: nn.Module, sha256: str | None) -> InputSpec:
        """Return timm's input, since some of solo-learn's networks are timm's."""
        return input_of_timms(network)
