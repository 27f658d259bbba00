"""Sources of networks: by its prefix, a name of a backbone says which package builds it, and on what input."""

from solo_invariance.backbones.sources.code import DescribedNetwork
from solo_invariance.backbones.sources.host import Host
from solo_invariance.backbones.sources.own import OWN_BUILDERS, Own
from solo_invariance.backbones.sources.plugins import Plugins, is_plugin
from solo_invariance.backbones.sources.python import Python
from solo_invariance.backbones.sources.source import Builder, PublishedWeights, Source
from solo_invariance.backbones.sources.timm import Timm
from solo_invariance.backbones.sources.torch_hub import TorchHub
from solo_invariance.backbones.sources.torchvision import Torchvision
from solo_invariance.backbones.sources.transformers import Transformers
from solo_invariance.errors import UserError

__all__ = ["OWN_BUILDERS", "SOURCES", "Builder", "DescribedNetwork", "PublishedWeights", "Source", "source_of"]

SOURCES: dict[str, Source] = {
    "timm": Timm(),
    "torchvision": Torchvision(),
    "hf": Transformers(),
    "torch.hub": TorchHub(),
    "python": Python(),
}
"""The sources by the prefixes of their names; those of this package, of solo-learn and of plugins have none."""

_OWN, _PLUGINS, _HOST = Own(), Plugins(), Host()


def source_of(name: str) -> tuple[Source, str]:
    """Return where a network comes from, and what it is called there.

    Args:
        name: ``resnet18``, ``timm:NAME``, ...

    Raises:
        UserError: Its prefix is that of no source.
    """
    prefix, colon, rest = name.partition(":")
    if not colon:
        return (_OWN if name in OWN_BUILDERS else _PLUGINS if is_plugin(name) else _HOST), name
    if prefix not in SOURCES:
        *others, last = (f"{one}:" for one in SOURCES)
        raise UserError(f"backbone {name!r}: unknown source {prefix!r}; choose {', '.join(others)} or {last}")
    return SOURCES[prefix], rest
