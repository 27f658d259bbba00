"""What a source of networks is: everything that differs between the packages that they come from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from solo_invariance.backbones.input_spec import InputSpec

Builder = Callable[..., nn.Module]
"""Returns a network without a classifier, which maps images (N, 3, S, S) to features (N, D); takes keywords alone."""


class Source(ABC):
    """Where the networks come from whose names begin alike."""

    @abstractmethod
    def builder(self, name: str, method: str | None = None) -> Builder:
        """Return what builds a network, without fetching or building anything.

        Args:
            name: Of the network, without the prefix of the source.
            method: The self-supervised method; some of solo-learn's builders differ by it.

        Raises:
            UserError: There is none of that name.
        """

    def weights(self, pretrained: bool) -> dict[str, Any]:
        """Return the arguments by which a builder fetches weights, or does not; none where it never does."""
        return {}

    def input_of(self, name: str, kwargs: Mapping[str, Any], network: nn.Module, sha256: str | None) -> InputSpec:
        """Return the input that a network is trained on, as its package has it; ImageNet's usual one where it does not.

        Args:
            name: Of the network, without the prefix of the source.
            kwargs: By which it was built.
            network: Its own.
            sha256: Of the file that the weights are from, if any.
        """
        return InputSpec()
