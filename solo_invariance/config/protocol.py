"""The two protocols by name."""

from enum import Enum


class ProtocolName(Enum):
    """``paper`` follows the paper to the letter, quirks included; ``clean`` repairs the quirks."""

    paper = "paper"
    clean = "clean"
