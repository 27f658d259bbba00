"""The network that a file has the weights of, and the same network for images of another size."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from solo_invariance.backbones.architecture import Architecture
from solo_invariance.backbones.files.checkpoint_tensors import shapes_of


def network_in_file(
    architecture: Architecture, content: Mapping[str, Any], sha256: str
) -> tuple[Architecture, nn.Module]:
    """Return the architecture whose weights a file has, and its network, still without them.

    It differs from what was asked for in what the file alone tells: the size of its images, by its positions, say.

    Args:
        architecture: That was asked for.
        content: What the file holds.
        sha256: Of the file.
    """
    network = architecture.without_weights().build()
    in_file = architecture.as_in_file(network, shapes_of(content), sha256)
    return in_file, network if in_file == architecture else in_file.without_weights().build()


def resized(
    architecture: Architecture, network: nn.Module, size: int
) -> tuple[Architecture, nn.Module, tuple[str, ...]]:
    """Return an architecture and a network for images of a size, and what is to be said of that.

    Args:
        architecture: By which the network was built.
        network: Returned as it is where it takes such images; else its positions are interpolated, as its own package
            does it.
        size: The side of the images, in pixels.

    Raises:
        UserError: The package does not know how.
    """
    sized = architecture.of_size(network, size)
    if sized == architecture:
        return architecture, network, ()
    trained = architecture.fixed_size(network)
    remark = f"its positions, of images of {trained} pixels, are interpolated to {size} pixels, as its package does it"
    return sized, sized.interpolated(network), (remark,)
