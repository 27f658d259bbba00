"""Features of a network's inner layers, of several in one pass."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from solo_invariance.backbones.tokens import Pooling, TokenKinds
from solo_invariance.errors import UserError


class LayerFeatures(nn.Module):
    """A network that returns some of its layers, each averaged over positions, in place of its output.

    Args:
        network: Any network.
        layers: The layers' names as in ``network.named_modules()``. Their outputs are (N, C, H, W), (N, H, W, C),
            (N, T, C) or (N, C), of square images. A single name, in no list, gives features without a name of their
            own, as an output does.
        pooling: How tokens (N, T, C) become (N, C); by default, the mean of them all.

    ``widths`` is the width C of each layer's features by its name, in the order of ``layers``; only a pass tells it,
    and before the first it is empty. ``names`` is what ``layers`` was.

    Raises:
        UserError: There is no such layer (the message lists the first level), none is named, or one is named twice.
    """

    def __init__(self, network: nn.Module, layers: str | Sequence[str], pooling: Pooling | None = None) -> None:
        super().__init__()
        self.network = network
        self.pooling = pooling or Pooling()
        self.names = layers if isinstance(layers, str) else tuple(layers)
        self.widths: dict[str, int] = {}
        self._module_of = {"": layers} if isinstance(layers, str) else {layer: layer for layer in layers}
        if not layers or (not isinstance(layers, str) and len(self._module_of) < len(layers)):
            raise UserError(f"backbone.layer={layers!r}: expected a layer, or a list of layers, each of them once")
        for layer in self._module_of.values():
            self._module(layer)

    def forward(self, images: Tensor) -> Tensor:
        """Return the layers' features side by side, (N, sum of C).

        Raises:
            UserError: A layer is not called exactly once in the pass, or its output is of none of the shapes above.
        """
        kinds = TokenKinds.of(self.network)
        taps = {name: _Tap(layer, self.pooling, kinds) for name, layer in self._module_of.items()}
        # The hooks are there for this pass only: nothing of it outlives it, and the network stays as it was.
        with ExitStack() as hooks:
            for tap in taps.values():
                hooks.enter_context(self._module(tap.layer).register_forward_hook(tap))
            self.network(images)
        features = {name: tap.features(images.shape[0]) for name, tap in taps.items()}
        self.widths = {name: tensor.shape[1] for name, tensor in features.items()}
        return torch.cat(list(features.values()), dim=1)

    def _module(self, layer: str) -> nn.Module:
        try:
            return self.network.get_submodule(layer)
        except AttributeError:
            names = ", ".join(name for name, _ in self.network.named_children())
            raise UserError(f"backbone.layer={layer}: no such layer; the network's first level is {names}") from None


class _Tap:
    """Takes what one layer returns in one pass."""

    def __init__(self, layer: str, pooling: Pooling, kinds: TokenKinds) -> None:
        self.layer = layer
        self._pooling = pooling
        self._kinds = kinds
        self._seen: list[Tensor] = []

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        # Averaged at once: layers that follow may overwrite the output in place, and whole maps need memory.
        self._seen.append(self._pooled(output))

    def features(self, num_images: int) -> Tensor:
        """Return the layer's features (N, C)."""
        if len(self._seen) != 1:
            times = f"called {len(self._seen)} times" if self._seen else "not called"
            raise UserError(
                f"backbone.layer={self.layer}: {times} in a pass, expected once; choose the layer around it or after it"
            )
        features = self._seen[0]
        if features.shape[0] != num_images:
            raise UserError(
                f"backbone.layer={self.layer}: its output has {features.shape[0]} rows for {num_images} images; choose "
                f"the layer around it"
            )
        return features

    def _pooled(self, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise UserError(f"backbone.layer={self.layer}: its output is a {type(output).__name__}, expected a tensor")
        if output.ndim == 3:
            return self._pooling.of(output, self._kinds, f"layer {self.layer}")
        if self._pooling.pool is not None:
            raise UserError(
                f"backbone.pool={self._pooling.pool}: layer {self.layer} has no tokens (N, T, C), its output is "
                f"{tuple(output.shape)}; leave backbone.pool out"
            )
        if output.ndim == 2:
            return output.clone()
        positions = _positions(output.shape)
        if positions is None:
            raise UserError(
                f"backbone.layer={self.layer}: its output {tuple(output.shape)} does not tell positions from channels; "
                f"another backbone.crop_size may"
            )
        return output.mean(dim=positions)


def _positions(shape: Sequence[int]) -> tuple[int, ...] | None:
    """Return the dimensions of positions; in maps of square images these are the two equal sides."""
    if len(shape) != 4:
        return None
    _, first, second, third = shape
    if second == third == 1 or first != second == third:
        return (2, 3)
    return (1, 2) if first == second != third else None
