"""What a source of networks is: everything that differs between the packages that they come from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from solo_invariance.backbones.input_spec import InputSpec

Builder = Callable[..., nn.Module]
"""Returns a network without a classifier, which maps images (N, 3, S, S) to features (N, D); takes keywords alone."""


_NO_WEIGHTS = {"pretrained": False, "weights": None}
_FILES = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "weights_backbone")


@dataclass(frozen=True)
class PublishedWeights:
    """The weights that a name stands for, in a folder that is published with its configuration.

    Args:
        path: The file of the weights.
        sha256: Of its content; of several files, of their hashes.
        revision: The commit that a hub has it by, where it is known.
        state: The weights by the network's own names, where the source has read them.
        kwargs: Of the builder, as the weights want them.
        remarks: Sentences on what was decided that could have been decided otherwise.
    """

    path: Path
    sha256: str
    revision: str | None
    kwargs: Mapping[str, Any]
    state: Mapping[str, Tensor] | None = None
    remarks: tuple[str, ...] = ()


class Source(ABC):
    """Where the networks come from whose names begin alike."""

    runs_code = False
    """Whether a name stands for code: then there is no file whose hash tells the weights."""

    @abstractmethod
    def builder(self, name: str, method: str | None = None) -> Builder:
        """Return what builds a network, without fetching or building anything.

        Args:
            name: Of the network, without the prefix of the source.
            method: The self-supervised method; some of solo-learn's builders differ by it.

        Raises:
            UserError: There is none of that name.
        """

    def weights(self, name: str, pretrained: bool) -> dict[str, Any]:
        """Return the arguments by which a builder fetches weights, or does not; none where it never does."""
        return {}

    def without_weights(self, name: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments by which a builder builds the same network, but fetches no weights: a file has them.

        Args:
            name: Of the network, without the prefix of the source.
            kwargs: By which it would fetch them.
        """
        return {key: _NO_WEIGHTS.get(key, value) for key, value in kwargs.items() if key not in _FILES}

    def settled(self, name: str, kwargs: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Return the name, without its prefix, and arguments by which a network is built without a folder or a hub.

        Raises:
            UserError: There is no such folder, or the hub has no such model or cannot be reached.
        """
        return name, kwargs

    def published(self, name: str, kwargs: Mapping[str, Any]) -> PublishedWeights | None:
        """Return the weights of a name of a folder's or a hub's; None where the builder loads them, or has none.

        Args:
            name: As it was given, without the prefix of the source.
            kwargs: Of the builder, ``settled``.

        Raises:
            UserError: They are not there, or not all of them.
        """
        return None

    def asks_for(self, name: str, kwargs: Mapping[str, Any]) -> str | None:
        """Return what building would do beyond calling a library that is installed: what a file may not ask for.

        None where it does no more than that.
        """
        return None

    def require_trust(self, name: str, trust: bool) -> None:
        """Raise UserError where somebody who names a network himself has to say besides that its code may be run."""
        return

    def untrained(self, build: Callable[[], nn.Module]) -> nn.Module:
        """Return a network whose weights are freshly drawn.

        Args:
            build: Builds it without fetching weights.

        Raises:
            UserError: It always comes with weights, and not all of its layers can draw new ones.
        """
        return build()

    def remarks_on(self, name: str, network: nn.Module) -> tuple[str, ...]:
        """Return what is to be said of the features that a network gives; nothing where it can be no others.

        Args:
            name: Of the network, without the prefix of the source.
            network: Its own.
        """
        return ()

    def input_of(self, name: str, kwargs: Mapping[str, Any], network: nn.Module, sha256: str | None) -> InputSpec:
        """Return the input that a network is trained on, as its package has it; ImageNet's usual one where it does not.

        Args:
            name: Of the network, without the prefix of the source.
            kwargs: By which it was built.
            network: Its own.
            sha256: Of the file that the weights are from, if any.
        """
        return InputSpec()

    def as_in_file(
        self,
        name: str,
        kwargs: Mapping[str, Any],
        network: nn.Module,
        shapes: Mapping[str, tuple[int, ...]],
        sha256: str,
    ) -> dict[str, Any]:
        """Return the arguments by which that network is built whose weights a file has, as far as the file tells it.

        Args:
            name: Of the network, without the prefix of the source.
            kwargs: That were asked for.
            network: Which these build.
            shapes: Of the file's tensors, by their names in it.
            sha256: Of the file.
        """
        return dict(kwargs)

    def size_argument(self, kwargs: Mapping[str, Any], network: nn.Module) -> tuple[str, int] | None:
        """Return the argument that fixes the side of a network's images, and its value in pixels.

        Args:
            kwargs: By which it was built.
            network: Its own.

        Returns:
            None where the network takes images of other sizes, too.
        """
        return None

    def interpolated(self, network: nn.Module, other: nn.Module) -> Mapping[str, Tensor]:
        """Return a network's weights for another one, which differs in the size of its images alone.

        Args:
            network: Whose weights.
            other: What they are to fit: positions are interpolated as the network's package does it.
        """
        return network.state_dict()
