"""Sources of networks: by its prefix, a name of a backbone says which package builds it, and on what input."""

from solo_invariance.backbones.sources.host import Host
from solo_invariance.backbones.sources.own import OWN_BUILDERS, Own
from solo_invariance.backbones.sources.source import Builder, Source
from solo_invariance.backbones.sources.timm import Timm
from solo_invariance.backbones.sources.torchvision import Torchvision
from solo_invariance.errors import UserError

__all__ = ["OWN_BUILDERS", "SOURCES", "Builder", "Source", "source_of"]

SOURCES: dict[str, Source] = {"timm": Timm(), "torchvision": Torchvision()}
"""The sources by the prefixes of their names; those of this package and of solo-learn have none."""

_OWN, _HOST = Own(), Host()


def source_of(name: str) -> tuple[Source, str]:
    """Return where a network comes from, and what it is called there.

    Args:
        name: ``resnet18``, ``timm:NAME``, ...

    Raises:
        UserError: Its prefix is that of no source.
    """
    prefix, colon, rest = name.partition(":")
    if not colon:
        return (_OWN if name in OWN_BUILDERS else _HOST), name
    if prefix not in SOURCES:
        *others, last = (f"{one}:" for one in SOURCES)
        raise UserError(f"backbone {name!r}: unknown source {prefix!r}; choose {', '.join(others)} or {last}")
    return SOURCES[prefix], rest
