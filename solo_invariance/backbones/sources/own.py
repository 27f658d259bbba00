"""The networks that need no other package."""

from solo_invariance.backbones.resnet import WideResNet
from solo_invariance.backbones.sources.source import Builder, Source

OWN_BUILDERS: dict[str, Builder] = {
    "resnet10": lambda **kwargs: WideResNet(10, **kwargs),
    "resnet10w025": lambda **kwargs: WideResNet(10, **{"width": 0.25, **kwargs}),
    "resnet10w075": lambda **kwargs: WideResNet(10, **{"width": 0.75, **kwargs}),
    "resnet18": lambda **kwargs: WideResNet(18, **kwargs),
    "resnet50": lambda **kwargs: WideResNet(50, **kwargs),
    "resnet18w3": lambda **kwargs: WideResNet(18, **{"width": 3, **kwargs}),
    "resnet50w3": lambda **kwargs: WideResNet(50, **{"width": 3, **kwargs}),
}
"""Architectures that need no other package; their weights have torchvision's names.

Those that end in ``w3`` have three times the width: the control for a fusion of three (Ericsson et al. 2022). The one
in ``w025`` has a quarter of it, 128 features: small enough to pre-train on a CPU; the one in ``w075`` three times that.
"""


class Own(Source):
    """This package's own networks."""

    def builder(self, name: str, method: str | None = None) -> Builder:
        """Return the builder of one of ``OWN_BUILDERS``."""
        return OWN_BUILDERS[name]
